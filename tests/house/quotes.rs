//! Log lines and messages that documents quote, against the sources that write them.

use crate::sources::rust_files;
use crate::{read, root};

/// Parts of one message are this near to each other, in bytes of source: what stands between them is put in by `{}`.
const NEAR: usize = 300;

/// The first cells of all tables' rows: the messages, with `<word>` for what differs from time to time.
fn quotes(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap_or_default()).collect()
}

/// What stays the same in a message, in order.
fn constant_parts(quote: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = quote;
    while let Some((before, after)) = rest.split_once('<') {
        parts.push(before);
        rest = after.split_once('>').map_or("", |(_, behind)| behind);
    }
    parts.push(rest);
    parts.retain(|part| part.chars().any(char::is_alphanumeric));
    parts
}

/// A source without the breaks of its long strings, and with quotation marks as they are printed.
fn as_printed(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start()).replace("\\\"", "\"")
}

/// Whether the source has all parts, in order and near to each other.
fn has(source: &str, parts: &[&str]) -> bool {
    let [first, rest @ ..] = parts else { return false };
    source.match_indices(first).any(|(at, _)| {
        let mut end = at + first.len();
        rest.iter().all(|part| {
            let behind = source.get(end..).unwrap_or_default();
            match behind.find(part).filter(|distance| *distance <= NEAR) {
                Some(distance) => {
                    end += distance + part.len();
                    true
                }
                None => false,
            }
        })
    })
}

fn sources() -> Vec<String> {
    let is_program = |path: &std::path::Path| {
        let path = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned();
        !path.split('/').any(|folder| folder == "tests" || folder == "benches")
    };
    let files = rust_files().into_iter().filter(|path| is_program(path));
    files.map(|path| as_printed(&std::fs::read_to_string(path).expect("a source"))).collect()
}

#[test]
fn quoted_messages_are_in_the_sources() {
    let (document, sources) = (read("docs/TROUBLESHOOTING.md"), sources());
    let quotes = quotes(&document);
    assert!(quotes.len() > 30, "only {} messages found", quotes.len());
    let unwritten: Vec<_> = quotes
        .into_iter()
        .filter(|quote| !sources.iter().any(|source| has(source, &constant_parts(quote))))
        .collect();
    assert!(unwritten.is_empty(), "nothing writes {unwritten:#?}");
}

#[test]
fn the_check_sees_what_differs() {
    let source = as_printed("log::warn!(\n    \"connection {flow} goes \\\n     unsteered: {reason}\"\n);");
    let found = |quote: &str| has(&source, &constant_parts(quote));
    assert!(found("connection <source> -> <destination> goes unsteered: <reason>"));
    assert!(!found("connection <source> went unsteered: <reason>"));
    assert!(!found("unsteered: <reason> connection"));
    assert!(!found("<reason>"));
}
