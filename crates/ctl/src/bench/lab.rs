//! `--lab`: all ranks of a benchmark on the hosts of a lab, which is raised for it and goes with it.

use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use srv6_lab::{Lab, Mbps, Options};
use srv6_paths::read_topology;

use super::ranks;
use crate::config::Environment;

/// Where ranks run that no launcher starts
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LabArgs {
    /// Raise this fabric as a lab and run a rank on each of its hosts
    #[arg(long, value_name = "FABRIC", help_heading = "Lab")]
    lab: Option<PathBuf>,
    /// Ranks in the lab; host by host, and again from the first [default: one per host]
    #[arg(long, value_name = "N", requires = "lab", help_heading = "Lab")]
    ranks: Option<usize>,
    /// Rate of every link of the lab, in Mbit/s [default: not shaped]
    #[arg(long, value_name = "MBPS", requires = "lab", help_heading = "Lab")]
    lab_rate: Option<Mbps>,
    /// This process is a rank that `--lab` has started
    #[arg(long, hide = true)]
    placed: bool,
}

/// The lab that is wanted.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    fabric: &'a PathBuf,
    ranks: Option<usize>,
    rate: Option<Mbps>,
}

impl LabArgs {
    /// The lab to raise; `None` where ranks are started by a launcher, or have been placed.
    pub(super) fn wanted(&self) -> Option<Wanted<'_>> {
        let fabric = self.lab.as_ref().filter(|_| !self.placed)?;
        Some(Wanted { fabric, ranks: self.ranks, rate: self.lab_rate })
    }
}

/// The processes of a job. Those still running are killed on drop.
#[derive(Debug)]
struct Ranks(Vec<Option<Child>>);

/// Raises the lab, runs this same command on its hosts, and waits for all ranks.
///
/// Must be called before any thread is started: an ordinary user gets a user namespace here.
///
/// # Errors
/// If the lab can't be raised or a rank fails.
pub(super) fn run(wanted: &Wanted<'_>, environment: &Environment) -> anyhow::Result<()> {
    srv6_lab::enter_user_namespace().context("making a user namespace for the lab")?;
    let (_, topology) =
        read_topology(wanted.fabric, "fabric_graph", "hosts").context("reading the fabric")?;
    let options = Options { rate_fabric: wanted.rate, rate_host: wanted.rate, ..Options::default() };
    let lab = Lab::up(&topology, &options).context("raising the lab")?;
    let hosts: Vec<&str> = lab.hosts().map(|host| host.name()).collect();
    let world = wanted.ranks.unwrap_or(hosts.len());
    ensure!(world > 0 && !hosts.is_empty(), "{world} ranks on {} hosts: wanted some of both", hosts.len());
    let mut ranks = Ranks(Vec::new());
    for (rank, host) in (0..world).zip(hosts.iter().cycle()) {
        ranks.0.push(Some(start(&lab, wanted, &hosts, host, rank, world, environment)?));
    }
    match ranks.wait()? {
        None => Ok(()),
        // Each has said why.
        Some((rank, status)) => {
            let host = hosts.get(rank % hosts.len()).copied().unwrap_or_default();
            bail!("rank {rank} on {host} ended with {status}")
        }
    }
}

fn start(
    lab: &Lab,
    wanted: &Wanted<'_>,
    hosts: &[&str],
    host: &str,
    rank: usize,
    world: usize,
    environment: &Environment,
) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    let program = program.to_str().context("this program's path is not text")?;
    let master = lab.management_address(hosts.first().copied().unwrap_or_default())?.to_string();
    let fabric =
        wanted.fabric.canonicalize().with_context(|| format!("finding {}", wanted.fabric.display()))?;
    let mut command = lab.node(host)?.command(program);
    for name in ranks::variables() {
        command.env_remove(name);
    }
    command.args(std::env::args_os().skip(1)).arg("--placed");
    command
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", world.to_string())
        // Each host of a lab has one interface for data.
        .env("LOCAL_RANK", "0")
        .env("MASTER_ADDR", master)
        .env("MASTER_PORT", "29500");
    let mut defaults = vec![
        ("NCCL_SOCKET_IFNAME", "^lo,mgmt0,sr0".into()),
        ("NCCL_SOCKET_FAMILY", "AF_INET6".into()),
        ("SRV6_TRANSPORT", "multipath".into()),
    ];
    if environment.get("JALAPENO_API_ENDPOINT").is_none() {
        defaults.push(("SRV6_TOPOLOGY", fabric.into_os_string()));
    }
    for (name, value) in defaults {
        if environment.get(name).is_none() {
            command.env(name, value);
        }
    }
    let stdout = if rank == 0 { Stdio::inherit() } else { Stdio::null() };
    let child = command.stdin(Stdio::null()).stdout(stdout).spawn();
    child.with_context(|| format!("starting rank {rank} on {host}"))
}

impl Ranks {
    /// Waits for all and gives the first that failed.
    fn wait(&mut self) -> anyhow::Result<Option<(usize, ExitStatus)>> {
        let mut failed = None;
        while self.0.iter().any(Option::is_some) {
            for (rank, seat) in self.0.iter_mut().enumerate() {
                let Some(child) = seat else { continue };
                if let Some(status) = child.try_wait().context("waiting for a rank")? {
                    *seat = None;
                    if !status.success() {
                        failed.get_or_insert((rank, status));
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(failed)
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in self.0.iter_mut().flatten() {
            // An error means that it has ended, which is what is wanted.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}
