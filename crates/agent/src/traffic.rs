//! What the open TCP connections of steered flows have carried, as far as the kernel of this host knows.

use std::collections::BTreeMap;
use std::time::Duration;

use srv6_fabric::Flow;
use srv6_routes::Slot;

use crate::Host;
use crate::drain::connections_in;

/// The open connections of a flow, or of one slot of it, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many.
    pub connections: u32,
    /// Bytes that the peer has acknowledged.
    pub acknowledged: u64,
    /// Mean of the smoothed round-trip times.
    pub round_trip: Duration,
}

/// By flow and slot; the slot is known by the ports of a connection or by its mark.
pub type Traffic = BTreeMap<(Flow, Option<Slot>), Carried>;

/// Of all connections in a namespace. Blocks for one dump of the kernel's list.
pub(crate) fn traffic(host: &Host) -> Traffic {
    let mut traffic = Traffic::new();
    for (flow, progress) in connections_in(host).into_values() {
        let carried = traffic.entry((flow, progress.slot)).or_default();
        carried.connections += 1;
        carried.acknowledged += progress.acknowledged;
        carried.round_trip += progress.round_trip;
    }
    for carried in traffic.values_mut() {
        carried.round_trip /= carried.connections.max(1);
    }
    traffic
}
