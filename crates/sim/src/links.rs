//! Every directed link of a fabric by number, and nodes by name.

use std::fmt;

use crate::Clos;

/// A host or a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// A NIC, by its position in the fabric; it has a port into each plane.
    Host(usize),
    /// By plane, and position in the plane (pod × leaves per pod + leaf).
    Leaf(usize, usize),
    /// By plane, and position in the plane (pod × spines per pod + spine).
    Spine(usize, usize),
    /// By plane, and position in the plane (group × cores per group + core).
    Core(usize, usize),
}

/// One direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Who sends.
    pub from: Node,
    /// Who receives.
    pub to: Node,
}

impl Link {
    /// Whether one of the ends is a host.
    pub fn is_host(&self) -> bool {
        matches!(self.from, Node::Host(_)) || matches!(self.to, Node::Host(_))
    }

    /// Which kind of hop this is, in the direction of travel: `host-leaf`, `spine-core` and so on.
    pub fn kind(&self) -> String {
        format!("{}-{}", self.from.kind(), self.to.kind())
    }
}

impl Node {
    /// `host`, `leaf`, `spine` or `core`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Leaf(..) => "leaf",
            Self::Spine(..) => "spine",
            Self::Core(..) => "core",
        }
    }
}

/// `host7`, `leaf3`, or with the plane in front where it isn't the first: `p2/leaf3`.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plane, position) = match *self {
            Self::Host(host) => (0, host),
            Self::Leaf(plane, n) | Self::Spine(plane, n) | Self::Core(plane, n) => (plane, n),
        };
        if plane > 0 {
            write!(f, "p{plane}/")?;
        }
        write!(f, "{}{position}", self.kind())
    }
}

/// Where the links of each kind begin in one array of all of them.
///
/// Upward and downward links of a leaf to the spines lie side by side, as do those of a spine to its cores, so
/// that looking at all paths between two leaves reads memory in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    clos: Clos,
    /// Links of one direction between hosts and leaves, leaves and spines, spines and cores.
    host: usize,
    leaf: usize,
    core: usize,
}

impl Layout {
    pub(crate) fn new(clos: Clos) -> Self {
        Self {
            clos,
            host: clos.planes * clos.hosts(),
            leaf: clos.planes * clos.all_leaves() * clos.spines,
            core: clos.planes * clos.pods * clos.spines * clos.cores,
        }
    }

    /// Directed links.
    pub(crate) fn len(&self) -> usize {
        2 * (self.host + self.leaf + self.core)
    }

    /// Links with a host at one end: these come first.
    pub(crate) fn host_links(&self) -> usize {
        2 * self.host
    }

    /// Host to its leaf of a plane.
    pub(crate) fn host_up(&self, plane: usize, host: usize) -> usize {
        plane * self.clos.hosts() + host
    }

    /// Leaf of a plane to a host.
    pub(crate) fn host_down(&self, plane: usize, host: usize) -> usize {
        self.host + self.host_up(plane, host)
    }

    /// Leaf to its first spine; the others follow.
    pub(crate) fn leaf_up(&self, plane: usize, leaf: usize) -> usize {
        2 * self.host + (plane * self.clos.all_leaves() + leaf) * self.clos.spines
    }

    /// First spine of a leaf's pod to that leaf; the others follow.
    pub(crate) fn leaf_down(&self, plane: usize, leaf: usize) -> usize {
        self.leaf + self.leaf_up(plane, leaf)
    }

    /// Spine of a pod to its first core; the others follow.
    pub(crate) fn core_up(&self, plane: usize, pod: usize, spine: usize) -> usize {
        let row = (plane * self.clos.pods + pod) * self.clos.spines + spine;
        2 * (self.host + self.leaf) + row * self.clos.cores
    }

    /// First core of a spine to that spine in a pod; the others follow.
    pub(crate) fn core_down(&self, plane: usize, pod: usize, spine: usize) -> usize {
        self.core + self.core_up(plane, pod, spine)
    }

    /// The link of a number below [`Layout::len`].
    pub(crate) fn link(&self, number: usize) -> Link {
        let Clos { spines, cores, pods, .. } = self.clos;
        let mut n = number;
        let (below, above, downward) = if n < 2 * self.host {
            let downward = n >= self.host;
            n %= self.host;
            let (plane, host) = (n / self.clos.hosts(), n % self.clos.hosts());
            (Node::Host(host), Node::Leaf(plane, self.clos.leaf_of(host)), downward)
        } else if n < 2 * (self.host + self.leaf) {
            n -= 2 * self.host;
            let downward = n >= self.leaf;
            n %= self.leaf;
            let (row, spine) = (n / spines, n % spines);
            let (plane, leaf) = (row / self.clos.all_leaves(), row % self.clos.all_leaves());
            let spine = Node::Spine(plane, self.clos.pod_of(leaf) * spines + spine);
            (Node::Leaf(plane, leaf), spine, downward)
        } else {
            n -= 2 * (self.host + self.leaf);
            let downward = n >= self.core;
            n %= self.core;
            let (row, core) = (n / cores, n % cores);
            let (plane, spine) = (row / (pods * spines), row % (pods * spines));
            (Node::Spine(plane, spine), Node::Core(plane, spine % spines * cores + core), downward)
        };
        if downward { Link { from: above, to: below } } else { Link { from: below, to: above } }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_number_is_one_link_and_its_way_back_is_another() {
        let clos = Clos {
            planes: 2,
            pods: 3,
            leaves: 2,
            spines: 4,
            cores: 5,
            hosts_per_leaf: 3,
            host_rate: 1.0,
            fabric_rate: 1.0,
        };
        let layout = Layout::new(clos);
        let links: Vec<Link> = (0..layout.len()).map(|n| layout.link(n)).collect();
        assert_eq!(links.len(), 2 * 2 * (18 + 24 + 60));
        let distinct: HashSet<Link> = links.iter().copied().collect();
        assert_eq!(distinct.len(), links.len());
        assert!(links.iter().all(|l| distinct.contains(&Link { from: l.to, to: l.from })));
        assert!(links.iter().enumerate().all(|(n, l)| l.is_host() == (n < layout.host_links())));

        assert_eq!(layout.link(layout.host_up(1, 7)), Link { from: Node::Host(7), to: Node::Leaf(1, 2) });
        let down = layout.link(layout.leaf_down(1, 3) + 2);
        assert_eq!(down, Link { from: Node::Spine(1, 6), to: Node::Leaf(1, 3) });
        let up = layout.link(layout.core_up(1, 2, 3) + 4);
        assert_eq!(up, Link { from: Node::Spine(1, 11), to: Node::Core(1, 19) });
        assert_eq!(up.kind(), "spine-core");
        assert_eq!(format!("{} {} {}", up.from, Node::Host(3), Node::Leaf(0, 2)), "p1/spine11 host3 leaf2");
    }
}
