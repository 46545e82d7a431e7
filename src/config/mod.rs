//! The plugin's settings: the only place that reads the environment.

mod fields;
mod mistakes;
mod platform;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use srv6_fabric::Family;
use srv6_routes::EncapMode;
use srv6_steer::{AGENT_SOCKET, Attachment, Source};

use crate::multipath::Rules;
pub use fields::{FIELDS, Field};
pub(crate) use mistakes::Mistakes;
use platform::Platform;
use value::Reader;

/// What the environment asks for. Each field is described, under its variable's name, in [`FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) transport: Choice,
    pub(crate) mode: Mode,
    /// How to find the agent, and who this process is to it.
    pub(crate) agent: Attachment,
    pub(crate) strict: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) log: log::LevelFilter,
    pub(crate) subflows: usize,
    /// NCCL's own settings, for the multipath transport to choose as NCCL's Socket does.
    pub(crate) interfaces: Rules,
    /// `None` without a source of paths.
    pub(crate) steering: Option<srv6_steer::Config>,
}

/// `SRV6_TRANSPORT`: which transport is wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Auto,
    Ib,
    Socket,
    Multipath,
    Plugin(PathBuf),
}

/// `SRV6_MODE`: who installs routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The agent if it answers, else this process if it may, else nobody.
    Auto,
    /// The agent of the host.
    Agent,
    /// This process.
    Local,
    /// Nobody.
    Off,
}

impl Config {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// Every mistake at once.
    pub(crate) fn from_env() -> Result<Self, Mistakes> {
        // NCCL has put the entries of nccl.conf here too, before it loads plugins.
        Self::parse(
            std::env::vars_os()
                .map(|(name, value)| {
                    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
                })
                .collect(),
        )
    }

    fn parse(variables: BTreeMap<String, String>) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(variables);
        reader.refuse_unknown();
        let transport = match reader.text("SRV6_TRANSPORT").as_deref() {
            None | Some("auto") => Choice::Auto,
            Some("ib") => Choice::Ib,
            Some("socket") => Choice::Socket,
            Some("multipath") => Choice::Multipath,
            Some(path) if path.contains('/') || path.ends_with(".so") => Choice::Plugin(path.into()),
            Some(_) => reader.refuse("SRV6_TRANSPORT", Choice::Auto),
        };
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
        let Platform { dry_run, vpp, table } = Platform::read(&mut reader, deadline);
        // Read whether or not there is a source, so that mistakes are found.
        let graph = reader.text("TOPOLOGY_COLLECTION").unwrap_or_else(|| "fabric_graph".to_owned());
        let hosts = reader.text("SRV6_HOST_COLLECTION").unwrap_or_else(|| "hosts".to_owned());
        let interface = reader.text("BACKEND_INTERFACE");
        let function = reader.function("DEST_FUNCTION");
        let policy = reader.parsed("SRV6_POLICY").unwrap_or_default();
        let algo = reader.number("SRV6_ALGO", 0..=255, 0);
        let gateway = reader.parsed::<Ipv6Addr>("SRV6_GATEWAY").map(IpAddr::V6);
        let mtu = reader.optional_number("SRV6_FABRIC_MTU", 1280..=65_535);
        let steering = source.map(|source| srv6_steer::Config {
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
        let config = Self {
            transport,
            mode,
            agent,
            strict: reader.flag("SRV6_STRICT"),
            connect_timeout: deadline,
            log: reader.parsed("SRV6_LOG").unwrap_or(log::LevelFilter::Info),
            subflows: reader.number("SRV6_PATHS", 1..=srv6_transport::MAX_PATHS, 4),
            interfaces: Rules {
                names: reader.text("NCCL_SOCKET_IFNAME"),
                // NCCL takes only these two, and so ignores anything else.
                family: match reader.text("NCCL_SOCKET_FAMILY").as_deref() {
                    Some("AF_INET") => Some(Family::V4),
                    Some("AF_INET6") => Some(Family::V6),
                    _ => None,
                },
                root: reader.text("NCCL_COMM_ID").and_then(|id| root_address(&id)),
            },
            steering,
        };
        reader.finish(config)
    }
}

/// The address in NCCL_COMM_ID: `10.0.0.1:4000` or `[2001:db8::1]:4000`. A name is NCCL's to resolve.
fn root_address(id: &str) -> Option<IpAddr> {
    let host = id.rsplit_once(':').map_or(id, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
        Config::parse(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn defaults_are_what_the_fields_say() {
        let source = ("SRV6_TOPOLOGY", "fabric.json");
        let mut defaults: Vec<_> = FIELDS
            .iter()
            .filter(|field| !field.default.is_empty())
            .map(|field| (field.name, field.default))
            .collect();
        defaults.push(source);
        let config = parse(&defaults).unwrap();
        assert_eq!(config, parse(&[source]).unwrap());
        assert_eq!(config.steering, Some(srv6_steer::Config::new(Source::File("fabric.json".into()))));
    }

    #[test]
    fn empty_counts_as_unset() {
        assert_eq!(parse(&[("SRV6_TOPOLOGY", ""), ("SRV6_STRICT", ""), ("SRV6_MODE", "")]), parse(&[]));
    }

    #[test]
    fn every_setting_has_an_effect() {
        let config = parse(&[
            ("SRV6_TRANSPORT", "/opt/libnccl-net-ofi.so"),
            ("SRV6_MODE", "local"),
            ("SRV6_AGENT_SOCKET", "/run/pod/agent.sock"),
            ("SRV6_JOB", "gpt"),
            ("RANK", "12"),
            ("SRV6_STRICT", "1"),
            ("SRV6_CONNECT_TIMEOUT_MS", "250"),
            ("SRV6_LOG", "debug"),
            ("SRV6_PATHS", "2"),
            ("NCCL_SOCKET_IFNAME", "eth1,eth2"),
            ("NCCL_SOCKET_FAMILY", "AF_INET6"),
            ("NCCL_COMM_ID", "[2001:db8::1]:4000"),
            ("JALAPENO_API_ENDPOINT", "http://[2001:db8::5]:30800"),
            ("TOPOLOGY_COLLECTION", "ipv6_graph"),
            ("SRV6_HOST_COLLECTION", "servers"),
            ("BACKEND_INTERFACE", "eth9"),
            ("ROUTE_PLATFORM", "none"),
            ("ROUTE_TABLE_ID", "100"),
            ("DEST_FUNCTION", "fe06"),
            ("SRV6_POLICY", "latency"),
            ("SRV6_ALGO", "128"),
            ("SRV6_ENCAP", "encap"),
            ("SRV6_GATEWAY", "fe80::1"),
            ("SRV6_FABRIC_MTU", "9000"),
        ])
        .unwrap();
        let wanted = Config {
            transport: Choice::Plugin("/opt/libnccl-net-ofi.so".into()),
            mode: Mode::Local,
            agent: Attachment {
                deadline: Duration::from_millis(250),
                job: "gpt".to_owned(),
                rank: Some(12),
                ..Attachment::new("/run/pod/agent.sock".into())
            },
            strict: true,
            connect_timeout: Duration::from_millis(250),
            log: log::LevelFilter::Debug,
            subflows: 2,
            interfaces: Rules {
                names: Some("eth1,eth2".to_owned()),
                family: Some(Family::V6),
                root: Some("2001:db8::1".parse().unwrap()),
            },
            steering: Some(srv6_steer::Config {
                source: Source::Api("http://[2001:db8::5]:30800".to_owned()),
                graph: "ipv6_graph".to_owned(),
                hosts: "servers".to_owned(),
                interface: Some("eth9".to_owned()),
                dry_run: true,
                vpp: None,
                table: 100,
                function: Some(0xfe06),
                policy: srv6_fabric::Policy::Latency,
                algo: 128,
                encap: EncapMode::Full,
                gateway: Some("fe80::1".parse().unwrap()),
                mtu: Some(9000),
                deadline: Duration::from_millis(250),
            }),
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes = parse(&[
            ("SRV6_TRANSPORT", "tcp"),
            ("SRV6_STRICT", "maybe"),
            ("SRV6_CONNECT_TIMEOUT_MS", "0"),
            ("ROUTE_TABLE_ID", "main"),
            ("DEST_FUNCTION", "0x1ffff"),
            ("SRV6_POLICY", "best"),
            ("SRV6_GATEWAY", "leaf0"),
            ("SRV6_PATHS", "9"),
            ("SRV6_TOPOLGY", "fabric.json"),
        ])
        .unwrap_err();
        let text = mistakes.to_string();
        for wanted in [
            "SRV6_TRANSPORT=\"tcp\": want auto, ib, socket, multipath, or the path of a net plugin",
            "SRV6_STRICT=\"maybe\": want 0 or 1",
            "SRV6_CONNECT_TIMEOUT_MS=\"0\": want 1 to 600000",
            "ROUTE_TABLE_ID=\"main\"",
            "DEST_FUNCTION=\"0x1ffff\"",
            "SRV6_POLICY=\"best\": want spread, load, latency, utilization or hops",
            "SRV6_GATEWAY=\"leaf0\"",
            "SRV6_PATHS=\"9\": want 1 to 8",
            "SRV6_TOPOLGY=\"fabric.json\": no such setting; did you mean SRV6_TOPOLOGY?",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert_eq!(mistakes.count(), 9);
    }

    #[test]
    fn local_needs_a_source_and_one_is_enough() {
        assert!(parse(&[("SRV6_MODE", "local")]).unwrap_err().to_string().contains("JALAPENO_API_ENDPOINT"));
        parse(&[("SRV6_MODE", "local"), ("SRV6_TOPOLOGY", "f.json")]).unwrap();
        let both = [("JALAPENO_API_ENDPOINT", "http://a"), ("SRV6_TOPOLOGY", "f.json")];
        assert_eq!(parse(&both).unwrap_err().count(), 1);
    }

    #[test]
    fn the_agent_needs_no_source_and_learns_whose_flows_it_steers() {
        let config = parse(&[("SRV6_MODE", "agent"), ("SLURM_JOB_ID", "77"), ("SLURM_PROCID", "3")]).unwrap();
        assert_eq!((config.mode, config.steering), (Mode::Agent, None));
        assert_eq!((config.agent.job.as_str(), config.agent.rank), ("77", Some(3)));
        let config = parse(&[("SRV6_JOB", "gpt"), ("SLURM_JOB_ID", "77"), ("RANK", "first")]).unwrap();
        assert_eq!((config.agent.job.as_str(), config.agent.rank), ("gpt", None));
    }
}
