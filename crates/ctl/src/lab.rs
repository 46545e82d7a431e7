//! `srv6ctl lab`: a fabric of network namespaces on this machine.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use srv6_lab::keeper::{self, Directory, Request, Started, State, Stopped};
use srv6_lab::{Fault, Lab, LinkState, Loss, Mbps, Options};

use crate::{progress, table};

/// A fabric of network namespaces with real kernel SRv6, on this machine
///
/// Any user may have one where user namespaces are allowed. Its nodes have no names below /run/netns: enter them
/// with `srv6ctl lab exec NODE -- COMMAND`. One process holds the lab, and the lab ends with it.
#[derive(Debug, clap::Args)]
pub(crate) struct LabArgs {
    /// Folder of the labs' state files [default: /run/srv6-lab for root, else srv6-lab in $XDG_RUNTIME_DIR, else
    /// /tmp/srv6-lab-UID]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[arg(long, global = true, hide = true, env = "XDG_RUNTIME_DIR")]
    xdg_runtime_dir: Option<OsString>,
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LabCommand {
    /// Build the fabric of a topology
    Up(UpArgs),
    /// Take it down, with every process that still runs inside
    Down(Name),
    /// Show which labs are up, and the nodes of one
    Status(StatusArgs),
    /// Run a command inside a node; its exit status is passed on
    Exec(ExecArgs),
    /// Show what each link carried, lost, and whether it works
    Links(LinksArgs),
    /// Let a node or a link die, or lose packets
    Fail(FailArgs),
    /// Take a node's or a link's carrier away for a while
    Flap(FlapArgs),
    /// Bring a node or a link back, or everything
    Heal(HealArgs),
    /// Change the rate of a link, or of all links of a node
    Rate(RateArgs),
    #[command(hide = true)]
    Keep,
}

#[derive(Debug, clap::Args)]
struct Name {
    /// Name of the lab
    #[arg(long, default_value = "lab")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct UpArgs {
    #[command(flatten)]
    name: Name,
    /// Topology: a JSON file, several separated by commas, or a folder with hosts.json, fabric-node.json and
    /// fabric-graph.json
    #[arg(long, value_name = "FILE")]
    topology: PathBuf,
    /// Rate of each link between switches, in Mbit/s [default: not shaped]
    #[arg(long, value_name = "MBPS")]
    rate_fabric: Option<Mbps>,
    /// Rate of each link between a switch and a host, in Mbit/s [default: not shaped]
    #[arg(long, value_name = "MBPS")]
    rate_host: Option<Mbps>,
    /// MTU of each link in bytes [default: 1500]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Collection of edges that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "fabric_graph")]
    graph: String,
    /// Collection of hosts that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "hosts")]
    hosts: String,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// Name of the lab whose nodes are shown [default: the only one]
    #[arg(long)]
    name: Option<String>,
    /// Print a JSON array of labs; nodes are null where several labs are shown
    #[arg(long)]
    json: bool,
}

/// A node as `lab status` shows it.
#[derive(Debug, serde::Serialize)]
struct NodeStatus {
    node: String,
    thread: u32,
    management: Option<String>,
    up: usize,
    lossy: usize,
    silent: usize,
    down: usize,
}

#[derive(Debug, clap::Args)]
struct ExecArgs {
    #[command(flatten)]
    name: Name,
    /// Node, such as host00, spine01 or mgmt
    node: String,
    /// Command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
struct LinksArgs {
    #[command(flatten)]
    name: Name,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FailArgs {
    #[command(flatten)]
    name: Name,
    /// Node (spine01), or link (leaf00-spine01, either way round)
    target: String,
    /// Take the carrier away too; without this, packets vanish and both ends see the link up
    #[arg(long)]
    down: bool,
    /// Lose only this share of the packets, at random: 0.01 to 100
    #[arg(long, value_name = "PERCENT", conflicts_with = "down")]
    loss: Option<Loss>,
    /// Only what this node sends vanishes or gets lost [default: both directions]
    #[arg(long, value_name = "NODE", conflicts_with = "down")]
    from: Option<String>,
}

#[derive(Debug, clap::Args)]
struct FlapArgs {
    #[command(flatten)]
    name: Name,
    /// Node (spine01), or link (leaf00-spine01, either way round)
    target: String,
    /// How long it is down, in milliseconds
    #[arg(long = "for", value_name = "MS", default_value_t = 300)]
    milliseconds: u64,
}

#[derive(Debug, clap::Args)]
struct HealArgs {
    #[command(flatten)]
    name: Name,
    /// Node or link [default: all]
    target: Option<String>,
}

#[derive(Debug, clap::Args)]
struct RateArgs {
    #[command(flatten)]
    name: Name,
    /// Node or link
    target: String,
    /// Mbit/s, or "none" for as fast as it goes
    #[arg(value_name = "MBPS", value_parser = rate)]
    rate: Rate,
}

/// A rate or none: clap takes a bare `Option` for an argument that may be left out.
#[derive(Debug, Clone, Copy)]
struct Rate(Option<Mbps>);

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "none" => Ok(Rate(None)),
        _ => text.parse().map(|rate| Rate(Some(rate))).map_err(|e: srv6_lab::RateError| e.to_string()),
    }
}

/// Must be called while the process has one thread: labs may be in a user namespace of their own.
pub(crate) fn run(args: LabArgs) -> anyhow::Result<()> {
    // The keeper gets everything from the command that started it.
    if matches!(args.command, LabCommand::Keep) {
        match keeper::keep()? {}
    }
    let directory = match args.state_dir {
        Some(path) => Directory::at(std::path::absolute(path)?)?,
        None => {
            // Set and empty means not set (XDG Base Directory Specification).
            let runtime = args.xdg_runtime_dir.filter(|d| !d.is_empty()).map(PathBuf::from);
            Directory::of_user(runtime.as_deref())?
        }
    };
    match args.command {
        LabCommand::Up(up) => bring_up(&directory, up),
        LabCommand::Down(Name { name }) => {
            let bar = progress::spinner(&format!("taking lab {name} down"));
            let stopped =
                keeper::stop(&directory, &name).with_context(|| format!("taking lab {name:?} down"));
            bar.finish_and_clear();
            match stopped? {
                Stopped::Now { processes: 0 } => println!("lab {name} is down"),
                Stopped::Now { processes } => {
                    println!("lab {name} is down; processes that ran inside and were ended: {processes}");
                }
                Stopped::Already => println!("lab {name} was not up"),
            }
            Ok(())
        }
        LabCommand::Status(status) => show_status(&directory, status),
        LabCommand::Exec(exec) => {
            state(&directory, &exec.name.name)?.enter(&exec.node)?;
            let [program, arguments @ ..] = exec.command.as_slice() else {
                anyhow::bail!("no command given")
            };
            let error = Command::new(program).args(arguments).exec();
            Err(error).with_context(|| format!("running {} in {}", program.display(), exec.node))
        }
        LabCommand::Links(links) => show_links(&directory, &links),
        LabCommand::Fail(fail) => {
            let fault = match (fail.down, fail.loss) {
                (true, _) => Fault::LinkDown,
                (false, Some(loss)) => Fault::Lossy(loss),
                (false, None) => Fault::Silent,
            };
            let lab = lab(&directory, &fail.name)?;
            match &fail.from {
                Some(from) => lab.fail_one_way(&fail.target, from, fault)?,
                None => lab.fail(&fail.target, fault)?,
            }
            Ok(())
        }
        LabCommand::Flap(flap) => {
            let lab = lab(&directory, &flap.name)?;
            lab.fail(&flap.target, Fault::LinkDown)?;
            std::thread::sleep(Duration::from_millis(flap.milliseconds));
            Ok(lab.heal(&flap.target)?)
        }
        LabCommand::Heal(heal) => {
            let lab = lab(&directory, &heal.name)?;
            match &heal.target {
                Some(target) => lab.heal(target)?,
                None => lab.heal_all()?,
            }
            Ok(())
        }
        LabCommand::Rate(rate) => Ok(lab(&directory, &rate.name)?.rate(&rate.target, rate.rate.0)?),
        // Answered above, before a state directory was needed.
        LabCommand::Keep => Ok(()),
    }
}

fn bring_up(directory: &Directory, up: UpArgs) -> anyhow::Result<()> {
    let name = up.name.name;
    let (documents, _) =
        srv6_paths::read_topology(&up.topology, &up.graph, &up.hosts).context("reading the topology")?;
    let options =
        Options { rate_fabric: up.rate_fabric, rate_host: up.rate_host, mtu: up.mtu, ..Options::default() };
    let source = up.topology.display().to_string();
    let request = Request::new(&name, &source, &documents, &up.graph, options)?;

    let mut command = Command::new(std::env::current_exe().context("finding srv6ctl itself")?);
    command.args(["lab", "keep"]);
    let bar = progress::spinner(&format!("bringing lab {name} up"));
    let started =
        keeper::start(directory, &request, command).with_context(|| format!("bringing lab {name:?} up"));
    bar.finish_and_clear();
    match started? {
        Started::Now => {
            println!("lab {name} is up; enter it with: srv6ctl lab exec --name {name} NODE -- COMMAND")
        }
        Started::Already => println!("lab {name} is up already"),
    }
    Ok(())
}

fn show_status(directory: &Directory, status: StatusArgs) -> anyhow::Result<()> {
    let states = match &status.name {
        Some(name) => vec![state(directory, name)?],
        None => directory.states()?,
    };
    // With several labs there may be several user namespaces, and a process can enter only one.
    let nodes = match states.as_slice() {
        [state] => Some(nodes(state)?),
        _ => None,
    };
    if status.json {
        let labs: Vec<_> = states
            .iter()
            .map(|state| {
                let request = state.request();
                json!({ "lab": request.name(), "keeper": state.pid(), "topology": request.source(), "nodes": nodes })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&labs)?);
        return Ok(());
    }
    if states.is_empty() {
        println!("no lab is up");
        return Ok(());
    }
    let mut labs = table::new(&["LAB", "KEEPER", "NODES", "TOPOLOGY"]);
    for state in &states {
        let (request, nodes) = (state.request(), state.threads().len());
        labs.add_row([request.name(), &state.pid().to_string(), &nodes.to_string(), request.source()]);
    }
    println!("{labs}");
    let Some(nodes) = nodes else { return Ok(()) };
    let mut shown = table::new(&["NODE", "THREAD", "MANAGEMENT", "LINKS UP", "LOSSY", "SILENT", "DOWN"]);
    for node in nodes {
        let management = node.management.unwrap_or_else(|| "-".to_owned());
        let links = [node.up, node.lossy, node.silent, node.down].map(|count| count.to_string());
        shown.add_row([node.node, node.thread.to_string(), management].into_iter().chain(links));
    }
    println!("\n{shown}");
    Ok(())
}

/// A lab's nodes, and how many links of each are in which state.
fn nodes(state: &State) -> anyhow::Result<Vec<NodeStatus>> {
    let lab = state.lab()?;
    let links = lab.links()?;
    let status = |node: &srv6_lab::Node| {
        let count = |wanted| links.iter().filter(|l| l.from == node.name() && l.state == wanted).count();
        NodeStatus {
            node: node.name().to_owned(),
            thread: node.thread_id(),
            management: lab.management_address(node.name()).ok().map(|address| address.to_string()),
            up: count(LinkState::Up),
            lossy: count(LinkState::Lossy),
            silent: count(LinkState::Silent),
            down: count(LinkState::Down),
        }
    };
    Ok(lab.nodes().iter().map(status).collect())
}

fn show_links(directory: &Directory, args: &LinksArgs) -> anyhow::Result<()> {
    let links = lab(directory, &args.name)?.links()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&links)?);
        return Ok(());
    }
    let mut shown = table::new(&["FROM", "TO", "INTERFACE", "BYTES", "PACKETS", "DROPPED", "STATE"]);
    for link in links {
        let state = match link.state {
            LinkState::Up => "up",
            LinkState::Lossy => "lossy",
            LinkState::Silent => "silent",
            LinkState::Down => "down",
        };
        shown.add_row([
            link.from,
            link.to,
            link.interface,
            link.bytes.to_string(),
            link.packets.to_string(),
            link.dropped.to_string(),
            state.to_owned(),
        ]);
    }
    println!("{shown}");
    Ok(())
}

fn state(directory: &Directory, name: &str) -> anyhow::Result<State> {
    Ok(directory.state(name)?.ok_or_else(|| srv6_lab::Error::NotUp { name: name.to_owned() })?)
}

fn lab(directory: &Directory, name: &Name) -> anyhow::Result<Lab> {
    state(directory, &name.name)?.lab().with_context(|| format!("joining lab {:?}", name.name))
}
