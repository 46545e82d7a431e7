//! `srv6ctl bench p2p`: NIXL's two-node script over any net plugin and host memory.

mod carried;
mod control;
mod etcd;
mod format;
mod initiator;
mod meeting;
mod metrics;
mod pair;
mod report;
mod settings;
mod sizes;
mod sockets;
mod target;
mod transfers;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use srv6_netdrive::start_log;

use crate::bench::json;
use crate::bench::plugin::NetArgs;
use crate::config::Environment;
use etcd::{Entry, Namespace, RETRY, Registration, Role};
use initiator::{Initiator, Run};
use meeting::Address;
use settings::{Directory, Settings};
use target::Target;
use wire::{Agent, Op};

/// Point-to-point transfers between two hosts, with the flags and the table of NIXL's two-node UCX script
///
/// Start one process with --mode target and one with --mode initiator, in either order. The initiator prints; progress
/// goes to standard error, and what the plugin logs too, as NCCL_DEBUG says. With etcd (--etcd or
/// NIXL_ETCD_ENDPOINTS) initiators find targets by name, and any number of both may run.
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true)]
pub(super) struct P2pArgs {
    /// Which side this is
    #[arg(long)]
    mode: Mode,
    /// The target's address: where the target listens and the initiator connects; without it the initiator asks etcd
    #[arg(long, value_name = "ADDR")]
    ip: Option<String>,
    /// The target's port
    #[arg(long, default_value_t = 5555)]
    port: u16,
    /// Sizes, as 1MB,16MB,256MB (which is the default); the target takes the initiator's
    #[arg(long = "buffer_sizes", alias = "buffer-sizes", value_name = "LIST")]
    buffer_sizes: Option<String>,
    /// Timed transfers of each size; the initiator's counts
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Transfers of each size to warm up; the initiator's counts
    #[arg(long, value_name = "N", default_value_t = 10)]
    warmup: u32,
    /// Who moves the data: the initiator reads the target's, or writes its own [default: read; the initiator's counts]
    #[arg(long)]
    op: Option<Op>,
    /// As in the script; refused, since data is in host memory
    #[arg(long)]
    cuda: bool,
    /// As in the script; refused, since data is in host memory
    #[arg(long = "gpu_id", alias = "gpu-id", value_name = "N")]
    gpu_id: Option<u32>,
    #[command(flatten)]
    net: NetArgs,
    /// The net's device
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: usize,
    /// Seconds to wait for the other side, and longest time of a single transfer
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    timeout: u64,
    /// Columns below their headings, instead of shifted as the script prints them
    #[arg(long)]
    aligned: bool,
    /// Write the initiator's results as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// etcd to find each other by: http://HOST:PORT, several separated by commas [default: NIXL_ETCD_ENDPOINTS]
    #[arg(long, value_name = "URLS")]
    etcd: Option<String>,
    /// Prefix of the keys in etcd [default: NIXL_ETCD_NAMESPACE, else /nixl/agents]
    #[arg(long, value_name = "PREFIX")]
    etcd_namespace: Option<String>,
    /// This process's name in etcd [default: host name and process id]
    #[arg(long)]
    name: Option<String>,
    /// Targets to run against, found through etcd [default: all that are there, at least one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    targets: Option<u32>,
    /// Target to run against, by its name in etcd; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "targets")]
    peer: Vec<String>,
    /// Initiators that the target serves, one after the other, before it ends
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    initiators: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Target,
    Initiator,
}

pub(super) fn run(args: &P2pArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let settings = Settings::new(args, &environment)?;
    start_log(&environment.log_settings()?)?;
    match settings {
        Settings::Target { target, address, directory } => serve(&target, &address, directory),
        Settings::Initiator { initiator, address, directory } => {
            // Before anything is measured: a file that can't be made is known at once.
            let file = args.json.as_deref().map(json::create).transpose()?;
            let mut runs = Vec::new();
            let result = match (directory, address) {
                (Some(directory), _) => among_targets(&initiator, directory, args, &mut runs),
                (None, Some(address)) => {
                    let deadline = Instant::now() + initiator.net.patience;
                    initiator.run(&address, None, deadline, || Ok(())).map(|run| runs.push(run))
                }
                (None, None) => Err(anyhow!("--ip is missing: wanted the target's address")),
            };
            if let Some((path, mut file)) = file {
                let error = result.as_ref().err().map(|error| format!("{error:#}"));
                json::write(&mut file, &report::document(&initiator.terms, &runs, error.as_deref()))?;
                say(&format!("Results are in {}", path.display()));
            }
            result?;
            match runs.iter().flat_map(|run| &run.failed).map(|&size| sizes::text(size)).collect::<Vec<_>>() {
                failed if failed.is_empty() => Ok(()),
                failed => bail!("data verification failed for {}", failed.join(", ")),
            }
        }
    }
}

/// A line for people about what goes on; where the script's logger writes, too.
fn say(line: &str) {
    eprintln!("{line}");
}

fn serve(target: &Target, address: &Address, directory: Option<Directory>) -> anyhow::Result<()> {
    let listener = address.listen()?;
    let port = listener.local_addr().context("reading the port")?.port();
    let address = Address { port, ..address.clone() };
    say(&format!("Target listening on {address}"));
    let register = |directory: Directory| {
        let place = Some((address.ip.clone(), port));
        register(directory, &target.agent, Role::Target, place, target.net.patience)
    };
    let _registration = directory.map(register).transpose()?;
    target.run(&listener)
}

/// Runs against one target after the other, as soon as enough are there.
fn among_targets(
    initiator: &Initiator,
    directory: Directory,
    args: &P2pArgs,
    runs: &mut Vec<Run>,
) -> anyhow::Result<()> {
    let patience = initiator.net.patience;
    let mut namespace = directory.namespace()?;
    let _registration = register(directory, &initiator.agent, Role::Initiator, None, patience)?;
    let found = find(&mut namespace, args, Instant::now() + patience)?;
    for (name, entry) in found {
        let address =
            entry.address().with_context(|| format!("target {name} says nowhere where it listens"))?;
        let gone = || match namespace.agents() {
            Ok(agents) if agents.get(&name) != Some(&entry) => bail!("target {name} is no longer in etcd"),
            // Without etcd nothing is known, and the target may well be there.
            _ => Ok(()),
        };
        let run = initiator.run(&address, Some(&name), Instant::now() + patience, gone);
        runs.push(run.with_context(|| format!("target {name}"))?);
    }
    Ok(())
}

/// Waits for the targets that are wanted.
fn find(
    namespace: &mut Namespace,
    args: &P2pArgs,
    deadline: Instant,
) -> anyhow::Result<BTreeMap<String, Entry>> {
    let mut told = String::new();
    loop {
        let agents = namespace.agents();
        let waiting = match agents {
            Ok(agents) => match choose(agents, args) {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            },
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("not all targets came within {} s (--timeout): {waiting}", args.timeout);
        }
        if told != waiting {
            say(&format!("Waiting for targets: {waiting}"));
            told = waiting;
        }
        std::thread::sleep(RETRY);
    }
}

/// The targets to run against, or what is missing.
fn choose(agents: BTreeMap<String, Entry>, args: &P2pArgs) -> Result<BTreeMap<String, Entry>, String> {
    let mut targets: BTreeMap<String, Entry> = agents
        .into_iter()
        .filter(|(_, entry)| entry.role == Role::Target && entry.address().is_some())
        .collect();
    let names = |targets: &BTreeMap<String, Entry>| targets.keys().cloned().collect::<Vec<_>>().join(", ");
    if !args.peer.is_empty() {
        let missing: Vec<&str> =
            args.peer.iter().filter(|name| !targets.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(format!("{} not there; there are {}", missing.join(", "), names(&targets)));
        }
        targets.retain(|name, _| args.peer.contains(name));
        return Ok(targets);
    }
    let wanted = args.targets.map_or(1, |wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
    if targets.len() < wanted {
        return Err(format!("{} of {wanted} there ({})", targets.len(), names(&targets)));
    }
    Ok(match args.targets {
        Some(_) => targets.into_iter().take(wanted).collect(),
        None => targets,
    })
}

fn register(
    directory: Directory,
    agent: &Agent,
    role: Role,
    place: Option<(String, u16)>,
    patience: Duration,
) -> anyhow::Result<Registration> {
    let (ip, port) = place.unzip();
    let entry =
        Entry { role, ip, port, host: agent.host.clone(), pid: agent.pid, instance: settings::random() };
    let registration = directory.namespace()?.register(&agent.name, &entry, Instant::now() + patience)?;
    say(&format!("Registered as {} in etcd at {}", agent.name, directory.endpoints));
    Ok(registration)
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

    fn args(more: &[&str]) -> P2pArgs {
        Command::parse_from(["p2p", "--mode", "initiator"].iter().chain(more)).args
    }

    fn agents(names: &[&str]) -> BTreeMap<String, Entry> {
        let entry = |role, ip: Option<&str>| {
            let ip = ip.map(str::to_owned);
            Entry { role, port: ip.as_ref().map(|_| 1), ip, host: "h".into(), pid: 1, instance: 1 }
        };
        let mut agents: BTreeMap<String, Entry> =
            names.iter().map(|name| ((*name).to_owned(), entry(Role::Target, Some("::1")))).collect();
        agents.insert("another-initiator".into(), entry(Role::Initiator, None));
        agents.insert("a-target-nowhere".into(), entry(Role::Target, None));
        agents
    }

    fn chosen(names: &[&str], more: &[&str]) -> Result<String, String> {
        choose(agents(names), &args(more)).map(|found| found.into_keys().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn all_some_or_named_targets() {
        assert_eq!(chosen(&[], &[]), Err("0 of 1 there ()".into()));
        assert_eq!(chosen(&["b", "a"], &[]), Ok("a b".into()));
        assert_eq!(chosen(&["a"], &["--targets", "2"]), Err("1 of 2 there (a)".into()));
        assert_eq!(chosen(&["a", "b", "c"], &["--targets", "2"]), Ok("a b".into()));
        assert_eq!(chosen(&["a", "b", "c"], &["--peer", "c", "--peer", "a"]), Ok("a c".into()));
        assert_eq!(chosen(&["a"], &["--peer", "z"]), Err("z not there; there are a".into()));
    }

    #[test]
    fn the_script_s_flags_are_taken_as_argparse_takes_them() {
        let with = args(&["--buffer_sizes", "1MB", "--iter", "5", "--warm", "2", "--ip", "10.0.0.1"]);
        assert_eq!((with.buffer_sizes.as_deref(), with.iterations, with.warmup), (Some("1MB"), 5, 2));
        let hyphens = args(&["--buffer-sizes", "1KB", "--gpu-id", "3"]);
        assert_eq!((hyphens.buffer_sizes.as_deref(), hyphens.gpu_id), (Some("1KB"), Some(3)));
        let defaults = args(&[]);
        assert_eq!((defaults.port, defaults.iterations, defaults.warmup), (5555, 100, 10));
    }
}
