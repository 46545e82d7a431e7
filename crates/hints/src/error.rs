//! Why hints can't be written or read.

use std::io;
use std::path::PathBuf;

/// A file of hints that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HintsError {
    /// The operating system refused.
    #[error("{doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file or its directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// Somebody else writes this file.
    #[error("{} is being written by another process; want one agent per host, or another path", path.display())]
    OtherWriter {
        /// The file.
        path: PathBuf,
    },
    /// Anybody who may write in the directory could put another file in the place of ours.
    #[error(
        "{} belongs to uid {owner} and has mode {mode:04o}; want a directory of uid {wanted} or root that no other \
         user may write in",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// The writer's user.
        wanted: u32,
    },
    /// Not a file of hints.
    #[error("{} has {found} where {wanted} is wanted: no hints of this kind", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// All slots are taken.
    #[error("all {slots} slots for hints are taken")]
    Full {
        /// How many there are.
        slots: u32,
    },
    /// No flow has this slot.
    #[error("slot {slot} has no flow; {}", has(*used))]
    NoSuchSlot {
        /// The slot.
        slot: u32,
        /// One more than the highest slot in use.
        used: u32,
    },
    /// A number of slots that no file has.
    #[error("{slots} slots for hints; want 1 to {most}")]
    Slots {
        /// The number.
        slots: u32,
        /// The largest.
        most: u32,
    },
}

fn has(used: u32) -> String {
    match used.checked_sub(1) {
        Some(last) => format!("want 0 to {last}, one that `srv6ctl hints show` lists"),
        None => "no flow is registered".to_owned(),
    }
}
