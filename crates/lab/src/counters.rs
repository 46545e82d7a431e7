//! What each link carried and lost.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::netlink::Link;
use crate::plan::{Cable, CableKind, Role};
use crate::{Error, Lab, fault, netlink};

/// One direction of one link since the lab came up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkCounters {
    /// Sending node.
    pub from: String,
    /// Receiving node.
    pub to: String,
    /// The sender's interface.
    pub interface: String,
    /// Bytes that left the sender, Ethernet headers included. A GSO packet counts once, not per segment.
    pub bytes: u64,
    /// The same with the Ethernet, IPv6 and TCP headers of every segment, which is what a shaper counts; none where
    /// the link isn't shaped.
    pub wire_bytes: Option<u64>,
    /// Packets that left the sender; a GSO packet counts as one.
    pub packets: u64,
    /// Packets lost: in the sender's queue, on the way, and at the receiver's door.
    pub dropped: u64,
    /// Whether the link works.
    pub state: LinkState,
}

/// Whether a link works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// It does.
    Up,
    /// It looks so to both ends, but nothing gets through: [`crate::Fault::Silent`].
    Silent,
    /// It looks so to both ends, but part of what is sent gets lost: [`crate::Fault::Lossy`].
    Lossy,
    /// It has no carrier: [`crate::Fault::LinkDown`].
    Down,
}

impl Lab {
    /// Counters of every link of the fabric in both directions; the management network isn't part of it.
    ///
    /// Reads each node once.
    ///
    /// # Errors
    /// The kernel doesn't answer.
    pub fn links(&self) -> Result<Vec<LinkCounters>, Error> {
        let nodes = self.dump()?;
        let mut counters = Vec::new();
        for cable in self.plan.cables.iter().filter(|c| c.kind != CableKind::Management) {
            for (from, to) in [(0, 1), (1, 0)] {
                counters.extend(self.counters(cable, from, to, &nodes));
            }
        }
        Ok(counters)
    }

    /// Bytes that each switch sent out, by name: what it forwarded.
    ///
    /// # Errors
    /// The kernel doesn't answer.
    pub fn switch_bytes(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut bytes: BTreeMap<String, u64> = self.switches().map(|s| (s.name().to_owned(), 0)).collect();
        for link in self.links()? {
            if let Some(sum) = bytes.get_mut(&link.from) {
                *sum += link.bytes;
            }
        }
        Ok(bytes)
    }

    /// As [`Self::switch_bytes`], but only of switches that no host hangs on.
    ///
    /// # Errors
    /// The kernel doesn't answer.
    pub fn spine_bytes(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut bytes = self.switch_bytes()?;
        for cable in self.plan.cables.iter().filter(|c| c.kind == CableKind::Host) {
            bytes.remove(self.plan.name_of(cable.ends[0].node));
        }
        Ok(bytes)
    }

    /// Bytes that a node has sent over each of its links in the fabric, by the neighbour's name.
    ///
    /// Asks this node alone, so it can be called every few milliseconds.
    ///
    /// # Errors
    /// No such node; the kernel doesn't answer.
    pub fn sent_by(&self, node: &str) -> Result<BTreeMap<String, u64>, Error> {
        let name = self.node(node)?.name().to_owned();
        let links = self.node(node)?.run(netlink::links).map_err(|source| Error::Netlink {
            node: name.clone(),
            action: "read link counters",
            source,
        })?;
        let position = self.plan.node(node).unwrap_or(usize::MAX);
        let mut sent = BTreeMap::new();
        for (cable, end) in self.plan.ends_of(position).filter(|(c, _)| c.kind != CableKind::Management) {
            let [first, second] = &cable.ends;
            let neighbour = if first.ifindex == end.ifindex { second.node } else { first.node };
            if let Some(link) = links.get(&end.ifindex) {
                sent.insert(self.plan.name_of(neighbour).to_owned(), link.stats.tx_bytes);
            }
        }
        Ok(sent)
    }

    /// Interfaces of every node by index; the management network's own node has none of the fabric's.
    pub(crate) fn dump(&self) -> Result<Vec<HashMap<u32, Link>>, Error> {
        self.on_all(|i| {
            let name = self.plan.name_of(i).to_owned();
            let wanted = self.plan.nodes.get(i).is_some_and(|n| n.role != Role::Management);
            move || match wanted {
                true => netlink::links().map_err(|source| Error::Netlink {
                    node: name,
                    action: "read link counters",
                    source,
                }),
                false => Ok(HashMap::new()),
            }
        })
    }

    fn counters(
        &self,
        cable: &Cable,
        from: usize,
        to: usize,
        nodes: &[HashMap<u32, Link>],
    ) -> Option<LinkCounters> {
        let (sender, receiver) = (cable.ends.get(from)?, cable.ends.get(to)?);
        let sent = nodes.get(sender.node)?.get(&sender.ifindex)?;
        let received = nodes.get(receiver.node)?.get(&receiver.ifindex)?;
        Some(LinkCounters {
            from: self.plan.name_of(sender.node).to_owned(),
            to: self.plan.name_of(receiver.node).to_owned(),
            interface: sender.interface.clone(),
            bytes: sent.stats.tx_bytes,
            wire_bytes: sent.queue_bytes,
            packets: sent.stats.tx_packets,
            dropped: sent.queue_drops
                + sent.stats.tx_dropped
                + received.stats.rx_dropped
                + received.stats.rx_otherhost_dropped,
            state: fault::state(sent),
        })
    }
}
