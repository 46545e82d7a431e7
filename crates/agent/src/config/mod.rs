//! The agent's settings: the only place that reads the environment, flags and the file.

mod fields;
mod layers;
mod webhook;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use srv6_routes::EncapMode;
use srv6_settings::{Mistakes, Platform, Reader};
use srv6_steer::Source;

use fields::ALL;
pub use fields::{FIELDS, SHARED};
pub use layers::{FileError, Layers, command};
pub use webhook::WebhookConfig;

/// What flags, environment and file ask for. Each field is described, under its setting's name, in [`FIELDS`] and [`SHARED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How flows are steered.
    pub steering: srv6_steer::Config,
    /// Where clients find the agent.
    pub socket: PathBuf,
    /// Whose members may use it.
    pub group: Option<String>,
    /// Whom it steers.
    pub scope: Scope,
    /// Limits of one user.
    pub limits: Limits,
    /// How long routes of unknown jobs stay after the start.
    pub grace: Duration,
    /// How often paths are read again.
    pub refresh: Duration,
    /// What is drained, over a restart.
    pub state: PathBuf,
    /// How much is logged.
    pub log: log::LevelFilter,
    /// Where HTTP is served.
    pub http: Option<SocketAddr>,
    /// Flows with metrics of their own.
    pub metric_flows: usize,
    /// Our own hints.
    pub hints: Option<HintsConfig>,
    /// MPIB's.
    pub mpib: Option<MpibConfig>,
}

/// Whom the agent steers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Processes of every network namespace, each in its own.
    Host,
    /// Whoever connects, in the agent's own network namespace.
    Pod,
}

/// The file of hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintsConfig {
    /// Where it is.
    pub path: PathBuf,
    /// Flows that can have weights.
    pub slots: u32,
}

/// What MPIB's clients find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MpibConfig {
    /// Where they look for `hints` and `agent.sock`.
    pub folder: PathBuf,
    /// How they read a hint.
    pub unit: srv6_hints::mpib::Unit,
}

/// What one user may take of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to the agent.
    pub sessions: usize,
    /// Flows and connections with lanes.
    pub flows: usize,
}

impl Config {
    /// Reads everything that the layers say.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(layers: Layers) -> Result<Self, Mistakes> {
        let mut reader = Reader::of_fields(layers.0, ALL);
        let source = match (reader.text("JALAPENO_API_ENDPOINT"), reader.text("SRV6_TOPOLOGY")) {
            (Some(endpoint), None) => Source::Api(endpoint),
            (None, Some(path)) => Source::File(path.into()),
            (found, _) => {
                let wanted = match found {
                    None => "nothing is set: set this or SRV6_TOPOLOGY, the agent needs a source of paths",
                    Some(_) => "unset it or SRV6_TOPOLOGY: one source of paths",
                };
                reader.refuse_because("JALAPENO_API_ENDPOINT", wanted, Source::File(PathBuf::new()))
            }
        };
        let deadline = Duration::from_millis(reader.number("SRV6_CONNECT_TIMEOUT_MS", 1..=600_000, 5000));
        let Platform { dry_run, vpp, table } = Platform::read(&mut reader, deadline);
        let encap = match reader.text("SRV6_ENCAP").as_deref() {
            None | Some("red") => EncapMode::Reduced,
            Some("encap") => EncapMode::Full,
            Some(_) => reader.refuse("SRV6_ENCAP", EncapMode::Reduced),
        };
        let defaults = srv6_steer::Config::new(source);
        let steering = srv6_steer::Config {
            graph: reader.text("TOPOLOGY_COLLECTION").unwrap_or(defaults.graph),
            hosts: reader.text("SRV6_HOST_COLLECTION").unwrap_or(defaults.hosts),
            interface: reader.text("BACKEND_INTERFACE"),
            dry_run,
            vpp,
            table,
            function: reader.function("DEST_FUNCTION"),
            policy: reader.parsed("SRV6_POLICY").unwrap_or_default(),
            algo: reader.number("SRV6_ALGO", 0..=255, defaults.algo),
            encap,
            gateway: reader.parsed::<Ipv6Addr>("SRV6_GATEWAY").map(IpAddr::V6),
            mtu: reader.optional_number("SRV6_FABRIC_MTU", 1280..=65_535),
            deadline,
            ..defaults
        };
        let config = Self {
            steering,
            socket: reader.text("SRV6_AGENT_SOCKET").unwrap_or(srv6_steer::AGENT_SOCKET.to_owned()).into(),
            group: reader.text("SRV6D_GROUP"),
            scope: match reader.text("SRV6D_SCOPE").as_deref() {
                None | Some("host") => Scope::Host,
                Some("pod") => Scope::Pod,
                Some(_) => reader.refuse("SRV6D_SCOPE", Scope::Host),
            },
            limits: Limits {
                sessions: reader.number("SRV6D_SESSIONS_PER_UID", 1..=1_000_000, 4096),
                flows: reader.number("SRV6D_FLOWS_PER_UID", 1..=10_000_000, 65_536),
            },
            grace: Duration::from_secs(reader.number("SRV6D_GRACE_S", 1..=86_400, 30)),
            refresh: Duration::from_secs(reader.number("SRV6D_REFRESH_S", 1..=86_400, 30)),
            state: reader.text("SRV6D_STATE").unwrap_or_else(|| "/run/srv6/drained.json".to_owned()).into(),
            log: reader.parsed("SRV6_LOG").unwrap_or(log::LevelFilter::Info),
            http: match reader.text("SRV6D_HTTP").as_deref() {
                Some("off") => None,
                Some(_) => reader.parsed("SRV6D_HTTP"),
                None => Some(HTTP),
            },
            metric_flows: reader.number("SRV6D_METRIC_FLOWS", 0..=100_000, 1000),
            hints: hints(&mut reader),
            mpib: mpib(&mut reader),
        };
        reader.finish(config)
    }
}

/// Where HTTP is served unless told otherwise.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9779);

fn hints(reader: &mut Reader) -> Option<HintsConfig> {
    let slots = reader.number("SRV6D_HINT_SLOTS", 1..=srv6_hints::MOST_SLOTS, 16_384);
    let path = reader.text("SRV6D_HINTS").unwrap_or_else(|| "/run/srv6/hints".to_owned());
    (path != "off").then(|| HintsConfig { path: path.into(), slots })
}

fn mpib(reader: &mut Reader) -> Option<MpibConfig> {
    let wanted = reader.flag("SRV6D_MPIB_COMPAT");
    let unit = reader.parsed("SRV6D_MPIB_UNIT");
    let folder = reader.text("SRV6D_MPIB_DIR").unwrap_or_else(|| "/tmp/mpib".to_owned());
    match (wanted, unit) {
        (true, Some(unit)) => Some(MpibConfig { folder: folder.into(), unit }),
        (true, None) if reader.text("SRV6D_MPIB_UNIT").is_none() => reader.refuse_because(
            "SRV6D_MPIB_COMPAT",
            "set SRV6D_MPIB_UNIT: how do the clients read hints?",
            None,
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use srv6_routes::vpp::VppConfig;

    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Config, Mistakes> {
        Config::read(Layers::of_environment(
            values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())),
        ))
    }

    #[test]
    fn defaults_are_what_the_fields_say() {
        let source = ("SRV6_TOPOLOGY", "fabric.json");
        let mut defaults: Vec<_> = SHARED
            .iter()
            .chain(&FIELDS)
            .filter(|field| !field.default.is_empty())
            .map(|field| (field.name, field.default))
            .collect();
        defaults.push(source);
        let config = read(&defaults).unwrap();
        assert_eq!(config, read(&[source]).unwrap());
        assert_eq!(config.steering, srv6_steer::Config::new(Source::File("fabric.json".into())));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes = read(&[
            ("SRV6_POLICY", "best"),
            ("SRV6_CONNECT_TIMEOUT_MS", "0"),
            ("SRV6D_GRACE_S", "never"),
            ("SRV6D_GRUOP", "ml"),
        ])
        .unwrap_err();
        let text = mistakes.to_string();
        for wanted in [
            "JALAPENO_API_ENDPOINT: nothing is set",
            "SRV6_POLICY=\"best\" (environment): want spread, load, latency, utilization or hops",
            "SRV6_CONNECT_TIMEOUT_MS=\"0\" (environment): want 1 to 600000",
            "SRV6D_GRACE_S=\"never\"",
            "SRV6D_GRUOP=\"ml\" (environment): no such setting",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
    }

    #[test]
    fn what_is_served_can_be_switched_off_and_on() {
        let source = ("SRV6_TOPOLOGY", "f.json");
        let off = read(&[source, ("SRV6D_HTTP", "off"), ("SRV6D_HINTS", "off")]).unwrap();
        assert_eq!((off.http, off.hints, off.mpib), (None, None, None));
        let mpib = ("SRV6D_MPIB_COMPAT", "1");
        let on = read(&[source, mpib, ("SRV6D_MPIB_UNIT", "per1024"), ("SRV6D_HTTP", "[::1]:80")]).unwrap();
        let unit = srv6_hints::mpib::Unit::Per1024;
        assert_eq!(on.mpib, Some(MpibConfig { folder: "/tmp/mpib".into(), unit }));
        assert_eq!(on.http, Some("[::1]:80".parse().unwrap()));
        let mistakes = read(&[source, mpib, ("SRV6D_HTTP", "localhost")]).unwrap_err().to_string();
        assert!(
            mistakes.contains("SRV6D_MPIB_COMPAT=\"1\" (environment): set SRV6D_MPIB_UNIT"),
            "{mistakes}"
        );
        assert!(
            mistakes.contains("SRV6D_HTTP=\"localhost\" (environment): want an address with a port"),
            "{mistakes}"
        );
        let mistakes = read(&[source, mpib, ("SRV6D_MPIB_UNIT", "percent")]).unwrap_err().to_string();
        assert!(
            mistakes.contains("want multiplier or per1024") && !mistakes.contains("set SRV6D"),
            "{mistakes}"
        );
    }

    #[test]
    fn vpp_is_what_it_is_to_the_plugin() {
        let vpp = [("SRV6_TOPOLOGY", "f.json"), ("ROUTE_PLATFORM", "vpp")];
        let steering = read(&vpp).unwrap().steering;
        assert_eq!((steering.vpp, steering.table), (Some(VppConfig::default()), 0));
        let mistakes =
            read(&[vpp[0], vpp[1], ("SRV6_GATEWAY", "fe80::1"), ("SRV6_VPP_BSID_PREFIX", "fd00::/120")]);
        let text = mistakes.unwrap_err().to_string();
        for wanted in [
            "SRV6_GATEWAY=\"fe80::1\" (environment): VPP's tables don't tell whose a route is",
            "SRV6_VPP_BSID_PREFIX=\"fd00::/120\" (environment): want an IPv6 prefix of 16 to 112 bits",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
    }

    #[test]
    fn two_sources_are_one_mistake() {
        let both = [("JALAPENO_API_ENDPOINT", "http://a"), ("SRV6_TOPOLOGY", "f.json")];
        assert!(read(&both).unwrap_err().to_string().contains("one source of paths"));
    }

    #[test]
    fn the_plugins_own_settings_do_not_concern_the_agent() {
        read(&[("SRV6_TOPOLOGY", "f.json"), ("SRV6_TRANSPORT", "socket"), ("SRV6_STRICT", "1")]).unwrap();
    }
}
