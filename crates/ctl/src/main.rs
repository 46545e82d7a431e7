//! srv6ctl: lab, path server, benchmarks and routes, one file per subcommand.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program prints")]

mod bench;
mod config;
mod demo;
mod gc;
mod lab;
mod progress;
mod routes;
mod serve;
mod table;

use std::process::ExitCode;

use clap::Parser;

/// Steers AI training traffic over SRv6 paths
#[derive(Debug, Parser)]
#[command(name = "srv6ctl", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Bench(bench::BenchArgs),
    Demo(demo::DemoArgs),
    Gc(gc::GcArgs),
    Lab(lab::LabArgs),
    Routes(routes::RoutesArgs),
    Serve(serve::ServeArgs),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("SRV6_LOG", "warn")).init();
    let result = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Lab(args) => lab::run(args),
        Command::Routes(args) => routes::run(&args),
        Command::Serve(args) => serve::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("srv6ctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}
