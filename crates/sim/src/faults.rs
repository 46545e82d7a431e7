//! What is dead, by name or at random.

use crate::names::Names;
use crate::random::{Random, mix};
use crate::{Clos, Error, Fabric, Node};

/// Something that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// A switch of one plane, or a host with its ports.
    Node(Node),
    /// The cable between two nodes.
    Cable(Node, Node),
    /// Drawn ones of a kind.
    Random(Kind, Amount),
}

/// What fails at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Cables between switches.
    Links,
    /// Cables between hosts and leaves.
    Ports,
    /// Switches that hosts hang on.
    Leaves,
    /// Switches above leaves.
    Spines,
    /// Switches above spines.
    Cores,
}

/// How many fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So many.
    Count(usize),
    /// This part of all, 0 to 1.
    Share(f64),
}

impl Kind {
    const NAMES: [(&'static str, Self); 5] = [
        ("links", Self::Links),
        ("ports", Self::Ports),
        ("leaves", Self::Leaves),
        ("spines", Self::Spines),
        ("cores", Self::Cores),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// How many there are in all planes.
    fn count(self, clos: &Clos) -> usize {
        let spines = clos.planes * clos.pods * clos.spines;
        match self {
            Self::Links => clos.planes * clos.all_leaves() * clos.spines + spines * clos.cores,
            Self::Ports => clos.planes * clos.hosts(),
            Self::Leaves => clos.planes * clos.all_leaves(),
            Self::Spines => spines,
            Self::Cores => clos.planes * clos.spines * clos.cores,
        }
    }
}

impl Fault {
    /// Reads a node's name, a cable (two names with - between them), or `KIND:COUNT` or `KIND:SHARE%`.
    ///
    /// # Errors
    /// Text that is none of these, and more than there are.
    pub fn parse(text: &str, clos: &Clos, names: &Names) -> Result<Self, Error> {
        let error = || Error::Fault { given: text.to_owned(), example: names.examples(clos) };
        if let Some((kind, amount)) = text.split_once(':') {
            let known = Kind::NAMES.iter().find(|(name, _)| *name == kind);
            let kind = known.map(|&(_, kind)| kind).ok_or_else(error)?;
            let amount = match amount.strip_suffix('%') {
                Some(percent) => {
                    let percent: f64 = percent.parse().map_err(|_| error())?;
                    Some(percent).filter(|p| (0.0..=100.0).contains(p)).map(|p| Amount::Share(p / 100.0))
                }
                None => Some(Amount::Count(amount.parse().map_err(|_| error())?)),
            };
            let amount = amount.ok_or_else(error)?;
            let there = kind.count(clos);
            return match amount {
                Amount::Count(count) if count > there => {
                    Err(Error::TooManyFaults { given: text.to_owned(), there, kind: kind.name() })
                }
                amount => Ok(Self::Random(kind, amount)),
            };
        }
        if let Some(node) = names.find(text, clos) {
            return Ok(Self::Node(node));
        }
        // Names may have a - in them too, so every place where one could end is tried.
        let cable = text.match_indices('-').find_map(|(at, _)| {
            let (a, b) = (text.get(..at)?, text.get(at + 1..)?);
            Some((names.find(a, clos)?, names.find(b, clos)?))
        });
        let (a, b) = cable.ok_or_else(error)?;
        if clos.joins(a, b) || clos.joins(b, a) { Ok(Self::Cable(a, b)) } else { Err(error()) }
    }

    /// The fabric with all these faults; what is random is drawn from the seed.
    pub fn apply(faults: &[Self], fabric: &Fabric, seed: u64) -> Fabric {
        let clos = fabric.clos();
        let (mut nodes, mut cables) = (Vec::new(), Vec::new());
        for (turn, fault) in faults.iter().enumerate() {
            match *fault {
                Self::Node(node) => nodes.push(node),
                Self::Cable(a, b) => cables.push((a, b)),
                Self::Random(kind, amount) => {
                    for n in draw(kind.count(clos), amount, mix(seed, turn as u64)) {
                        match clos.part(kind, n) {
                            (node, None) => nodes.push(node),
                            (below, Some(above)) => cables.push((below, above)),
                        }
                    }
                }
            }
        }
        fabric.without(&nodes, &cables)
    }
}

/// Distinct numbers below `count`.
fn draw(count: usize, amount: Amount, seed: u64) -> Vec<usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and count")]
    let wanted = match amount {
        Amount::Count(wanted) => wanted,
        Amount::Share(share) => (count as f64 * share).round() as usize,
    };
    let mut random = Random::new(seed);
    let mut numbers: Vec<usize> = (0..count).collect();
    for i in 0..wanted {
        numbers.swap(i, i + random.below(count - i));
    }
    numbers.truncate(wanted);
    numbers
}

impl Clos {
    /// Number `n` of a kind: a switch, or the lower and the upper end of a cable.
    fn part(&self, kind: Kind, n: usize) -> (Node, Option<Node>) {
        let in_plane = |all: usize| (n / all, n % all);
        let spines = self.pods * self.spines;
        match kind {
            Kind::Ports => {
                let (plane, host) = in_plane(self.hosts());
                (Node::Host(host), Some(Node::Leaf(plane, self.leaf_of(host))))
            }
            Kind::Leaves => {
                let (plane, leaf) = in_plane(self.all_leaves());
                (Node::Leaf(plane, leaf), None)
            }
            Kind::Spines => {
                let (plane, spine) = in_plane(spines);
                (Node::Spine(plane, spine), None)
            }
            Kind::Cores => {
                let (plane, core) = in_plane(self.spines * self.cores);
                (Node::Core(plane, core), None)
            }
            Kind::Links => {
                let low = self.all_leaves() * self.spines;
                let (plane, n) = in_plane(low + spines * self.cores);
                if n < low {
                    let (leaf, spine) = (n / self.spines, n % self.spines);
                    let spine = self.pod_of(leaf) * self.spines + spine;
                    (Node::Leaf(plane, leaf), Some(Node::Spine(plane, spine)))
                } else {
                    let (spine, core) = ((n - low) / self.cores, (n - low) % self.cores);
                    let core = spine % self.spines * self.cores + core;
                    (Node::Spine(plane, spine), Some(Node::Core(plane, core)))
                }
            }
        }
    }

    /// Whether there is a cable from a node up to another.
    pub(crate) fn joins(&self, below: Node, above: Node) -> bool {
        match (below, above) {
            (Node::Host(host), Node::Leaf(_, leaf)) => self.leaf_of(host) == leaf,
            (Node::Leaf(p, leaf), Node::Spine(q, spine)) => {
                p == q && self.pod_of(leaf) == spine / self.spines
            }
            (Node::Spine(p, spine), Node::Core(q, core)) => {
                p == q && spine % self.spines == core / self.cores
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::preset;

    fn parse(text: &str, clos: &Clos) -> Result<Fault, String> {
        Fault::parse(text, clos, &Names::Generated).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_cables_and_random_parts_are_read() {
        let clos = preset("mrc-131072").unwrap();
        assert_eq!(parse("spine255", &clos), Ok(Fault::Node(Node::Spine(0, 255))));
        assert_eq!(parse("p7/leaf511", &clos), Ok(Fault::Node(Node::Leaf(7, 511))));
        let cable = Fault::Cable(Node::Spine(2, 3), Node::Leaf(2, 4));
        assert_eq!(parse("p2/spine3-p2/leaf4", &clos), Ok(cable));
        assert_eq!(parse("links:1%", &clos), Ok(Fault::Random(Kind::Links, Amount::Share(0.01))));
        assert_eq!(parse("ports:7", &clos), Ok(Fault::Random(Kind::Ports, Amount::Count(7))));
        let error = parse("spines:3000", &clos).unwrap_err();
        assert_eq!(error, "spines:3000: the fabric has 2048 spines");
        for text in
            ["spine256", "p8/leaf0", "leaf0-leaf1", "leaf0-p1/spine0", "links:101%", "hosts:1", "x", ""]
        {
            let error = parse(text, &clos).unwrap_err();
            assert!(error.starts_with(&format!("{text:?} can't fail: want a node (host0")), "{error}");
        }
    }

    #[test]
    fn every_number_of_a_kind_is_another_part() {
        let clos = Clos { planes: 2, ..preset("fat-tree-1024").unwrap() };
        for (name, kind) in Kind::NAMES {
            let parts: HashSet<_> = (0..kind.count(&clos)).map(|n| clos.part(kind, n)).collect();
            assert_eq!(parts.len(), kind.count(&clos), "{name}");
            assert!(parts.iter().all(|&(a, b)| b.is_none_or(|b| clos.joins(a, b))), "{name}");
        }
    }

    #[test]
    fn so_many_links_are_dead_as_were_asked_for() {
        let fabric = Fabric::new(preset("fat-tree-1024").unwrap()).unwrap();
        let dead = |text: &str, seed| {
            let fault = parse(text, fabric.clos()).unwrap();
            Fault::apply(&[fault], &fabric, seed)
        };
        assert_eq!(dead("links:0", 0).dead_links(), 0);
        assert_eq!(dead("links:100", 0).dead_links(), 200);
        assert_eq!(dead("links:10%", 0).dead_links(), 2 * 205);
        assert_eq!(dead("spines:1", 0).dead_links(), 2 * 16);
        assert_eq!(dead("cores:1", 0).dead_links(), 2 * 16);
        assert_eq!(dead("leaf0", 0).dead_links(), 2 * 16);
        assert_eq!(dead("host3-leaf0", 0).dead_links(), 2);
        let links =
            |fabric: &Fabric| (0..fabric.links()).filter(|&l| !fabric.is_alive(l)).collect::<Vec<_>>();
        assert_eq!(links(&dead("links:9", 4)), links(&dead("links:9", 4)));
        assert_ne!(links(&dead("links:9", 4)), links(&dead("links:9", 5)));
        assert_eq!(links(&dead("ports:9", 4)).len(), 18);
    }
}
