//! Shared memory in which a host's agent tells transports how to share paths.
//!
//! Two formats, each with one writer per host and any number of readers:
//!
//! - ours: [`Hints`] writes it, [`HintsView`] reads it. A slot per flow with a weight for each path; keys are IPv6
//!   addresses and the network namespace; unit, heartbeat and generation are in the header.
//! - [`mpib`]: the 4112 bytes and the registration messages of the MPIB transport agent, for its clients.
//!
//! Neither reads more than memory once it is open: no call that a data path makes goes into the kernel, waits for
//! the writer or trusts it. A file is complete before it gets its name, so who maps it never sees half of one.
#![deny(unsafe_code)]

mod error;
pub mod mpib;
mod own;
mod publish;
mod region;
mod slots;

pub use error::HintsError;
pub use own::{
    Entry, HINTS_VERSION, Hints, HintsView, Key, MAX_WEIGHTS, MOST_SLOTS, Unit, Weights, WeightsError,
    since_boot,
};
pub use region::Identity;
