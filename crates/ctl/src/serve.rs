//! `srv6ctl serve`: a path API without a database.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use srv6_pathserver::{Options, Server};

/// Answers the Jalapeno path API over a topology file, until interrupted
///
/// Anyone who reaches the address may ask for paths, write loads, and with POST /srv6/v1/load/reset and
/// POST /srv6/v1/topology take them back or replace the topology, unless --read-only forbids the latter two: listen beyond loopback only
/// in a network that is yours.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Topology: a JSON file, several separated by commas, or a folder with hosts.json, fabric-node.json and
    /// fabric-graph.json
    #[arg(long, value_name = "FILE")]
    topology: PathBuf,
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Collection of edges that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "fabric_graph")]
    graph: String,
    /// Collection of hosts that come without a collection name
    #[arg(long, value_name = "NAME", default_value = "hosts")]
    hosts: String,
    /// Refuse to take back loads and to replace the topology, with status 403; loads are still counted
    #[arg(long)]
    read_only: bool,
    /// Answer some errors with an empty detail, as the original API does, instead of one that says what is wrong
    #[arg(long)]
    strict_compat: bool,
}

pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let (documents, topology) = srv6_paths::read_topology(&args.topology, &args.graph, &args.hosts)
        .context("reading the topology")?;
    let options = Options {
        graph: args.graph,
        hosts: args.hosts,
        strict_compat: args.strict_compat,
        read_only: args.read_only,
        ..Options::default()
    };
    let server = Server::bind(args.listen, &documents, options)?;
    let url = server.url();
    log::info!(
        "topology={} vertices={} edges={}",
        args.topology.display(),
        topology.vertices().count(),
        topology.edges().len()
    );
    server.serve(|| println!("listening on {url}"))?;
    Ok(())
}
