//! `srv6ctl completions`: what a shell needs to complete commands and flags.

use std::io::Write;

use anyhow::Context;
use clap_complete::Shell;

/// Prints a completion script: source it, or put it where your shell looks
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, mut command: clap::Command) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    std::io::stdout().write_all(&script).context("printing the script")
}
