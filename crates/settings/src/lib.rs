//! Settings that several programs share, so that a name means the same in all.
//!
//! Nothing here reads the environment: a program's own `config.rs` does, hands the variables to a [`Reader`], takes from it
//! what it needs, and gets the result or all [`Mistakes`] at once. The agent, whose settings come from a file and flags too, reads
//! its own list of fields so.
#![forbid(unsafe_code)]

mod fields;
mod mistakes;
mod platform;
mod steering;
mod value;

pub use fields::{FIELDS, Field};
pub use mistakes::Mistakes;
pub use platform::Platform;
pub use steering::{Mode, Steering};
pub use value::{Reader, Said};
