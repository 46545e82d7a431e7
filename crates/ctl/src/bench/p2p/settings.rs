//! From arguments and environment to what is to be done.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::etcd::{Endpoints, Entry, Namespace};
use super::format::Columns;
use super::initiator::Initiator;
use super::meeting::{self, Address, Expected};
use super::pair::NetOptions;
use super::target::Target;
use super::wire::{Op, Terms};
use super::{Mode, P2pArgs, sizes};
use crate::config::Environment;
use crate::path_source::{PathSettings, SourceArgs};

/// What this process is to do.
#[derive(Debug)]
pub(super) enum Settings {
    Target { target: Target, address: Address, directory: Option<Directory> },
    Initiator { initiator: Initiator, address: Option<Address>, directory: Option<Directory> },
}

/// Where agents are registered.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) endpoints: Endpoints,
    prefix: String,
}

impl Settings {
    /// # Errors
    /// If something is missing, refused, or makes no sense together.
    pub(super) fn new(args: &P2pArgs, environment: &Environment) -> anyhow::Result<Self> {
        ensure!(!args.cuda, "--cuda: data is in host memory; there is no bench p2p over GPU memory");
        if let Some(gpu) = args.gpu_id {
            bail!("--gpu_id {gpu}: data is in host memory; there is no bench p2p over GPU memory");
        }
        let mut directory = Directory::new(args, environment)?;
        let net = NetOptions {
            source: args.net.source()?,
            device: args.device,
            patience: Duration::from_secs(args.timeout),
            names: PathSettings::new(&SourceArgs::default(), environment)?,
        };
        let given = args.buffer_sizes.as_deref().map(sizes::parse_list).transpose()?;
        let agent = meeting::agent(args.name.as_deref());
        let address = args.ip.as_deref().map(|ip| Address::new(ip, args.port));
        if args.mode == Mode::Initiator {
            if args.ip.is_some() {
                ensure!(
                    args.etcd.is_none(),
                    "--ip and --etcd: each says where the target is; wanted one of them"
                );
                // Who exports an etcd for other programs may still name the target.
                directory = None;
            }
            if directory.is_none() {
                ensure!(
                    address.is_some(),
                    "--ip is missing: wanted the target's address, or --etcd to find it"
                );
                ensure!(
                    args.targets.is_none() && args.peer.is_empty(),
                    "--targets and --peer choose among the targets in etcd: wanted --etcd or NIXL_ETCD_ENDPOINTS"
                );
            }
            let sizes = given.map_or_else(|| sizes::parse_list(sizes::DEFAULT), Ok)?;
            let op = args.op.unwrap_or(Op::Read);
            let (iterations, warmup) = (args.iterations, args.warmup);
            let terms = Terms { sizes, iterations, warmup, op, comm_id: random() };
            let columns = if args.aligned { Columns::Aligned } else { Columns::Script };
            let initiator = Initiator { agent, terms, net, columns };
            return Ok(Self::Initiator { initiator, address, directory });
        }
        let address =
            address.context("--ip is missing: wanted this host's address, where the target listens")?;
        if directory.is_some() {
            let everywhere = address.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
            ensure!(
                !everywhere,
                "--ip {}: wanted an address that initiators reach, as it goes to etcd",
                address.ip
            );
        }
        let expected = Expected { sizes: given, op: args.op };
        let target = Target { agent, expected, net, initiators: args.initiators };
        Ok(Self::Target { target, address, directory })
    }
}

impl Directory {
    /// `None` if no etcd is named.
    fn new(args: &P2pArgs, environment: &Environment) -> anyhow::Result<Option<Self>> {
        let named = match &args.etcd {
            Some(endpoints) => Some(Endpoints::parse(endpoints).context("--etcd")?),
            None => environment
                .get("NIXL_ETCD_ENDPOINTS")
                .map(|endpoints| Endpoints::parse(endpoints).context("NIXL_ETCD_ENDPOINTS"))
                .transpose()?,
        };
        let prefix = args.etcd_namespace.as_deref().or_else(|| environment.get("NIXL_ETCD_NAMESPACE"));
        let prefix = prefix.unwrap_or("/nixl/agents").to_owned();
        Ok(named.map(|endpoints| Self { endpoints, prefix }))
    }

    /// # Errors
    /// If the namespace is empty.
    pub(super) fn namespace(&self) -> anyhow::Result<Namespace> {
        Namespace::new(self.endpoints.clone(), &self.prefix)
    }
}

impl Entry {
    /// Where it listens; `None` for an initiator.
    pub(super) fn address(&self) -> Option<Address> {
        Some(Address::new(self.ip.as_deref()?, self.port?))
    }
}

/// Differs between processes and calls.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: P2pArgs,
    }

    fn settings<const N: usize>(line: &str, environment: [(&str, &str); N]) -> anyhow::Result<Settings> {
        let command = Command::try_parse_from(["p2p"].into_iter().chain(line.split(' ')))?;
        Settings::new(&command.args, &environment.into())
    }

    fn error(line: &str) -> String {
        format!("{:#}", settings(line, []).unwrap_err())
    }

    #[test]
    fn an_initiator_by_the_script_s_defaults() {
        let Settings::Initiator { initiator, address, directory } =
            settings("--mode initiator --ip 10.0.0.2", []).unwrap()
        else {
            panic!("no initiator");
        };
        assert_eq!(address, Some(Address::new("10.0.0.2", 5555)));
        let Terms { sizes, iterations, warmup, op, .. } = initiator.terms;
        assert_eq!((sizes, iterations, warmup, op), (vec![1 << 20, 16 << 20, 256 << 20], 100, 10, Op::Read));
        assert_eq!((initiator.columns, directory.is_none()), (Columns::Script, true));
        assert_eq!(initiator.net.patience, Duration::from_secs(300));
    }

    #[test]
    fn etcd_by_flag_or_environment() {
        let environment = [("NIXL_ETCD_ENDPOINTS", "http://a:1"), ("NIXL_ETCD_NAMESPACE", "/mine")];
        let Settings::Initiator { directory: Some(directory), .. } =
            settings("--mode initiator", environment).unwrap()
        else {
            panic!("no etcd");
        };
        assert_eq!(
            (directory.endpoints.to_string().as_str(), directory.prefix.as_str()),
            ("http://a:1", "/mine")
        );
        let Settings::Target { directory: Some(directory), .. } =
            settings("--mode target --ip ::1 --etcd b:2 --etcd-namespace /ns", environment).unwrap()
        else {
            panic!("no etcd");
        };
        assert_eq!(
            (directory.endpoints.to_string().as_str(), directory.prefix.as_str()),
            ("http://b:2", "/ns")
        );
    }

    #[test]
    fn an_initiator_that_is_told_the_address_asks_no_etcd() {
        let environment = [("NIXL_ETCD_ENDPOINTS", "http://a:1")];
        let settings = settings("--mode initiator --ip 10.0.0.2", environment).unwrap();
        assert!(matches!(settings, Settings::Initiator { directory: None, address: Some(_), .. }));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, wanted) in [
            ("--mode initiator --ip a --cuda", "--cuda: data is in host memory"),
            ("--mode target --ip a --gpu_id 1", "--gpu_id 1: data is in host memory"),
            ("--mode initiator", "--ip is missing: wanted the target's address, or --etcd"),
            ("--mode target", "--ip is missing: wanted this host's address"),
            ("--mode initiator --ip a --peer b", "wanted --etcd or NIXL_ETCD_ENDPOINTS"),
            ("--mode target --ip 0.0.0.0 --etcd a", "--ip 0.0.0.0: wanted an address that initiators reach"),
            ("--mode initiator --ip a --etcd b", "each says where the target is"),
            ("--mode initiator --etcd https://a", "--etcd: etcd endpoint \"https://a\": TLS"),
            ("--mode initiator --ip a --buffer_sizes 1M", "buffer size \"1M\": wanted a number with B, KB"),
            ("--mode server", "invalid value 'server' for '--mode <MODE>'"),
        ] {
            assert!(error(line).contains(wanted), "{line}: {}", error(line));
        }
    }
}
