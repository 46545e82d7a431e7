//! Link loads of fabrics that no lab holds, by arithmetic. Pure: no sockets, no files, no clock.
//!
//! A [`Fabric`] is a [`Clos`] of up to 64 planes less its dead parts ([`Fault`]); a [`Workload`] numbers the flows of its
//! [`Jobs`]; a [`Run`] gives every flow its paths by a [`Rule`], counts on every link and says what the most loaded one
//! means. Neither paths nor flows are stored, so that 131 072 hosts fit into a laptop.
#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "positions come from the fabric's own arithmetic; a wrong one must stop the simulation and not be passed over"
)]

mod alive;
mod choose;
mod clos;
mod count;
mod error;
mod fabric;
mod fair;
mod faults;
mod greedy;
mod import;
mod links;
mod names;
mod parallel;
mod policy;
mod random;
mod run;
mod spray;
mod summary;
mod workload;

pub use clos::{Clos, PRESETS, preset};
pub use error::Error;
pub use fabric::{Fabric, Path};
pub use faults::{Amount, Fault, Kind};
pub use import::import;
pub use links::{Link, Node};
pub use names::Names;
pub use policy::{Policy, Rule};
pub use run::{Fair, Outcome, Run};
pub use summary::Distribution;
pub use workload::{Flow, Jobs, Order, Pattern, Placement, Workload};
