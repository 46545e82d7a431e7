//! `srv6ctl bench`: benchmarks that people know, over any NCCL net plugin and host memory.

mod all_reduce;
mod data;
mod job;
mod json;
mod numbers;
mod p2p;
mod plugin;
mod ranks;
mod rendezvous;
mod report;
mod sizes;
mod watchdog;

/// Benchmarks over a net plugin, as NCCL would drive it, and host memory: no GPU is needed
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, clap::Subcommand)]
enum Benchmark {
    AllReduce(all_reduce::AllReduceArgs),
    P2p(Box<p2p::P2pArgs>),
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    match &args.benchmark {
        Benchmark::AllReduce(args) => all_reduce::run(args),
        Benchmark::P2p(args) => p2p::run(args),
    }
}
