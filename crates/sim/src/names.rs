//! What nodes are called.

use std::collections::HashMap;

use crate::{Clos, Node};

/// Names of a fabric's nodes.
#[derive(Debug, Clone, Default)]
pub enum Names {
    /// Kind and position, as [`Node`] displays them.
    #[default]
    Generated,
    /// As a topology's documents call them.
    Given(HashMap<Node, String>),
}

impl Names {
    /// What a node is called.
    pub fn of(&self, node: Node) -> String {
        match self {
            Self::Given(names) if names.contains_key(&node) => names[&node].clone(),
            _ => node.to_string(),
        }
    }

    /// The node of a name, if the fabric has it. Leading zeros of a generated name don't matter.
    pub fn find(&self, name: &str, clos: &Clos) -> Option<Node> {
        match self {
            Self::Given(names) => names.iter().find(|(_, n)| *n == name).map(|(node, _)| *node),
            Self::Generated => generated(name, clos),
        }
    }

    /// A name of each kind, for messages.
    pub(crate) fn examples(&self, clos: &Clos) -> String {
        let mut nodes = vec![Node::Host(0), Node::Leaf(0, 0), Node::Spine(0, 0)];
        nodes.extend((clos.cores > 0).then_some(Node::Core(0, 0)));
        nodes.extend((clos.planes > 1).then_some(Node::Leaf(clos.planes - 1, 0)));
        nodes.into_iter().map(|node| self.of(node)).collect::<Vec<_>>().join(", ")
    }
}

fn generated(name: &str, clos: &Clos) -> Option<Node> {
    let (plane, rest) = match name.split_once('/') {
        Some((plane, rest)) => (plane.strip_prefix('p')?.parse().ok()?, rest),
        None => (0, name),
    };
    let digits = rest.find(|c: char| c.is_ascii_digit())?;
    let (kind, position) = rest.split_at_checked(digits)?;
    let position: usize = position.parse().ok()?;
    let (node, count) = match kind {
        // A host is in every plane.
        "host" if !name.contains('/') => (Node::Host(position), clos.hosts()),
        "leaf" => (Node::Leaf(plane, position), clos.all_leaves()),
        "spine" => (Node::Spine(plane, position), clos.pods * clos.spines),
        "core" => (Node::Core(plane, position), clos.spines * clos.cores),
        _ => return None,
    };
    (plane < clos.planes && position < count).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    #[test]
    fn what_is_shown_is_found() {
        let clos = Clos { planes: 2, ..preset("fat-tree-1024").unwrap() };
        for node in [Node::Host(1023), Node::Leaf(1, 127), Node::Spine(0, 127), Node::Core(1, 63)] {
            assert_eq!(Names::Generated.find(&Names::Generated.of(node), &clos), Some(node));
        }
        assert_eq!(Names::Generated.find("leaf007", &clos), Some(Node::Leaf(0, 7)));
        for name in ["host1024", "p1/host0", "p2/leaf0", "core64", "leaf", "leaf-1", "q1/leaf0", "leaf+1"] {
            assert_eq!(Names::Generated.find(name, &clos), None, "{name}");
        }
        let given = Names::Given(HashMap::from([(Node::Leaf(0, 1), "tor-b".to_owned())]));
        assert_eq!(given.find("tor-b", &clos), Some(Node::Leaf(0, 1)));
        assert_eq!((given.find("leaf1", &clos), given.of(Node::Leaf(0, 1)).as_str()), (None, "tor-b"));
    }
}
