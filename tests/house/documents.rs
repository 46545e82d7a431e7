//! What the documents say, against what is there.

use std::collections::BTreeSet;

use srv6_settings::{FIELDS, Field};

use crate::{read, root};

/// Every document for people, by path from the repository's root.
fn documents() -> Vec<String> {
    let markdown = |folder: &str| -> Vec<String> {
        std::fs::read_dir(root().join(folder))
            .expect("a folder")
            .map(|entry| format!("{folder}{}", entry.expect("an entry").file_name().display()))
            .filter(|path| path.ends_with(".md"))
            .collect()
    };
    let documents = [markdown("./"), markdown("docs/"), markdown("deploy/kubernetes/")].concat();
    assert!(documents.len() >= 5, "only {documents:?}");
    documents
}

/// What a table has where there is nothing to say.
const NOTHING: &str = "–";

/// The cells of the rows of a Markdown text's first table, without its heading.
fn first_table(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The pieces of a Markdown text between single backticks or in fenced blocks, fenced ones line by line.
fn code(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            // The first line is the block's language.
            pieces.extend(part.lines().skip(1));
        } else {
            pieces.extend(part.split('`').skip(1).step_by(2));
        }
    }
    pieces
}

/// Words of code that a shell would see, without assignments before a command.
fn words(piece: &str) -> impl Iterator<Item = &str> {
    piece.split(|c: char| c.is_whitespace() || "\"'();,".contains(c)).filter(|word| !word.is_empty())
}

/// The row that the table should have for a field, for a person to copy.
fn row(field: &Field) -> String {
    let (text, higher, lower) = effects(field);
    let default = if field.default.is_empty() { NOTHING.to_owned() } else { format!("`{}`", field.default) };
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "| `{}` | {} | {default} | {text} | {} | {} | {version} |",
        field.name,
        field.wanted,
        higher.unwrap_or(NOTHING),
        lower.unwrap_or(NOTHING)
    )
}

/// What it does, what a higher and what a lower value does, as far as the field's text says.
fn effects(field: &Field) -> (&str, Option<&str>, Option<&str>) {
    let Some((text, effects)) = field.text.split_once(" Higher: ") else { return (field.text, None, None) };
    let (higher, lower) = effects.split_once(" Lower: ").expect("Higher: has a Lower:");
    (text, Some(higher), Some(lower))
}

/// The three numbers of a version.
fn version(text: &str) -> Option<[u32; 3]> {
    let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

#[test]
fn the_table_of_settings_is_the_list() {
    let document = read("docs/CONFIG.md");
    let rows = first_table(&document);
    let names: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let fields: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(names, fields, "docs/CONFIG.md names other settings, or in another order");
    for (cells, field) in rows.iter().zip(&FIELDS) {
        let wanted = row(field);
        let &[_, value, default, text, higher, lower, since] = cells.as_slice() else {
            panic!("docs/CONFIG.md: {} has {} columns; want\n{wanted}", field.name, cells.len());
        };
        let (does, raised, lowered) = effects(field);
        let same_default = if field.default.is_empty() {
            default == NOTHING
        } else {
            default == format!("`{}`", field.default)
        };
        assert!(
            value == field.wanted
                && same_default
                && text == does
                && raised.is_none_or(|effect| effect == higher)
                && lowered.is_none_or(|effect| effect == lower),
            "docs/CONFIG.md: {} is described otherwise; want\n{wanted}",
            field.name
        );
        let released =
            version(since).unwrap_or_else(|| panic!("{}: since {since}, want a version", field.name));
        assert!(
            version(env!("CARGO_PKG_VERSION")) >= Some(released),
            "{}: since {since} is to come",
            field.name
        );
    }
}

/// Rows of the table that follows a heading.
fn table_under<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    first_table(section)
}

#[test]
fn the_agents_table_of_settings_is_its_list() {
    let document = read("docs/CONFIG.md");
    let rows: Vec<String> =
        table_under(&document, "\n## srv6d\n").iter().map(|row| row.join(" | ")).collect();
    let wanted: Vec<String> = srv6_agent::FIELDS
        .iter()
        .map(|field| {
            let default =
                if field.default.is_empty() { NOTHING.to_owned() } else { format!("`{}`", field.default) };
            format!("`{}` | {} | {default} | {}", field.name, field.wanted, field.text)
        })
        .collect();
    let lines: Vec<String> = wanted.iter().map(|row| format!("| {row} |")).collect();
    assert_eq!(rows, wanted, "docs/CONFIG.md: want\n{}", lines.join("\n"));
    // What both have is described once, and has the same default in both.
    for field in srv6_agent::SHARED {
        let ours = FIELDS.iter().find(|ours| ours.name == field.name);
        let ours = ours.unwrap_or_else(|| panic!("{} is not in the plugin's list", field.name));
        assert_eq!(ours.default, field.default, "{}", field.name);
    }
}

#[test]
fn settings_that_documents_name_exist() {
    for document in documents() {
        let text = read(&document);
        for word in code(&text).into_iter().flat_map(words) {
            let name = word.split('=').next().unwrap_or_default();
            // SRV6_ALL_NCCL is the test command's own.
            if name.starts_with("SRV6_") && !name.ends_with('…') && name != "SRV6_ALL_NCCL" && name != "SRV6_"
            {
                assert!(FIELDS.iter().any(|field| field.name == name), "{document}: no setting {name}");
            }
        }
    }
}

#[test]
fn scripts_that_documents_name_exist() {
    use std::os::unix::fs::PermissionsExt;

    let mut seen = BTreeSet::new();
    for document in documents() {
        let text = read(&document);
        for word in code(&text).into_iter().flat_map(words).filter(|word| word.starts_with("scripts/")) {
            let path = root().join(word);
            let mode = std::fs::metadata(&path).unwrap_or_else(|error| panic!("{document}: {word}: {error}"));
            assert!(path.is_dir() || mode.permissions().mode() & 0o111 != 0, "{word} is not executable");
            seen.insert(word.to_owned());
        }
    }
    assert!(seen.contains("scripts/demo") && seen.contains("scripts/test"), "found only {seen:?}");
}

#[test]
fn subcommands_that_documents_name_exist() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for piece in code(&text) {
            let mut words = words(piece).skip_while(|word| !word.ends_with("srv6ctl")).skip(1);
            let Some(name) = words.next().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
            else {
                continue;
            };
            let file = format!("crates/ctl/src/{}", name.replace('-', "_"));
            assert!(
                root().join(format!("{file}.rs")).is_file() || root().join(&file).is_dir(),
                "{document}: srv6ctl has no subcommand {name}"
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "no document names a subcommand");
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().map(ToOwned::to_owned).unwrap_or_default();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !file.is_empty() {
                assert!(folder.join(file).exists(), "{document}: {target} leads nowhere");
            }
        }
    }
}

#[test]
fn the_code_map_names_every_crate_and_folder() {
    let map = read("ARCHITECTURE.md");
    for parent in ["crates", "src", "."] {
        for entry in std::fs::read_dir(root().join(parent)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // An empty folder is not in the repository, and hidden ones are tools'.
            let empty = || std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
            if !path.is_dir() || name.starts_with('.') || name == "target" || empty() {
                continue;
            }
            let shown = if parent == "." { format!("{name}/") } else { format!("{parent}/{name}/") };
            assert!(map.contains(&format!("`{shown}`")), "ARCHITECTURE.md doesn't say what {shown} is");
        }
    }
}

#[test]
fn the_changelog_has_this_version() {
    let changelog = read("CHANGELOG.md");
    assert!(changelog.contains(&format!("## [{}]", env!("CARGO_PKG_VERSION"))), "no entry for this version");
}
