//! The plugin's settings: the only place that reads the environment.

mod multipath;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use srv6_settings::{Mistakes, Mode};
use srv6_settings::{Reader, Steering};
use srv6_steer::Attachment;

use crate::multipath::Settings;

/// What the environment asks for. Each field is described, under its variable's name, in [`srv6_settings::FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) transport: Choice,
    pub(crate) mode: Mode,
    /// How to find the agent, and who this process is to it.
    pub(crate) agent: Attachment,
    pub(crate) strict: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) log: log::LevelFilter,
    pub(crate) multipath: Settings,
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

impl Config {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// Every mistake at once.
    pub(crate) fn from_env() -> Result<Self, Mistakes> {
        // NCCL has put the entries of nccl.conf here too, before it loads plugins.
        Self::read(Reader::of_environment(std::env::vars_os()))
    }

    fn read(mut reader: Reader) -> Result<Self, Mistakes> {
        let transport = match reader.text("SRV6_TRANSPORT").as_deref() {
            None | Some("auto") => Choice::Auto,
            Some("ib") => Choice::Ib,
            Some("socket") => Choice::Socket,
            Some("multipath") => Choice::Multipath,
            Some(path) if path.contains('/') || path.ends_with(".so") => Choice::Plugin(path.into()),
            Some(_) => reader.refuse("SRV6_TRANSPORT", Choice::Auto),
        };
        let steering = Steering::read(&mut reader);
        let strict = reader.flag("SRV6_STRICT");
        let dry_run = steering.config.as_ref().is_some_and(|config| config.dry_run);
        let config = Self {
            transport,
            mode: steering.mode,
            agent: steering.agent,
            strict,
            connect_timeout: steering.deadline,
            log: reader.parsed("SRV6_LOG").unwrap_or(log::LevelFilter::Info),
            multipath: multipath::read(&mut reader, strict, steering.deadline, dry_run),
            steering: steering.config,
        };
        reader.finish(config)
    }
}

/// How much longer than the steering's own deadline a connection waits for its answer, so that its reason is what the
/// user sees.
pub(crate) const GUARD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use srv6_fabric::Family;
    use srv6_routes::EncapMode;
    use srv6_settings::FIELDS;
    use srv6_steer::Source;
    use srv6_transport::{Congestion, Share};

    use super::*;
    use crate::multipath::{Rules, Terms};

    fn parse(variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
        Config::read(Reader::of_environment(variables.iter().copied()))
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
            ("SRV6_PINNING", "routing-header"),
            ("SRV6_WEIGHTS", "3,@80"),
            ("SRV6_HINTS", "/run/srv6/hints"),
            ("SRV6_DEAD_MS", "2500"),
            ("SRV6_CONGESTION", "reno"),
            ("SRV6_ZERO_COPY", "0"),
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
            multipath: Settings {
                rules: Rules {
                    names: Some("eth1,eth2".to_owned()),
                    family: Some(Family::V6),
                    root: Some("2001:db8::1".parse().unwrap()),
                },
                config: srv6_transport::Config {
                    paths: 2,
                    dead_after: Duration::from_millis(2500),
                    congestion: Some(Congestion::named("reno").unwrap()),
                    zero_copy: false,
                    ..srv6_transport::Config::default()
                },
                shares: vec![
                    Share { weight: Some(3), cap: None },
                    Share { weight: None, cap: Some(10_000_000) },
                ],
                hints: Some("/run/srv6/hints".into()),
                terms: Terms {
                    strict: true,
                    patience: Duration::from_millis(1250),
                    pinning: Some(srv6_steer::Pinning::RoutingHeader),
                    dry_run: true,
                },
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
            ("SRV6_PINNING", "vlan"),
            ("SRV6_DEAD_MS", "10"),
            ("SRV6_CONGESTION", "cubik"),
            ("SRV6_ZERO_COPY", "yes"),
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
            "SRV6_PINNING=\"vlan\": want auto, mark, ports or routing-header",
            "SRV6_DEAD_MS=\"10\": want 1000 to 600000",
            "SRV6_CONGESTION=\"cubik\": want a congestion control that this kernel has: ",
            "SRV6_ZERO_COPY=\"yes\": want 0 or 1",
            "SRV6_TOPOLGY=\"fabric.json\": no such setting; did you mean SRV6_TOPOLOGY?",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert_eq!(mistakes.count(), 13);
    }

    #[test]
    fn local_needs_a_source_and_one_is_enough() {
        assert!(parse(&[("SRV6_MODE", "local")]).unwrap_err().to_string().contains("JALAPENO_API_ENDPOINT"));
        parse(&[("SRV6_MODE", "local"), ("SRV6_TOPOLOGY", "f.json")]).unwrap();
        let both = [("JALAPENO_API_ENDPOINT", "http://a"), ("SRV6_TOPOLOGY", "f.json")];
        assert!(parse(&both).unwrap_err().to_string().starts_with("SRV6_TOPOLOGY=\"f.json\": unset it"));
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
