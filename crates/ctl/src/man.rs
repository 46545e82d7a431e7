//! `srv6ctl man`: manual pages, made from the same text as `--help`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// Prints the manual page srv6ctl(1), or writes one page for each subcommand into a folder
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages, such as /usr/local/share/man/man1; made if it isn't there
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, command: clap::Command) -> anyhow::Result<()> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).context("making the page")?;
        return std::io::stdout().write_all(&page).context("printing the page");
    };
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("writing pages into {}", folder.display()))?;
    println!("the pages are in {}", folder.display());
    Ok(())
}
