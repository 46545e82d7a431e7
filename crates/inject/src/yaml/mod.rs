//! YAML as text and as values at once: where each node stands, what it says, and edits that touch nothing else.

mod edit;
mod emit;
mod parse;

use serde_json::{Map, Value};

pub(crate) use edit::{apply, between};
pub(crate) use emit::document;
pub(crate) use parse::parse;

/// One node of a document. Offsets are in bytes, into the text that was parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where its first character is; of a block list its first dash.
    pub(crate) start: usize,
    /// Where its last character ends.
    pub(crate) end: usize,
    /// Whether it has an anchor, so that a change of it could change another place.
    pub(crate) anchored: bool,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A scalar, or an alias, by its value.
    Leaf {
        /// What it says.
        value: Value,
        /// It is an alias of another node.
        alias: bool,
    },
    /// A list.
    List {
        /// In brackets.
        flow: bool,
        /// In order.
        items: Vec<Node>,
    },
    /// A mapping.
    Mapping {
        /// In braces.
        flow: bool,
        /// In order.
        pairs: Vec<Pair>,
    },
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    /// The key's text.
    pub(crate) key: String,
    /// Where the key begins.
    pub(crate) start: usize,
    /// Where the colon ends.
    pub(crate) colon: usize,
    /// Its value.
    pub(crate) value: Node,
}

impl Node {
    /// What the node says, as JSON.
    pub(crate) fn value(&self) -> Value {
        match &self.kind {
            Kind::Leaf { value, .. } => value.clone(),
            Kind::List { items, .. } => items.iter().map(Self::value).collect(),
            Kind::Mapping { pairs, .. } => Value::Object(
                pairs.iter().map(|pair| (pair.key.clone(), pair.value.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The member of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Mapping { pairs, .. } => pairs.iter().find(|pair| pair.key == key).map(|pair| &pair.value),
            _ => None,
        }
    }

    /// The node that a JSON pointer leads to.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |node, step| match &node.kind {
            Kind::List { items, .. } => items.get(step.parse::<usize>().ok()?),
            _ => node.get(&step.replace("~1", "/").replace("~0", "~")),
        })
    }

    /// The items of a list; none if it is no list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List { items, .. } => items,
            _ => &[],
        }
    }

    /// Whether it is the text `expected`.
    pub(crate) fn is(&self, expected: &str) -> bool {
        matches!(&self.kind, Kind::Leaf { value: Value::String(text), .. } if text == expected)
    }
}

/// The value of a scalar as YAML spells it; none if the text is no scalar.
pub(crate) fn scalar(text: &str) -> Option<Value> {
    match parse(text, 1).ok()??.kind {
        Kind::Leaf { value, alias: false } => Some(value),
        _ => None,
    }
}
