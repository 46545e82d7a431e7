//! A fabric of network namespaces with real kernel SRv6.
//!
//! [`Lab::up`] turns a [`srv6_fabric::Topology`] into one network namespace per host and switch, joined by
//! veths, with uSIDs (`seg6local End` with NEXT-CSID), decapsulation on the leaves, ECMP for plain traffic
//! and, where asked for, rates and MTUs per link. Nothing is emulated: packets are forwarded by the same
//! kernel code that a Linux router runs.
//!
//! A namespace has no name on disk. It lives in a thread of this process, so a lab vanishes with
//! the process that holds it, however that ends. Other processes get in through `/proc`: see [`keeper`].
//!
//! Threads: one per node, plus the caller's. All calls block.
#![deny(unsafe_code)]

mod batch;
mod counters;
mod error;
mod fault;
pub mod keeper;
mod kernel;
mod lab;
mod loss;
#[allow(unsafe_code, reason = "unshare and fork have no safe wrappers")]
mod namespace;
mod netlink;
mod node;
mod options;
mod pair;
mod plan;
mod steering;

pub use counters::{LinkCounters, LinkState};
pub use error::Error;
pub use fault::Fault;
pub use lab::Lab;
pub use loss::{Loss, LossError};
pub use namespace::enter_user_namespace;
pub use node::Node;
pub use options::{Mbps, Options, RateError};
pub use pair::Pair;
pub use plan::{Cable, CableKind, End, Hop, LocalSid, NodePlan, Plan, Role, Route, SidAction};
