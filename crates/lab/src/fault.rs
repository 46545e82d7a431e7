//! Faults: links and switches that die, and links whose rate changes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::batch::Tool;
use crate::netlink::Link;
use crate::plan::{Cable, CableKind, Condition, End, lost_neighbours, shaping};
use crate::{Error, Lab, LinkState, Mbps};

/// How a link dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Packets vanish while both ends see the link up: nobody is told, as with a switch whose forwarding hangs.
    Silent,
    /// The link goes down at one end and loses carrier at the other.
    LinkDown,
}

/// Alias of an interface whose link is silent: the kernel remembers the fault, so that every process that looks
/// at the lab sees it.
const SILENT: &str = "silent";

/// State of a link as one of its ends shows it.
pub(crate) fn state(link: &Link) -> LinkState {
    match (link.running, link.alias.as_str()) {
        (false, _) => LinkState::Down,
        (true, SILENT) => LinkState::Silent,
        (true, _) => LinkState::Up,
    }
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
        let node = self.plan.node(target);
        let lines = |i: usize| -> Vec<String> {
            self.ends_in(i, &dead)
                .flat_map(|(first, end)| match fault {
                    Fault::Silent => {
                        let mut lines = lost_neighbours(end);
                        lines.push(format!("link set dev {} alias {SILENT}", end.interface));
                        lines
                    }
                    // One end is enough, and which one shows who died: the other keeps its routes, as a real
                    // neighbour does.
                    Fault::LinkDown if node.unwrap_or(first) == i => {
                        vec![format!("link set dev {} down", end.interface)]
                    }
                    Fault::LinkDown => Vec::new(),
                })
                .collect()
        };
        self.batches(Tool::Ip, lines)?;
        if fault == Fault::LinkDown {
            self.await_carrier(|cable| self.is_among(cable, &dead).then_some(false))?;
        }
        Ok(())
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
            self.ends_in(i, &chosen).map(|(_, end)| shaping(&end.interface, rate)).collect()
        })
    }

    /// Switches the interfaces on, waits for carrier, then configures what the kernel dropped meanwhile. Other
    /// links of the same nodes may be dead for reasons of their own, and stay so.
    fn revive(&self, cables: &[usize]) -> Result<(), Error> {
        self.batches(Tool::Ip, |i| {
            self.ends_in(i, cables)
                .flat_map(|(_, end)| {
                    let device = &end.interface;
                    [format!("link set dev {device} alias \"\""), format!("link set dev {device} up")]
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

    /// Ends of these cables that are in `node`, each with the node that its cable begins at.
    fn ends_in(&self, node: usize, cables: &[usize]) -> impl Iterator<Item = (usize, &End)> {
        cables
            .iter()
            .filter_map(|&c| self.plan.cables.get(c))
            .flat_map(|c| c.ends.iter().map(|end| (c.ends[0].node, end)))
            .filter(move |(_, end)| end.node == node)
    }
}

fn condition(nodes: &[HashMap<u32, Link>], end: &End) -> Condition {
    match nodes.get(end.node).and_then(|links| links.get(&end.ifindex)) {
        Some(link) if !link.up => Condition::Off,
        Some(link) if link.alias == SILENT => Condition::Silent,
        _ => Condition::On,
    }
}
