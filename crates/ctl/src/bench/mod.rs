//! `srv6ctl bench`: benchmarks that people know, over any NCCL net plugin and host memory.

mod collective;
mod data;
mod fabric;
mod flags;
mod framed;
mod iterations;
mod job;
mod json;
mod lab;
mod measure;
mod memory;
mod multipath;
mod numbers;
mod p2p;
mod plugin;
mod ranks;
mod rendezvous;
mod report;
mod run;
mod sizes;
mod split;
mod stall;
mod tables;
mod watchdog;

use collective::Test;
use flags::CollectiveArgs;

use crate::experiment;

/// Benchmarks over a net plugin, as NCCL would drive it, and host memory: no GPU is needed
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, clap::Subcommand)]
enum Benchmark {
    /// Every rank gets the reduction of all inputs; prints as nccl-tests' all_reduce_perf
    #[command(visible_alias = "all_reduce")]
    AllReduce(Box<CollectiveArgs>),
    /// Every rank gets the inputs of all ranks; prints as nccl-tests' all_gather_perf
    #[command(visible_alias = "all_gather")]
    AllGather(Box<CollectiveArgs>),
    /// Every rank gets its part of the reduction; prints as nccl-tests' reduce_scatter_perf
    #[command(visible_alias = "reduce_scatter")]
    ReduceScatter(Box<CollectiveArgs>),
    /// Every rank gets the input of one; prints as nccl-tests' broadcast_perf
    Broadcast(Box<CollectiveArgs>),
    /// One rank gets the reduction of all inputs; prints as nccl-tests' reduce_perf
    Reduce(Box<CollectiveArgs>),
    /// Every rank sends to the next one; prints as nccl-tests' sendrecv_perf
    Sendrecv(Box<CollectiveArgs>),
    /// Every rank sends a part to every other; prints as nccl-tests' alltoall_perf
    Alltoall(Box<CollectiveArgs>),
    P2p(Box<p2p::P2pArgs>),
    Fabric(fabric::FabricArgs),
    Multipath(multipath::MultipathArgs),
    #[command(hide = true)]
    Worker(experiment::WorkerArgs),
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    match &args.benchmark {
        Benchmark::AllReduce(args) => run::run(Test::AllReduce, args),
        Benchmark::AllGather(args) => run::run(Test::AllGather, args),
        Benchmark::ReduceScatter(args) => run::run(Test::ReduceScatter, args),
        Benchmark::Broadcast(args) => run::run(Test::Broadcast, args),
        Benchmark::Reduce(args) => run::run(Test::Reduce, args),
        Benchmark::Sendrecv(args) => run::run(Test::SendRecv, args),
        Benchmark::Alltoall(args) => run::run(Test::AllToAll, args),
        Benchmark::P2p(args) => p2p::run(args),
        Benchmark::Fabric(args) => fabric::run(args),
        Benchmark::Multipath(args) => multipath::run(args),
        Benchmark::Worker(args) => experiment::work(args),
    }
}

/// The local time, as nccl-tests writes it.
fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}
