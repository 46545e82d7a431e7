//! Tables for people: one look for all subcommands.

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table with these column headings; plain enough to be cut with awk.
pub(crate) fn new(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table
}
