//! From a parser's events to nodes that know where they stand.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Number, Value};

use super::{Kind, Node, Pair};
use crate::Error;

/// Deepest nesting; a manifest has about twenty.
const DEPTH: usize = 200;

/// Most nodes of a document with its aliases written out: a guard against aliases of aliases.
const NODES: usize = 1 << 20;

/// The document of a text, which begins on `first_line` of the whole input; none if it has only comments.
///
/// # Errors
/// Text that is no YAML, several documents, and what JSON can't say: tags, keys that aren't text, keys twice.
pub(crate) fn parse(text: &str, first_line: usize) -> Result<Option<Node>, Error> {
    let mut builder = Builder {
        text,
        first_line,
        offsets: text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect(),
        open: Vec::new(),
        done: None,
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Error::Yaml {
            line: first_line + error.marker().line().saturating_sub(1),
            reason: error.info().to_owned(),
        })?;
        builder.event(event, span)?;
    }
    Ok(builder.done)
}

struct Builder<'a> {
    text: &'a str,
    first_line: usize,
    /// Byte offset of each character, since the parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    done: Option<Node>,
    /// Nodes that aliases may name, and how many nodes each is.
    anchors: HashMap<usize, (Value, usize)>,
    nodes: usize,
}

/// A collection whose end hasn't come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Nodes before it.
    before: usize,
    key: Option<Key>,
    keys: HashSet<String>,
}

struct Key {
    text: String,
    start: usize,
    end: usize,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Error> {
        match event {
            Event::DocumentStart(_) if self.done.is_some() => Err(self.unsupported(
                span,
                "a second document after '...'",
                "documents that begin with '---'",
            )),
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.resolve(&text, style, tag.as_deref(), span)?;
                let (start, mut end) = (self.offset(span.start.index()), self.offset(span.end.index()));
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    end = self.end_of_block(start, end);
                }
                self.leaf(value, false, anchor, (start, end), span)
            }
            Event::Alias(anchor) => {
                // An alias inside of what it names has no value.
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.unsupported(span, "an alias of something around it", "a tree"));
                };
                self.count(size, span)?;
                let at = (self.offset(span.start.index()), self.offset(span.end.index()));
                self.leaf(value, true, 0, at, span)
            }
            Event::SequenceStart(anchor, tag) => {
                let kind = Kind::List { flow: self.is_at(span, '['), items: Vec::new() };
                self.begin(kind, anchor, tag.as_deref(), span)
            }
            Event::MappingStart(anchor, tag) => {
                let kind = Kind::Mapping { flow: self.is_at(span, '{'), pairs: Vec::new() };
                self.begin(kind, anchor, tag.as_deref(), span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.finish(span),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, kind: Kind, anchor: usize, tag: Option<&Tag>, span: Span) -> Result<(), Error> {
        if let Some(tag) = tag {
            return Err(self.unsupported(span, &format!("the tag {tag}"), "no tags"));
        }
        if self.open.len() >= DEPTH {
            return Err(self.unsupported(span, "nesting without end", "up to 200 levels"));
        }
        let before = self.nodes;
        self.count(1, span)?;
        let start = self.offset(span.start.index());
        let node = Node { start, end: start, anchored: anchor != 0, kind };
        self.open.push(Open { node, anchor, before, key: None, keys: HashSet::new() });
        Ok(())
    }

    fn finish(&mut self, span: Span) -> Result<(), Error> {
        let Some(Open { mut node, anchor, before, .. }) = self.open.pop() else { return Ok(()) };
        let last = match &node.kind {
            Kind::List { flow: false, items } => items.last().map(|item| item.end),
            Kind::Mapping { flow: false, pairs } => pairs.last().map(|pair| pair.value.end),
            _ => None,
        };
        // The end of a block collection is found by what follows it; here it is where its text ends.
        node.end = last.unwrap_or_else(|| self.offset(span.end.index()));
        if anchor != 0 {
            self.anchors.insert(anchor, (node.value(), self.nodes - before));
        }
        self.put(node, span)
    }

    fn leaf(
        &mut self,
        value: Value,
        alias: bool,
        anchor: usize,
        (start, end): (usize, usize),
        span: Span,
    ) -> Result<(), Error> {
        self.count(1, span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), 1));
        }
        self.put(Node { start, end, anchored: anchor != 0, kind: Kind::Leaf { value, alias } }, span)
    }

    /// Hands a finished node to what it belongs to.
    fn put(&mut self, mut node: Node, span: Span) -> Result<(), Error> {
        let text = self.text;
        let Some(open) = self.open.last_mut() else {
            self.done = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::List { flow, items } => {
                if !*flow && is_absent(&node) {
                    let from = items.last().map_or(open.node.start, |last| last.end);
                    let dash = from + blank(text.get(from..).unwrap_or_default());
                    (node.start, node.end) = (dash + 1, dash + 1);
                }
                items.push(node);
            }
            Kind::Mapping { pairs, .. } => match open.key.take() {
                None => {
                    let key = match &node.kind {
                        Kind::Leaf { value: Value::String(text), alias: false } => text.clone(),
                        // A number or a truth value as a key is its own text.
                        Kind::Leaf { value: Value::Number(_) | Value::Bool(_), alias: false } => {
                            text.get(node.start..node.end).unwrap_or_default().to_owned()
                        }
                        _ => return Err(self.unsupported(span, "a key that is no text", "keys of text")),
                    };
                    if key == "<<" {
                        return Err(self.unsupported(span, "a merge key, <<", "what it merges, written out"));
                    }
                    if !open.keys.insert(key.clone()) {
                        return Err(self.unsupported(
                            span,
                            &format!("the key {key:?} twice"),
                            "each key once",
                        ));
                    }
                    open.key = Some(Key { text: key, start: node.start, end: node.end });
                }
                Some(key) => {
                    let rest = text.get(key.end..).unwrap_or_default();
                    let space = blank(rest);
                    let colon = key.end
                        + if rest.get(space..).is_some_and(|rest| rest.starts_with(':')) {
                            space + 1
                        } else {
                            0
                        };
                    if is_absent(&node) {
                        (node.start, node.end) = (colon, colon);
                    }
                    pairs.push(Pair { key: key.text, start: key.start, colon, value: node });
                }
            },
            Kind::Leaf { .. } => {}
        }
        Ok(())
    }

    /// The value of a scalar by YAML's core schema, with what JSON can't say as text.
    fn resolve(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, Error> {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Value::from(text)),
            Some(tag) => return Err(self.unsupported(span, &format!("the tag {tag}"), "no tags")),
            None => {}
        }
        Ok(if style == ScalarStyle::Plain { plain(text) } else { Value::from(text) })
    }

    /// Where a block scalar's text ends, whose token ends at `end`, and which begins with `|` or `>` at `start`: the line break
    /// of its last line with text, or with `+` of its last empty line.
    fn end_of_block(&self, start: usize, end: usize) -> usize {
        let body = self.text.get(start..end).unwrap_or_default();
        let header = body.lines().next().unwrap_or_default();
        let keeps = header.split('#').next().unwrap_or_default().contains('+');
        let whole = if body.ends_with('\n') {
            body
        } else {
            body.get(..=body.rfind('\n').unwrap_or(0)).unwrap_or(body)
        };
        let rest = body.get(whole.len()..).unwrap_or_default();
        let body = if rest.trim().is_empty() { whole } else { body };
        if keeps {
            return start + body.len();
        }
        let kept = body.trim_end_matches([' ', '\t', '\r', '\n']);
        let line = body.get(kept.len()..).and_then(|tail| tail.find('\n'));
        start + kept.len() + line.map_or(0, |newline| newline + 1)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Error> {
        self.nodes += nodes;
        if self.nodes > NODES {
            return Err(self.unsupported(
                span,
                "a document that aliases make too large",
                "a million nodes at most",
            ));
        }
        Ok(())
    }

    fn is_at(&self, span: Span, wanted: char) -> bool {
        self.text.get(self.offset(span.start.index())..).is_some_and(|rest| rest.starts_with(wanted))
    }

    fn offset(&self, index: usize) -> usize {
        self.offsets.get(index).copied().unwrap_or(self.text.len())
    }

    fn unsupported(&self, span: Span, found: &str, want: &'static str) -> Error {
        let line = self.first_line + span.start.line().saturating_sub(1);
        Error::Unsupported { line, found: found.to_owned(), want }
    }
}

fn is_absent(node: &Node) -> bool {
    node.start == node.end && matches!(node.kind, Kind::Leaf { value: Value::Null, .. })
}

/// How many bytes of white space and comments a text begins with.
pub(super) fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        rest = match trimmed.strip_prefix('#') {
            Some(comment) => comment.find('\n').and_then(|end| comment.get(end..)).unwrap_or_default(),
            None => return text.len() - trimmed.len(),
        };
    }
}

/// A plain scalar by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Value::from(text);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    if let Ok(number) = text.parse::<u64>() {
        return Value::from(number);
    }
    text.parse().ok().and_then(Number::from_f64).map_or_else(|| Value::from(text), Value::Number)
}
