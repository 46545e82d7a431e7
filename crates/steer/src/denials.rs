//! Switches and links that flows are to keep off. Pure.

use std::collections::BTreeSet;
use std::fmt;

use srv6_fabric::Topology;

/// A part of the fabric between hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A switch, by name.
    Switch(String),
    /// A link in both directions, by the names of its ends, the lesser first.
    Link(String, String),
}

impl Place {
    /// The link between two vertices.
    pub fn link(one: &str, other: &str) -> Self {
        let (first, last) = if one <= other { (one, other) } else { (other, one) };
        Self::Link(first.to_owned(), last.to_owned())
    }

    /// The place that a text means in this fabric: a switch by name or id, or a link as `leaf00-spine01`, either way
    /// round, or by the id of one of its edges. `None` where it is neither.
    pub fn find(topology: &Topology, text: &str) -> Option<Self> {
        let vertex = |text: &str| topology.by_name(text).or_else(|| topology.by_id(text));
        if let Some(found) = vertex(text) {
            let found = topology.vertex(found);
            return (!found.is_host()).then(|| Self::Switch(found.name.clone()));
        }
        let name = |index| topology.vertex(index).name.as_str();
        let edge = topology.edges().iter().find(|edge| {
            edge.id == text || edge.id.split_once('/').is_some_and(|(_collection, key)| key == text)
        });
        if let Some(edge) = edge {
            return Some(Self::link(name(edge.from), name(edge.to)));
        }
        // Names may have hyphens of their own.
        text.match_indices('-').find_map(|(at, _)| {
            let (one, other) = (vertex(text.get(..at)?)?, vertex(text.get(at + 1..)?)?);
            let joined = topology.edge(one, other).or_else(|| topology.edge(other, one)).is_some();
            joined.then(|| Self::link(name(one), name(other)))
        })
    }

    /// Whether a path, as names in travel order, goes over it.
    pub fn is_on(&self, hops: &[String]) -> bool {
        match self {
            Self::Switch(name) => hops.contains(name),
            Self::Link(one, other) => hops.windows(2).any(|pair| match pair {
                [from, to] => (from == one && to == other) || (from == other && to == one),
                _ => false,
            }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(name) => f.write_str(name),
            Self::Link(one, other) => write!(f, "{one}-{other}"),
        }
    }
}

/// What flows keep off, and why. A whole: what isn't in it isn't denied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denials {
    /// Taken out of use by a person. It may still work, so it is better than nothing.
    pub drained: BTreeSet<Place>,
    /// Assumed not to work.
    pub bad: BTreeSet<Place>,
}

/// How much is against a path; less is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objection {
    /// Something on it is assumed not to work.
    pub bad: bool,
    /// Something on it is drained.
    pub drained: bool,
}

impl Objection {
    /// Whether there is any.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Denials {
    /// What is against a path, given as names in travel order.
    pub fn against(&self, hops: &[String]) -> Objection {
        let meets = |places: &BTreeSet<Place>| places.iter().any(|place| place.is_on(hops));
        Objection { bad: meets(&self.bad), drained: meets(&self.drained) }
    }

    /// Whether `self` no longer denies something that `before` did.
    pub(crate) fn lifts(&self, before: &Self) -> bool {
        !before.drained.is_subset(&self.drained) || !before.bad.is_subset(&self.bad)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn topology() -> Topology {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        srv6_paths::read_topology(&file, "fabric_graph", "hosts").unwrap().1
    }

    fn hops(names: &str) -> Vec<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_place_is_found_by_every_name_it_has() {
        let topology = topology();
        let find = |text: &str| Place::find(&topology, text).map(|place| place.to_string());
        let spine = topology.vertex(topology.by_name("spine01").unwrap());
        for text in ["spine01", &spine.id] {
            assert_eq!(find(text).as_deref(), Some("spine01"), "{text}");
        }
        let id = &topology
            .edge(topology.by_name("spine01").unwrap(), topology.by_name("leaf00").unwrap())
            .unwrap()
            .id;
        let (_, key) = id.split_once('/').unwrap();
        for text in ["leaf00-spine01", "spine01-leaf00", id, key] {
            assert_eq!(find(text).as_deref(), Some("leaf00-spine01"), "{text}");
        }
        for text in ["", "-", "spine09", "spine00-spine01", "leaf00-", "host00", "fabric_node/"] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn a_dead_path_is_worse_than_a_drained_one() {
        let drained = BTreeSet::from([Place::Switch("spine00".to_owned())]);
        let bad = BTreeSet::from([Place::link("spine01", "leaf00")]);
        let denials = Denials { drained, bad };
        let against = |names| denials.against(&hops(names));
        let mut order = [
            against("host00 leaf00 spine01 leaf01 host01"),
            against("host00 leaf00 spine02 leaf01 host01"),
            against("host00 leaf00 spine00 leaf01 host01"),
        ];
        order.sort();
        assert_eq!(order.map(|o| (o.bad, o.drained)), [(false, false), (false, true), (true, false)]);
        // The same spine by another leaf's link, and the link in the other direction.
        assert!(against("host02 leaf02 spine01 leaf01 host01").is_none());
        assert!(against("host02 leaf02 spine01 leaf00 host00").bad);
    }

    #[test]
    fn lifting_is_told_from_adding() {
        let one = |name: &str| BTreeSet::from([Place::Switch(name.to_owned())]);
        let before = Denials { drained: one("spine00"), bad: BTreeSet::new() };
        let more = Denials { bad: one("spine01"), ..before.clone() };
        assert!(!more.lifts(&before) && before.lifts(&more));
        // Dead instead of drained: the drain is over.
        assert!(Denials { drained: BTreeSet::new(), bad: one("spine00") }.lifts(&before));
    }
}
