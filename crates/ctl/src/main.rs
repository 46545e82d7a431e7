//! srv6ctl: lab, path server, benchmarks and routes, one file per subcommand.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program prints")]

mod agent;
mod agent_socket;
mod bench;
mod completions;
mod config;
mod connections;
mod dataplane;
mod decode;
mod demo;
mod doctor;
mod drain;
mod echo;
mod env;
mod experiment;
mod export;
mod flows;
mod gc;
mod hints;
mod inject;
mod install_plugin;
mod interfaces;
mod lab;
mod man;
mod netlink;
mod path_source;
mod paths;
mod progress;
mod routes;
mod serve;
mod sim;
mod table;
mod undrain;
mod verify;
mod wait_master;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

/// Steers AI training traffic over SRv6 paths
#[derive(Debug, Parser)]
#[command(name = "srv6ctl", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Agent(agent::AgentCommandArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
    Connections(connections::ConnectionsArgs),
    Demo(demo::DemoArgs),
    Doctor(doctor::DoctorArgs),
    Drain(drain::DrainArgs),
    Env(env::EnvArgs),
    Export(export::ExportArgs),
    Flows(flows::FlowsArgs),
    Gc(gc::GcArgs),
    Hints(hints::HintsArgs),
    Inject(Box<inject::InjectArgs>),
    InstallPlugin(install_plugin::InstallPluginArgs),
    Lab(lab::LabArgs),
    Man(man::ManArgs),
    Paths(paths::PathsArgs),
    Routes(routes::RoutesArgs),
    Serve(serve::ServeArgs),
    Sim(Box<sim::SimArgs>),
    Undrain(undrain::UndrainArgs),
    Verify(verify::VerifyArgs),
    WaitMaster(wait_master::WaitMasterArgs),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("SRV6_LOG", "warn")).init();
    let result = match Cli::parse().command {
        Command::Agent(args) => agent::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Connections(args) => connections::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => return exit(doctor::run(&args)),
        Command::Drain(args) => drain::run(&args),
        Command::Env(args) => return exit(env::run(&args)),
        Command::Export(args) => export::run(&args),
        Command::Flows(args) => flows::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Hints(args) => hints::run(&args),
        Command::Inject(args) => return exit(inject::run(&args)),
        Command::InstallPlugin(args) => install_plugin::run(&args),
        Command::Lab(args) => lab::run(args),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Paths(args) => paths::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Sim(args) => sim::run(&args),
        Command::Undrain(args) => undrain::run(&args),
        Command::Verify(args) => return exit(verify::run(&args)),
        Command::WaitMaster(args) => wait_master::run(&args),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path}{}", command.get_name());
        for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
            commands(one, &format!("{path} "), found);
        }
        found.push((path, command.clone()));
    }

    #[test]
    fn every_subcommand_and_argument_says_what_it_is_for() {
        Cli::command().debug_assert();
        let mut all = Vec::new();
        commands(&Cli::command(), "", &mut all);
        assert!(all.len() > 15 && all.iter().any(|(path, _)| path == "srv6ctl bench p2p"), "{}", all.len());
        for (path, command) in &all {
            assert!(command.get_about().is_some(), "{path} has no help text");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path}: {} has no help text", argument.get_id());
            }
        }
    }
}
