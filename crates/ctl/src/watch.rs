//! Listings: once or again and again, as tables for people or as JSON for programs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;

/// How a listing is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct ListingArgs {
    /// Print JSON instead of a table; with --watch one document a line
    #[arg(long)]
    json: bool,
    /// List again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

/// What there is to see now.
#[derive(Debug)]
pub(crate) struct Listing {
    /// For programs.
    pub(crate) json: Value,
    /// For people.
    pub(crate) text: String,
}

impl ListingArgs {
    /// Shows what `look` sees, as often as was asked for.
    ///
    /// # Errors
    /// What `look` says, or standard output that takes nothing any more.
    pub(crate) fn show(&self, mut look: impl FnMut() -> anyhow::Result<Listing>) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        loop {
            let Listing { json, text } = look()?;
            match (self.json, self.watch) {
                (true, None) => writeln!(out, "{}", serde_json::to_string_pretty(&json)?)?,
                (true, Some(_)) => writeln!(out, "{json}")?,
                (false, _) => {
                    if self.watch.is_some() && out.is_terminal() {
                        // Home, and clear what is below.
                        write!(out, "\x1b[H\x1b[J")?;
                    }
                    writeln!(out, "{text}")?;
                }
            }
            out.flush()?;
            match self.watch {
                Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
                None => return Ok(()),
            }
        }
    }
}
