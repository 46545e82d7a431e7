//! Settings that the plugin and the shim share, so that a name means the same in both.
//!
//! Nothing here reads the environment: a program's own `config.rs` does, hands the variables to a [`Reader`], takes from it
//! what it needs, and gets the result or all [`Mistakes`] at once.
#![forbid(unsafe_code)]

mod fields;
mod mistakes;
mod platform;
mod steering;
mod value;

pub use fields::{FIELDS, Field};
pub use mistakes::Mistakes;
pub use platform::{Platform, Values};
pub use steering::{Mode, Steering};
pub use value::Reader;
