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
                let at = self.extent(style, self.offset(span.start.index()), self.offset(span.end.index()));
                self.leaf(value, false, anchor, at, span)
            }
            Event::Alias(anchor) => {
                // An alias inside of what it names has no value.
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.unsupported(span, "an alias of something around it", "a tree"));
                };
                self.count(size, span)?;
                let start = self.offset(span.start.index());
                let name = self.text.get(start..).unwrap_or_default();
                let ends = |one: char| one.is_whitespace() || ",]}".contains(one);
                self.leaf(value, true, 0, (start, start + name.find(ends).unwrap_or(name.len())), span)
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
        let mut start = self.offset(span.start.index());
        // The parser tells of a list as indented as its key where its first item is, and not the dash.
        if matches!(kind, Kind::List { flow: false, .. })
            && let Some(key) = self.open.last().and_then(|open| open.key.as_ref())
        {
            let colon = behind_colon(self.text, key.end);
            let dash = colon + blank(self.text.get(colon..).unwrap_or_default());
            start =
                if self.text.get(dash..).is_some_and(|rest| rest.starts_with('-')) { dash } else { start };
        }
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
        // The end of a block collection is found by what follows it; here it is where its text ends. Of the others it is a bracket.
        node.end = last.unwrap_or_else(|| self.offset(span.start.index()) + 1);
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

    /// Where a scalar stands. The parser's end may lie behind a comment, and of a block scalar it tells where the text is,
    /// without what begins it.
    fn extent(&self, style: ScalarStyle, start: usize, end: usize) -> (usize, usize) {
        let body = self.text.get(start..end).unwrap_or_default();
        match style {
            ScalarStyle::Plain => {
                let comment = [" #", "\t#", "\n#"].iter().filter_map(|mark| body.find(mark)).min();
                (start, start + body.get(..comment.unwrap_or(body.len())).unwrap_or(body).trim_end().len())
            }
            ScalarStyle::DoubleQuoted => {
                let mut escaped = false;
                let closing =
                    self.text.get(start..).unwrap_or_default().char_indices().skip(1).find(|(_, one)| {
                        let closes = *one == '"' && !escaped;
                        escaped = *one == '\\' && !escaped;
                        closes
                    });
                (start, closing.map_or(end, |(at, _)| start + at + 1))
            }
            ScalarStyle::SingleQuoted => {
                let mut rest = self.text.get(start + 1..).unwrap_or_default();
                let mut at = start + 1;
                while let Some(quote) = rest.find('\'') {
                    let doubled = rest.get(quote + 1..).is_some_and(|rest| rest.starts_with('\''));
                    let step = quote + if doubled { 2 } else { 1 };
                    at += step;
                    if !doubled {
                        return (start, at);
                    }
                    rest = rest.get(step..).unwrap_or_default();
                }
                (start, end)
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let (header, keeps) = self.header(start);
                // What indents the next line isn't part of it.
                let body = body.trim_end_matches([' ', '\t']);
                let kept = if keeps { body } else { body.trim_end_matches([' ', '\t', '\r', '\n']) };
                let tail = body.get(kept.len()..).unwrap_or_default();
                (header, start + kept.len() + tail.find('\n').map_or(0, |newline| newline + 1))
            }
        }
    }

    /// Where the `|` or `>` of a block scalar is whose text begins at `start`, and whether it keeps the empty lines at its end.
    fn header(&self, start: usize) -> (usize, bool) {
        let above = self.text.get(..start).unwrap_or_default().trim_end();
        let line = above.rfind('\n').map_or(0, |newline| newline + 1);
        let text = above.get(line..).unwrap_or_default();
        let found = text.match_indices(['|', '>']).find_map(|(at, _)| {
            let rest = text.get(at + 1..)?;
            let marks = rest.trim_start_matches(|one: char| "+-".contains(one) || one.is_ascii_digit());
            let alone =
                marks.is_empty() || marks.starts_with([' ', '\t']) && marks.trim_start().starts_with('#');
            let begins =
                text.get(..at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']));
            let keeps = rest.get(..rest.len() - marks.len()).is_some_and(|marks| marks.contains('+'));
            (alone && begins).then_some((line + at, keeps))
        });
        found.unwrap_or((start, false))
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

/// Where the colon ends that comes next behind a key, if one does.
fn behind_colon(text: &str, key: usize) -> usize {
    let rest = text.get(key..).unwrap_or_default();
    let space = blank(rest);
    if rest.get(space..).is_some_and(|rest| rest.starts_with(':')) { key + space + 1 } else { key }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stand_where_their_text_is() {
        let text = concat!(
            "a: |\n  x\n\n  # y\n\n# c\n",
            "b: \"q \\\" r\"  # c\n",
            "c: |+ # > x\n  z\n\n",
            "d: >-\n\n  zz\n  y\n",
            "e:\n- |\n  p\n# k\n-\n- k: p l # m\n  # n\n",
            "f: {a: 1, 'b': } # o\n",
            "g: \u{e9} # p\nh: 'it''s' # q\ni: # r\nj: k\n  l\n",
        );
        let node = parse(text, 1).unwrap().unwrap();
        let Kind::Mapping { flow: false, pairs } = &node.kind else { panic!("{node:?}") };
        let spelled: Vec<_> = pairs.iter().map(|pair| &text[pair.start..pair.value.end]).collect();
        let wanted = [
            "a: |\n  x\n\n  # y\n",
            "b: \"q \\\" r\"",
            "c: |+ # > x\n  z\n\n",
            "d: >-\n\n  zz\n  y\n",
            "e:\n- |\n  p\n# k\n-\n- k: p l",
            "f: {a: 1, 'b': }",
            "g: \u{e9}",
            "h: 'it''s'",
            "i:",
            "j: k\n  l",
        ];
        assert_eq!(spelled, wanted);
        let values = pairs.iter().map(|pair| &text[pair.value.start..pair.value.end]);
        assert_eq!(
            values.take(3).collect::<Vec<_>>(),
            ["|\n  x\n\n  # y\n", "\"q \\\" r\"", "|+ # > x\n  z\n\n"]
        );
        assert_eq!(node.pointer("/e/2/k").map(Node::value), Some(Value::from("p l")));
        assert_eq!(node.value()["f"], serde_json::json!({ "a": 1, "b": null }));
    }

    #[test]
    fn plain_scalars_are_what_the_core_schema_says() {
        let cases = [
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("yes", Value::from("yes")),
            ("-12", Value::from(-12)),
            ("18446744073709551615", Value::from(u64::MAX)),
            ("1.5", Value::from(1.5)),
            ("1.2.3", Value::from("1.2.3")),
            ("100m", Value::from("100m")),
            ("nan", Value::from("nan")),
            ("\"1\"", Value::from("1")),
            ("!!str 1", Value::from("1")),
        ];
        for (text, value) in cases {
            assert_eq!(crate::yaml::scalar(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused_with_its_line() {
        let bomb = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let name = format!("*a{}, ", n - 1).repeat(10);
            format!("{text}a{n}: &a{n} [{name}]\n")
        });
        let cases = [
            ("a: !mine 1", "line 7: the tag !mine; want no tags"),
            ("a: 1\na: 2", "line 8: the key \"a\" twice; want each key once"),
            ("a: &a\n  b: *a", "line 8: an alias of something around it; want a tree"),
            ("? [x]\n: 1", "line 7: a key that is no text; want keys of text"),
            ("a: &a {b: 1}\nc:\n  <<: *a", "line 9: a merge key, <<; want what it merges, written out"),
            (
                "a: 1\n...\nb: 1",
                "line 9: a second document after '...'; want documents that begin with '---'",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text, 7).unwrap_err().to_string(), wanted, "{text}");
        }
        assert!(parse(&bomb, 1).unwrap_err().to_string().contains("aliases make too large"));
        let deep = format!("{}{}", "[".repeat(250), "]".repeat(250));
        assert!(parse(&deep, 1).unwrap_err().to_string().contains("nesting without end"));
    }
}
