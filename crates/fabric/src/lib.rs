//! Flows, carriers, topologies and path choice. Pure: no sockets, no files, no clock.
//!
//! Everything here can be checked on paper: a [`Topology`] is parsed from documents, equal-cost
//! [`Path`]s are enumerated on it, [`spread`] picks one of them or [`disjoint`] several, and [`segments`] turns a
//! picked one into the SRv6 [`Segments`] that a route carries.
#![forbid(unsafe_code)]

mod carrier;
mod disjoint;
mod document;
mod error;
mod flow;
mod path;
mod policy;
mod segments;
mod sid;
mod topology;

pub use carrier::{Block, Carrier, Segments, SidFormat};
pub use disjoint::{disjoint, least_shared, replacement, sort_for_both_ends};
pub use document::{Collection, Documents};
pub use error::{CarrierError, TopologyError, chain};
pub use flow::{Family, Flow, Prefix, PrefixError};
pub use path::{Path, equal_cost_paths};
pub use policy::{Policy, spread};
pub use segments::{Encoding, header_segments, segments};
pub use sid::{Behavior, Sid, SidStructure};
pub use topology::{Edge, Topology, Vertex, VertexIndex};
