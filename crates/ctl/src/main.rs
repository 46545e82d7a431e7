//! srv6ctl: lab, path server, benchmarks and routes, one file per subcommand.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program prints")]

mod bench;
mod config;
mod decode;
mod demo;
mod doctor;
mod echo;
mod env;
mod gc;
mod interfaces;
mod lab;
mod netlink;
mod path_source;
mod paths;
mod progress;
mod routes;
mod serve;
mod sim;
mod table;
mod verify;

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
    Doctor(doctor::DoctorArgs),
    Env(env::EnvArgs),
    Gc(gc::GcArgs),
    Lab(lab::LabArgs),
    Paths(paths::PathsArgs),
    Routes(routes::RoutesArgs),
    Serve(serve::ServeArgs),
    Sim(Box<sim::SimArgs>),
    Verify(verify::VerifyArgs),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("SRV6_LOG", "warn")).init();
    let result = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => return exit(doctor::run(&args)),
        Command::Env(args) => return exit(env::run(&args)),
        Command::Gc(args) => gc::run(&args),
        Command::Lab(args) => lab::run(args),
        Command::Paths(args) => paths::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Sim(args) => sim::run(&args),
        Command::Verify(args) => return exit(verify::run(&args)),
    };
    exit(result.map(|()| ExitCode::SUCCESS))
}

/// The exit status of a subcommand, or of its failure, which is told.
fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("srv6ctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}
