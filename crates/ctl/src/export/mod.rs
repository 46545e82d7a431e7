//! `srv6ctl export`: the fabric that a lab makes of a topology, as configuration of other platforms.

mod containerlab;
mod files;
mod frr;
mod ports;
mod sids;
mod sonic;

use std::path::PathBuf;

use anyhow::{Context, bail};
use srv6_lab::{NodePlan, Options, Plan, Role};

use files::Files;

/// Writes the fabric of a topology for containerlab, SONiC or FRR
///
/// Addresses, SIDs and routes are those that `srv6ctl lab up` gives the same topology. docs/EXPORT.md says which
/// versions take what, and what becomes of names.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(subcommand)]
    command: ExportCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ExportCommand {
    /// A containerlab topology, and the configuration of its switches beside it
    Containerlab(containerlab::ContainerlabArgs),
    /// A fragment of config_db.json for every switch
    Sonic(sonic::SonicArgs),
    /// frr.conf for every switch, and what FRR leaves to the kernel
    Frr(frr::FrrArgs),
}

#[derive(Debug, clap::Args)]
struct SourceArgs {
    /// Topology: a JSON file, several separated by commas, or a folder with hosts.json, fabric-node.json and
    /// fabric-graph.json
    #[arg(long, value_name = "FILE")]
    topology: PathBuf,
    /// Folder for the files, made if it isn't there; files of the same names are replaced [default: print them, each
    /// after a line with its name]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// MTU of each link in bytes, where the topology says nothing [default: 1500]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Collection of edges that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "fabric_graph")]
    graph: String,
    /// Collection of hosts that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "hosts")]
    hosts: String,
}

impl SourceArgs {
    fn plan(&self) -> anyhow::Result<Plan> {
        let (_, topology) = srv6_paths::read_topology(&self.topology, &self.graph, &self.hosts)
            .context("reading the topology")?;
        let plan = Plan::new(&topology, &Options { mtu: self.mtu, ..Options::default() })?;
        // They become host names and names of folders.
        for NodePlan { name, .. } in &plan.nodes {
            if !is_host_name(name) {
                bail!(
                    "node {name:?}: want 1 to 63 of a-z A-Z 0-9 and -._, the first a letter or digit; give its document \
                     another name"
                );
            }
        }
        Ok(plan)
    }
}

fn is_host_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// Positions and names of the nodes with a role.
fn with_role(plan: &Plan, role: Role) -> impl Iterator<Item = (usize, &str)> {
    plan.nodes.iter().enumerate().filter(move |(_, n)| n.role == role).map(|(i, n)| (i, n.name.as_str()))
}

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let (source, files): (&SourceArgs, Files) = match &args.command {
        ExportCommand::Containerlab(args) => (&args.source, containerlab::files(args)?),
        ExportCommand::Sonic(args) => (&args.source, sonic::files(args)?),
        ExportCommand::Frr(args) => (&args.source, frr::files(args)?),
    };
    match &source.output {
        Some(folder) => {
            files.write(folder)?;
            println!("{} files are in {}", files.len(), folder.display());
        }
        None => print!("{files}"),
    }
    Ok(())
}
