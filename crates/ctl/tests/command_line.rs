//! What holds for the whole command line: help, manual pages, completions, and what is only for terminals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn srv6ctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_srv6ctl")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = srv6ctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&folder);
    folder
}

/// The subcommands of a command, as its help lists them.
fn subcommands(path: &[&str]) -> Vec<String> {
    let help = printed(&[path, &["--help"]].concat());
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let names = list.lines().take_while(|line| line.starts_with("  "));
    // Continued lines are indented further.
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// All commands, as words.
fn all_commands() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        found.extend(subcommands(&words).into_iter().map(|name| [path.clone(), vec![name]].concat()));
        at += 1;
    }
    found
}

#[test]
fn every_command_has_help_and_a_manual_page() {
    let (commands, pages) = (all_commands(), folder("man"));
    assert!(commands.len() > 15 && commands.contains(&vec!["bench".into(), "p2p".into()]), "{commands:?}");
    printed(&["man", pages.to_str().unwrap()]);
    let written: BTreeSet<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let wanted: BTreeSet<String> = commands
        .iter()
        .map(|path| {
            let words: Vec<String> = ["srv6ctl".to_owned()].into_iter().chain(path.clone()).collect();
            format!("{}.1", words.join("-"))
        })
        .collect();
    assert_eq!(written, wanted);
    for name in &written {
        let page = std::fs::read_to_string(pages.join(name)).unwrap();
        assert!(page.contains(".TH ") && page.contains(".SH DESCRIPTION"), "{name}:\n{page}");
    }
    let page = std::fs::read_to_string(pages.join("srv6ctl-bench-p2p.1")).unwrap();
    assert!(page.contains("buffer_sizes") && page.contains("NIXL"), "{page}");
    std::fs::remove_dir_all(pages).unwrap();
    assert!(printed(&["man"]).contains(".TH srv6ctl 1"));
}

#[test]
fn completions_are_scripts_that_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for word in ["bench", "p2p", "all-reduce", "doctor"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(printed(&["completions", "bash"]).as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
    assert!(!srv6ctl(&["completions", "tcsh"]).status.success());
}

#[test]
fn colour_and_signs_of_life_are_for_terminals_only() {
    let state = folder("state");
    let up = ["lab", "--state-dir", state.to_str().unwrap(), "up", "--topology", EXAMPLE];
    let down = ["lab", "--state-dir", state.to_str().unwrap(), "down"];
    for arguments in [&["--help"][..], &["bench", "p2p"], &["nonsense"], &["routes"], &up, &down] {
        let output = srv6ctl(arguments);
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(['\x1b', '\r']), "{arguments:?}: {text:?}");
        }
    }
    // Help has colours where somebody looks, and what takes its time shows it.
    assert!(on_a_terminal(&["--help"]).contains('\x1b'));
    let text = on_a_terminal(&up);
    assert!(text.contains("bringing lab lab up") && text.contains('\r'), "{text:?}");
    on_a_terminal(&down);
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/4x4.json");

/// What a command writes when it writes to a terminal.
fn on_a_terminal(arguments: &[&str]) -> String {
    let line = format!("{} {}", env!("CARGO_BIN_EXE_srv6ctl"), arguments.join(" "));
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
