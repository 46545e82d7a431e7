//! The smallest edits of a text that make it say something else.
//!
//! Lines are inserted and removed whole where the manifest is in block style; between brackets and braces, entries are. What is
//! inserted by one edit is what the reverse edit removes, so a round trip gives the text that was there.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};

use super::emit::{self, Style};
use super::parse::blank;
use super::{Kind, Node, Pair};
use crate::Error;

/// One change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Splice {
    /// Bytes that go.
    at: Range<usize>,
    /// What comes in their place.
    text: String,
}

/// The text with all changes made. None if two of them meet.
pub(crate) fn apply(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|splice| splice.at.start);
    let mut new = String::with_capacity(text.len() + 4096);
    let mut from = 0;
    for splice in splices {
        new.push_str(text.get(from..splice.at.start)?);
        new.push_str(&splice.text);
        from = splice.at.end;
    }
    new.push_str(text.get(from..)?);
    Some(new)
}

/// The changes that make a node say `new`. The text ends with a line break; `spelled` has texts for scalars that are to be
/// written in a certain way, by their offset.
///
/// # Errors
/// A node that can't be changed without another one, or a style that can't be kept.
pub(crate) fn between(
    text: &str,
    first_line: usize,
    node: &Node,
    new: &Value,
    spelled: &BTreeMap<usize, String>,
) -> Result<Vec<Splice>, Error> {
    let style =
        Style { indented: lists_are_indented(text, node).unwrap_or(true), crlf: text.contains("\r\n") };
    let mut editor = Editor { text, first_line, style, spelled, splices: Vec::new() };
    editor.change(node, new, None)?;
    Ok(editor.splices)
}

/// Whether the first list under a key is indented more than its key.
fn lists_are_indented(text: &str, node: &Node) -> Option<bool> {
    match &node.kind {
        Kind::Leaf { .. } => None,
        Kind::List { items, .. } => items.iter().find_map(|item| lists_are_indented(text, item)),
        Kind::Mapping { pairs, .. } => pairs.iter().find_map(|pair| match &pair.value.kind {
            Kind::List { flow: false, .. } => Some(column(text, pair.value.start) > column(text, pair.start)),
            _ => lists_are_indented(text, &pair.value),
        }),
    }
}

struct Editor<'a> {
    text: &'a str,
    first_line: usize,
    style: Style,
    spelled: &'a BTreeMap<usize, String>,
    splices: Vec<Splice>,
}

impl Editor<'_> {
    /// `header`: where the colon ends that the node stands behind.
    fn change(&mut self, node: &Node, new: &Value, header: Option<usize>) -> Result<(), Error> {
        if node.value() == *new && !self.spelled.contains_key(&node.start) {
            return Ok(());
        }
        if node.anchored {
            return Err(self.unsupported(node.start, "an anchor on what has to change", "it written out"));
        }
        match (&node.kind, new) {
            (Kind::Leaf { alias: true, .. }, _) => {
                Err(self.unsupported(node.start, "an alias of what has to change", "it written out"))
            }
            (Kind::List { flow, items }, Value::Array(new)) if *flow || !new.is_empty() => {
                self.list(node, *flow, items, new, header)
            }
            (Kind::Mapping { flow, pairs }, Value::Object(new)) if *flow || !new.is_empty() => {
                self.mapping(node, *flow, pairs, new)
            }
            _ => {
                self.replace(node, new, header);
                Ok(())
            }
        }
    }

    fn replace(&mut self, node: &Node, new: &Value, header: Option<usize>) {
        let spelled =
            self.spelled.get(&node.start).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        let text = spelled.unwrap_or_else(|| emit::flow(new));
        // A block scalar ends behind its last line break, and a block collection stands below its key.
        let old = self.text.get(node.start..node.end).unwrap_or_default();
        let end = node.start + old.trim_end_matches(['\r', '\n']).len();
        match (&node.kind, header) {
            (Kind::List { flow: false, .. } | Kind::Mapping { flow: false, .. }, Some(header)) => {
                self.splice(header..end, format!(" {text}"));
            }
            _ => self.splice(node.start..end, text),
        }
    }

    fn list(
        &mut self,
        node: &Node,
        flow: bool,
        items: &[Node],
        new: &[Value],
        header: Option<usize>,
    ) -> Result<(), Error> {
        let old: Vec<Value> = items.iter().map(Node::value).collect();
        let steps = alignment(&old, new);
        if flow {
            let entries: Vec<_> = items.iter().map(|item| item.start..item.end).collect();
            return self.flow(node, &entries, &steps, |editor, step| match *step {
                Step::Keep(was, is) => match (items.get(was), new.get(is)) {
                    (Some(item), Some(value)) => editor.change(item, value, None).map(|()| String::new()),
                    _ => Ok(String::new()),
                },
                Step::Insert(is) => Ok(new.get(is).map(emit::json).unwrap_or_default()),
                Step::Remove(_) => Ok(String::new()),
            });
        }
        let column = column(self.text, node.start);
        let mut after = None;
        for step in steps {
            match step {
                Step::Keep(was, is) => {
                    let (Some(item), Some(value)) = (items.get(was), new.get(is)) else { continue };
                    self.change(item, value, None)?;
                    after = Some(item.end);
                }
                Step::Insert(is) => {
                    let Some(end) = after.or(header) else {
                        return Err(self.unsupported(
                            node.start,
                            "a list inside of a list",
                            "a list under a key",
                        ));
                    };
                    let text =
                        new.get(is).map(|value| emit::item(value, column, self.style)).unwrap_or_default();
                    self.insert_line(end, column, &text);
                }
                Step::Remove(was) => {
                    let Some(item) = items.get(was) else { continue };
                    let from =
                        was.checked_sub(1).and_then(|before| items.get(before)).map(|before| before.end);
                    let dash = from
                        .map_or(node.start, |from| from + blank(self.text.get(from..).unwrap_or_default()));
                    self.remove_lines(dash, item.end)?;
                    after = Some(item.end);
                }
            }
        }
        Ok(())
    }

    fn mapping(
        &mut self,
        node: &Node,
        flow: bool,
        pairs: &[Pair],
        new: &Map<String, Value>,
    ) -> Result<(), Error> {
        let entry = |(key, value): (&String, &Value)| (key.clone(), value.clone());
        let new: Vec<(String, Value)> = new.iter().map(entry).collect();
        let steps = key_alignment(pairs, &new);
        if flow {
            let entries: Vec<_> = pairs.iter().map(|pair| pair.start..pair.value.end).collect();
            return self.flow(node, &entries, &steps, |editor, step| match *step {
                Step::Keep(was, is) => match (pairs.get(was), new.get(is)) {
                    (Some(pair), Some((_, value))) => {
                        editor.change(&pair.value, value, None).map(|()| String::new())
                    }
                    _ => Ok(String::new()),
                },
                Step::Insert(is) => {
                    Ok(new.get(is).map(|(key, value)| emit::flow_pair(key, value)).unwrap_or_default())
                }
                Step::Remove(_) => Ok(String::new()),
            });
        }
        let first = pairs.first().map_or(node.start, |pair| pair.start);
        let column = column(self.text, first);
        let mut after = None;
        // A first pair that shares its line with a dash goes up to the next one that stays.
        let mut gone_up_to = 0;
        for (number, step) in steps.iter().enumerate() {
            match *step {
                Step::Keep(was, is) => {
                    let (Some(pair), Some((_, value))) = (pairs.get(was), new.get(is)) else { continue };
                    self.change(&pair.value, value, Some(pair.colon))?;
                    after = Some(pair.value.end);
                }
                Step::Insert(is) => {
                    let Some((key, value)) = new.get(is) else { continue };
                    let text = emit::pair(key, value, column, self.style);
                    match after {
                        Some(end) => self.insert_line(end, column, &text),
                        None => {
                            let text = format!("{text}{}{}", self.style.newline(), " ".repeat(column));
                            self.splice(first..first, text);
                        }
                    }
                }
                Step::Remove(was) => {
                    let Some(pair) = pairs.get(was).filter(|pair| pair.start >= gone_up_to) else { continue };
                    if self.is_first_on_its_line(pair.start) {
                        self.remove_lines(pair.start, pair.value.end)?;
                        after = after.map(|_| pair.value.end);
                        continue;
                    }
                    let kept = steps.iter().skip(number).find_map(|step| match *step {
                        Step::Keep(was, _) => pairs.get(was),
                        _ => None,
                    });
                    let Some(kept) = kept else {
                        return Err(self.unsupported(
                            pair.start,
                            "a dash before a key that goes",
                            "another key",
                        ));
                    };
                    gone_up_to = kept.start;
                    self.splice(pair.start..kept.start, String::new());
                }
            }
        }
        Ok(())
    }

    /// Edits between brackets or braces. `text` changes what is kept, and gives the text of what is inserted.
    fn flow(
        &mut self,
        node: &Node,
        entries: &[Range<usize>],
        steps: &[Step],
        mut text: impl FnMut(&mut Self, &Step) -> Result<String, Error>,
    ) -> Result<(), Error> {
        let mut after: Option<usize> = None;
        let mut gone_up_to = 0;
        for (number, step) in steps.iter().enumerate() {
            let inner = text(self, step)?;
            let next = steps.iter().skip(number + 1).find_map(|step| match *step {
                Step::Keep(was, _) => entries.get(was).map(|entry| entry.start),
                _ => None,
            });
            match *step {
                Step::Keep(was, _) => after = entries.get(was).map(|entry| entry.end),
                Step::Insert(_) => match (after, next) {
                    (Some(end), _) => self.splice(end..end, format!(", {inner}")),
                    (None, Some(start)) => self.splice(start..start, format!("{inner}, ")),
                    // Alone: the others that come have a place behind it by being joined to it.
                    (None, None) => {
                        let first = steps.iter().take(number).all(|step| matches!(step, Step::Remove(_)));
                        let text = if first { inner } else { format!(", {inner}") };
                        self.splice(node.start + 1..node.start + 1, text);
                    }
                },
                Step::Remove(was) => {
                    let Some(entry) = entries.get(was).filter(|entry| entry.start >= gone_up_to) else {
                        continue;
                    };
                    let range = match (after, next) {
                        (Some(end), _) => end.max(gone_up_to)..entry.end,
                        (None, Some(start)) => entry.start..start,
                        (None, None) => entry.start..entries.last().map_or(entry.end, |last| last.end),
                    };
                    gone_up_to = range.end;
                    self.splice(range, String::new());
                }
            }
        }
        Ok(())
    }

    /// Inserts lines behind the one that `end` is in.
    fn insert_line(&mut self, end: usize, column: usize, text: &str) {
        let at = self.after_line(end);
        self.splice(at..at, format!("{}{text}{}", " ".repeat(column), self.style.newline()));
    }

    fn remove_lines(&mut self, start: usize, end: usize) -> Result<(), Error> {
        if !self.is_first_on_its_line(start) {
            return Err(self.unsupported(start, "an entry that shares its line", "a line of its own"));
        }
        let at = self.line_start(start)..self.after_line(end);
        self.splice(at, String::new());
        Ok(())
    }

    fn splice(&mut self, at: Range<usize>, text: String) {
        self.splices.push(Splice { at, text });
    }

    fn line_start(&self, offset: usize) -> usize {
        line_start(self.text, offset)
    }

    fn is_first_on_its_line(&self, offset: usize) -> bool {
        self.text.get(self.line_start(offset)..offset).is_some_and(|before| before.trim().is_empty())
    }

    fn after_line(&self, end: usize) -> usize {
        if end > 0 && line_start(self.text, end) == end {
            return end;
        }
        let rest = self.text.get(end..).unwrap_or_default();
        end + rest.find('\n').map_or(rest.len(), |newline| newline + 1)
    }

    fn unsupported(&self, offset: usize, found: &str, want: &'static str) -> Error {
        let above = self.text.get(..offset).unwrap_or_default().matches('\n').count();
        Error::Unsupported { line: self.first_line + above, found: found.to_owned(), want }
    }
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

/// In characters, from 0.
fn column(text: &str, offset: usize) -> usize {
    text.get(line_start(text, offset)..offset).map_or(0, |before| before.chars().count())
}

/// What becomes of entries, by their places before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Keep(usize, usize),
    Insert(usize),
    Remove(usize),
}

/// Items that have the same name are the same item. Without names, those in the same place are, or in lists of different length
/// those that are equal.
fn alignment(old: &[Value], new: &[Value]) -> Vec<Step> {
    let nameless = |list: &[Value]| list.iter().all(|one| crate::pod::name_of(one).is_none());
    if old.len() == new.len() && nameless(old) && nameless(new) {
        return (0..old.len()).map(|place| Step::Keep(place, place)).collect();
    }
    let same = |one: &Value, other: &Value| match (crate::pod::name_of(one), crate::pod::name_of(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    };
    align(old.len(), new.len(), |was, is| {
        old.get(was).zip(new.get(is)).is_some_and(|(old, new)| same(old, new))
    })
}

fn key_alignment(old: &[Pair], new: &[(String, Value)]) -> Vec<Step> {
    align(old.len(), new.len(), |was, is| {
        old.get(was).zip(new.get(is)).is_some_and(|(old, (key, _))| old.key == *key)
    })
}

/// Walks both in order; what has moved is removed and inserted.
fn align(old: usize, new: usize, same: impl Fn(usize, usize) -> bool) -> Vec<Step> {
    let mut steps = Vec::with_capacity(old.max(new));
    let mut was = 0;
    for is in 0..new {
        match (was..old).find(|&was| same(was, is)) {
            Some(found) => {
                steps.extend((was..found).map(Step::Remove));
                steps.push(Step::Keep(found, is));
                was = found + 1;
            }
            None => steps.push(Step::Insert(is)),
        }
    }
    steps.extend((was..old).map(Step::Remove));
    steps
}
