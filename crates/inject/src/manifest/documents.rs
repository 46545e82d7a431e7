//! A text cut into its YAML documents, and each edited by itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Error;
use crate::yaml::{self, Node};

/// One document, with the line `---` that begins it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// From 1.
    pub(super) number: usize,
    /// Its text; together they are the input.
    pub(super) text: String,
    /// In the whole input, from 1.
    first_line: usize,
    /// What it says; none: comments.
    pub(super) node: Option<Node>,
}

/// All documents of a text.
///
/// # Errors
/// One of them can't be read.
pub(super) fn read(text: &str) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    let mut line = 1;
    for (index, part) in cut(text).into_iter().enumerate() {
        let mut document =
            Document { number: index + 1, text: part.to_owned(), first_line: line, node: None };
        document.node = yaml::parse(&document.closed(), line)?;
        line += part.matches('\n').count();
        documents.push(document);
    }
    Ok(documents)
}

impl Document {
    /// The text with a line break at its end.
    fn closed(&self) -> String {
        format!("{}{}", self.text, self.missing_break())
    }

    fn missing_break(&self) -> &'static str {
        match self.text.ends_with('\n') || self.text.is_empty() {
            true => "",
            false if self.text.contains("\r\n") => "\r\n",
            false => "\n",
        }
    }

    /// Where a node stands in the text.
    pub(super) fn spelling(&self, node: &Node) -> Option<String> {
        self.text.get(node.start..node.end.min(self.text.len())).map(str::to_owned)
    }

    /// The document's text edited to say `new`; `spelled` has texts for scalars that are to be written in a certain way, by
    /// their offset.
    ///
    /// # Errors
    /// It can't be edited so. Whether it was is seen by reading the edited text.
    pub(super) fn edited(&self, new: &Value, spelled: &BTreeMap<usize, String>) -> Result<String, Error> {
        let Some(node) = &self.node else { return Ok(self.text.clone()) };
        let closed = self.closed();
        let splices = yaml::between(&closed, self.first_line, node, new, spelled)?;
        if splices.is_empty() {
            return Ok(self.text.clone());
        }
        let unfaithful = || Error::Unfaithful { document: self.number };
        let mut text = yaml::apply(&closed, splices).ok_or_else(unfaithful)?;
        if let Some(open) = text.strip_suffix(self.missing_break()) {
            text.truncate(open.len());
        }
        let read = yaml::parse(&text, 1).ok().flatten();
        if read.map(|node| node.value()).as_ref() == Some(new) { Ok(text) } else { Err(unfaithful()) }
    }
}

/// Parts that begin with a line `---`, but for directives, which belong to the document behind it.
fn cut(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let marks = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        let before = text.get(from..offset).unwrap_or_default();
        let only_directives = before.lines().any(|line| line.starts_with('%'))
            && before.lines().all(|line| line.starts_with(['%', '#']) || line.trim().is_empty());
        if marks && offset > from && !only_directives {
            parts.push(before);
            from = offset;
        }
        offset += line.len();
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_together_are_the_text() {
        let cases: [(&str, usize); 7] = [
            ("", 1),
            ("a: 1\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
            ("# head\n---\na: 1\n--- # second\nb: |\n  ---\n  c\n", 3),
            ("%YAML 1.2\n---\na: 1\n---\nb: 1", 2),
            ("---\r\na: 1\r\n---\r\n", 2),
            ("a: 1\n---b: 2\n", 1),
        ];
        for (text, count) in cases {
            let parts = cut(text);
            assert_eq!(parts.concat(), text);
            assert_eq!(parts.len(), count, "{text:?}: {parts:?}");
        }
    }

    #[test]
    fn errors_name_the_line_of_the_whole_input() {
        let error = read("a: 1\n---\nb: [\n").unwrap_err();
        assert!(matches!(error, Error::Yaml { line: 3.., .. }), "{error}");
        let error = read("a: 1\n---\nb: 1\nb: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "line 4: the key \"b\" twice; want each key once");
    }
}
