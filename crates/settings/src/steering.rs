//! The settings that say whether, by whom and how flows are steered.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use srv6_routes::EncapMode;
use srv6_steer::{AGENT_SOCKET, Attachment, Source};

use crate::Reader;
use crate::platform::Platform;

/// What the settings ask of steering. Each field is described, under its variable's name, in [`crate::FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steering {
    /// Who installs routes.
    pub mode: Mode,
    /// How long a connection waits for its path.
    pub deadline: Duration,
    /// How the agent is found, and what it is told.
    pub agent: Attachment,
    /// `None` without a source of paths.
    pub config: Option<srv6_steer::Config>,
}

/// `SRV6_MODE`: who installs routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The agent if it answers, else this process if it may, else nobody.
    Auto,
    /// The agent of the host.
    Agent,
    /// This process.
    Local,
    /// Nobody.
    Off,
}

impl Steering {
    /// Takes them from `reader`, which remembers what is wrong.
    pub fn read(reader: &mut Reader) -> Self {
        let mode = match reader.text("SRV6_MODE").as_deref() {
            None | Some("auto") => Mode::Auto,
            Some("local") => Mode::Local,
            Some("off") => Mode::Off,
            Some("agent") => Mode::Agent,
            Some(_) => reader.refuse("SRV6_MODE", Mode::Auto),
        };
        let source = match (reader.text("JALAPENO_API_ENDPOINT"), reader.text("SRV6_TOPOLOGY")) {
            (Some(endpoint), None) => Some(Source::Api(endpoint)),
            (None, Some(path)) => Some(Source::File(path.into())),
            (None, None) if mode == Mode::Local => reader.refuse_because(
                "SRV6_MODE",
                "needs to know paths: set JALAPENO_API_ENDPOINT or SRV6_TOPOLOGY",
                None,
            ),
            (None, None) => None,
            (Some(_), Some(_)) => reader.refuse_because(
                "SRV6_TOPOLOGY",
                "unset it or JALAPENO_API_ENDPOINT: one source of paths",
                None,
            ),
        };
        let encap = match reader.text("SRV6_ENCAP").as_deref() {
            None | Some("red") => EncapMode::Reduced,
            Some("encap") => EncapMode::Full,
            Some(_) => reader.refuse("SRV6_ENCAP", EncapMode::Reduced),
        };
        let deadline = Duration::from_millis(reader.number("SRV6_CONNECT_TIMEOUT_MS", 1..=600_000, 5000));
        let Platform { dry_run, vpp, table } = Platform::read(reader, deadline);
        // Read whether or not there is a source, so that mistakes are found.
        let graph = reader.text("TOPOLOGY_COLLECTION").unwrap_or_else(|| "fabric_graph".to_owned());
        let hosts = reader.text("SRV6_HOST_COLLECTION").unwrap_or_else(|| "hosts".to_owned());
        let interface = reader.text("BACKEND_INTERFACE");
        let function = reader.function("DEST_FUNCTION");
        let policy = reader.parsed("SRV6_POLICY").unwrap_or_default();
        let algo = reader.number("SRV6_ALGO", 0..=255, 0);
        let gateway = reader.parsed::<Ipv6Addr>("SRV6_GATEWAY").map(IpAddr::V6);
        let mtu = reader.optional_number("SRV6_FABRIC_MTU", 1280..=65_535);
        let config = source.map(|source| srv6_steer::Config {
            source,
            graph,
            hosts,
            interface,
            dry_run,
            vpp,
            table,
            function,
            policy,
            algo,
            encap,
            gateway,
            mtu,
            deadline,
        });
        let agent = Attachment {
            deadline,
            job: reader.first_of(&["SRV6_JOB", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"]).unwrap_or_default(),
            // A launcher's variable that is no number is the launcher's affair.
            rank: reader
                .first_of(&["RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"])
                .and_then(|rank| rank.parse().ok()),
            ..Attachment::new(
                reader.text("SRV6_AGENT_SOCKET").unwrap_or_else(|| AGENT_SOCKET.to_owned()).into(),
            )
        };
        Self { mode, deadline, agent, config }
    }
}
