//! Faults: links and switches that die or lose packets, and links whose rate changes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::batch::Tool;
use crate::netlink::Link;
use crate::plan::{
    Cable, CableKind, Condition, End, lossless, lossy, lost_neighbours, shaping, whole_packets, wire_packets,
};
use crate::{Error, Lab, LinkState, Loss, Mbps};

/// How a link dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Packets vanish while both ends see the link up: nobody is told, as with a switch whose forwarding hangs.
    Silent,
    /// The link goes down at one end and loses carrier at the other.
    LinkDown,
    /// Part of the packets vanish, at random, while both ends see the link up.
    ///
    /// Its packets have the wire's size then: otherwise the kernel would forward, and lose, dozens of segments of a
    /// connection in one piece, which no cable does.
    Lossy(Loss),
}

/// Alias of an interface whose link is silent: the kernel remembers the fault, so that every process that looks
/// at the lab sees it.
const SILENT: &str = "silent";

/// State of a link as one of its ends shows it.
pub(crate) fn state(link: &Link) -> LinkState {
    match (link.running, link.alias.as_str()) {
        (false, _) => LinkState::Down,
        (true, SILENT) => LinkState::Silent,
        (true, _) if is_lossy(link) => LinkState::Lossy,
        (true, _) => LinkState::Up,
    }
}

/// Whether a link loses packets on the way from this end. The kernel remembers it by what [`wire_packets`] sets,
/// which nothing else in a lab does.
fn is_lossy(link: &Link) -> bool {
    link.gso_max_segs == 1
}

impl Lab {
    /// Lets a link (`leaf00-spine01`, either way round), or all links of a node, die.
    ///
    /// The management network stays.
    ///
    /// # Errors
    /// No such node or link; the kernel refuses.
    pub fn fail(&self, target: &str, fault: Fault) -> Result<(), Error> {
        let dead = self.cables(target)?;
        self.strike(&dead, self.plan.node(target), fault, |_| true)
    }

    /// As [`Self::fail`], but only what the node `from` sends vanishes or gets lost; the other direction works on.
    ///
    /// # Errors
    /// As [`Self::fail`]; a link can't be down in one direction; `from` is at no end of the target.
    pub fn fail_one_way(&self, target: &str, from: &str, fault: Fault) -> Result<(), Error> {
        let dead = self.cables(target)?;
        if fault == Fault::LinkDown {
            return Err(Error::NoDirection { target: target.to_owned(), from: from.to_owned() });
        }
        let ends = || dead.iter().filter_map(|&c| self.plan.cables.get(c)).flat_map(|c| &c.ends);
        match self.plan.node(from).filter(|&from| ends().any(|end| end.node == from)) {
            Some(from) => self.strike(&dead, None, fault, |sender| sender == from),
            None => {
                let mut known: Vec<&str> = ends().map(|end| self.plan.name_of(end.node)).collect();
                known.sort_unstable();
                known.dedup();
                let (target, from) = (target.to_owned(), from.to_owned());
                Err(Error::NotAnEnd { target, from, known: known.join(" ") })
            }
        }
    }

    /// Lets cables die of a fault, as far as `strikes` says of the node that sends.
    fn strike(
        &self,
        dead: &[usize],
        node: Option<usize>,
        fault: Fault,
        strikes: impl Fn(usize) -> bool,
    ) -> Result<(), Error> {
        let lines = |i: usize| -> Vec<String> {
            self.directions(dead)
                .filter(|(_, sender, _)| sender.node == i && strikes(i))
                .flat_map(|(first, sender, _)| match fault {
                    Fault::Silent => {
                        let mut lines = lost_neighbours(sender);
                        lines.push(format!("link set dev {} alias {SILENT}", sender.interface));
                        lines
                    }
                    // One end is enough, and which one shows who died: the other keeps its routes, as a real
                    // neighbour does.
                    Fault::LinkDown if node.unwrap_or(first) == i => {
                        vec![format!("link set dev {} down", sender.interface)]
                    }
                    Fault::LinkDown => Vec::new(),
                    Fault::Lossy(_) => vec![wire_packets(sender)],
                })
                .collect()
        };
        self.batches(Tool::Ip, lines)?;
        match fault {
            Fault::Silent => Ok(()),
            Fault::LinkDown => self.await_carrier(|cable| self.is_among(cable, dead).then_some(false)),
            Fault::Lossy(loss) => self.batches(Tool::Nft, |i| {
                self.directions(dead)
                    .filter(|(_, sender, receiver)| receiver.node == i && strikes(sender.node))
                    .flat_map(|(.., receiver)| lossy(receiver, loss))
                    .collect()
            }),
        }
    }

    /// Brings a link or all links of a node back, whatever they died of. Rates stay as they are.
    ///
    /// Returns when they have carrier again and the routes that the kernel dropped are back.
    ///
    /// # Errors
    /// As [`Self::fail`].
    pub fn heal(&self, target: &str) -> Result<(), Error> {
        let dead = self.cables(target)?;
        self.revive(&dead)
    }

    /// Brings every link back.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn heal_all(&self) -> Result<(), Error> {
        let all: Vec<usize> = self.fabric_cables().collect();
        self.revive(&all)
    }

    /// Sets the rate of both directions of a link, or of all links of a node; none: as fast as it goes.
    ///
    /// # Errors
    /// As [`Self::fail`].
    pub fn rate(&self, target: &str, rate: Option<Mbps>) -> Result<(), Error> {
        let chosen = self.cables(target)?;
        self.batches(Tool::Tc, |i| {
            self.ends_in(i, &chosen).map(|end| shaping(&end.interface, rate)).collect()
        })
    }

    /// Switches the interfaces on, waits for carrier, then configures what the kernel dropped meanwhile. Other
    /// links of the same nodes may be dead for reasons of their own, and stay so.
    fn revive(&self, cables: &[usize]) -> Result<(), Error> {
        let before = self.dump()?;
        let was_lossy =
            |end: &End| before.get(end.node).and_then(|links| links.get(&end.ifindex)).is_some_and(is_lossy);
        self.batches(Tool::Nft, |i| {
            self.directions(cables)
                .filter(|(_, sender, receiver)| receiver.node == i && was_lossy(sender))
                .flat_map(|(.., receiver)| lossless(receiver))
                .collect()
        })?;
        self.batches(Tool::Ip, |i| {
            self.ends_in(i, cables)
                .flat_map(|end| {
                    let device = &end.interface;
                    let mut lines = vec![
                        format!("link set dev {device} alias \"\""),
                        format!("link set dev {device} up"),
                    ];
                    lines.extend(was_lossy(end).then(|| whole_packets(end)));
                    lines
                })
                .collect()
        })?;
        let nodes = self.dump()?;
        self.await_carrier(|cable| self.is_among(cable, cables).then_some(true))?;
        self.batches(Tool::Ip, |i| match self.ends_in(i, cables).next() {
            Some(_) => self.plan.configure(i, |end| condition(&nodes, end)),
            None => Vec::new(),
        })?;
        self.await_addresses(|end| condition(&nodes, end))
    }

    /// Positions of the cables that a target means.
    fn cables(&self, target: &str) -> Result<Vec<usize>, Error> {
        let node = self.plan.node(target);
        let found: Vec<usize> = self
            .fabric_cables()
            .filter(|&c| {
                self.plan.cables.get(c).is_some_and(|cable| match node {
                    Some(node) => cable.ends.iter().any(|end| end.node == node),
                    None => {
                        let [a, b] = cable.ends.each_ref().map(|end| self.plan.name_of(end.node));
                        target == format!("{a}-{b}") || target == format!("{b}-{a}")
                    }
                })
            })
            .collect();
        if found.is_empty() {
            let known = self.fabric_cables().filter_map(|c| self.plan.cables.get(c));
            let known: Vec<String> = known.map(|c| self.plan.link_name(c)).collect();
            return Err(Error::UnknownTarget { target: target.to_owned(), known: known.join(" ") });
        }
        Ok(found)
    }

    fn is_among(&self, cable: &Cable, positions: &[usize]) -> bool {
        positions.iter().filter_map(|&p| self.plan.cables.get(p)).any(|c| std::ptr::eq(c, cable))
    }

    fn fabric_cables(&self) -> impl Iterator<Item = usize> {
        let cables = self.plan.cables.iter().enumerate();
        cables.filter(|(_, c)| c.kind != CableKind::Management).map(|(i, _)| i)
    }

    /// Ends of these cables that are in `node`.
    fn ends_in(&self, node: usize, cables: &[usize]) -> impl Iterator<Item = &End> {
        self.directions(cables).map(|(_, sender, _)| sender).filter(move |end| end.node == node)
    }

    /// Both directions of these cables: the node that the cable begins at, the sending end, the receiving end.
    fn directions(&self, cables: &[usize]) -> impl Iterator<Item = (usize, &End, &End)> {
        cables.iter().filter_map(|&c| self.plan.cables.get(c)).flat_map(|c| {
            let [first, second] = &c.ends;
            [(first.node, first, second), (first.node, second, first)]
        })
    }
}

fn condition(nodes: &[HashMap<u32, Link>], end: &End) -> Condition {
    match nodes.get(end.node).and_then(|links| links.get(&end.ifindex)) {
        Some(link) if !link.up => Condition::Off,
        Some(link) if link.alias == SILENT => Condition::Silent,
        _ => Condition::On,
    }
}
