//! Lab 5, as its page says: every command is run and must print what stands below it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than all of it takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

/// What stands on the page for whatever differs from run to run.
const ANYTHING: char = '…';

/// Commands, and what they print.
struct Step<'a> {
    commands: &'a str,
    printed: &'a str,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The page's blocks of commands, each with the block of text after it.
fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for block in page.split("```").skip(1).step_by(2) {
        match block.split_once('\n').unwrap() {
            ("sh", commands) => steps.push(Step { commands, printed: "" }),
            ("text", printed) => steps.last_mut().unwrap().printed = printed,
            (language, _) => panic!("a block of {language}"),
        }
    }
    steps
}

/// Whether a text is as the page says.
fn is_as(text: &str, page: &str) -> bool {
    let Some((first, others)) = page.split_once(ANYTHING) else { return text == page };
    let (middle, last) = others.rsplit_once(ANYTHING).unwrap_or(("", others));
    let inner = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let Some(mut rest) = inner else { return false };
    for piece in middle.split(ANYTHING) {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// The programs that the page builds, from this build, and labs whose state is in a folder of the test's.
fn tools(folder: &Path) {
    let program = env!("CARGO_BIN_EXE_srv6ctl");
    let state = folder.join("state").display().to_string();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = lab ]; then\n  shift\n  exec {program} lab --state-dir {state} \"$@\"\nfi\nexec {program} \"$@\"\n"
    );
    let file = folder.join("srv6ctl");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let shim = std::env::current_exe().unwrap().with_file_name("libsrv6_shim.so");
    assert!(shim.exists(), "{} is not built", shim.display());
    symlink(shim, folder.join("libsrv6-shim.so")).unwrap();
}

#[test]
fn the_page_prints_what_it_says() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab5");
    let _absent = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    tools(&folder);
    let page = std::fs::read_to_string(repository().join("examples/lab5/README.md")).unwrap();
    let steps = steps(&page);
    let [build, steps @ ..] = steps.as_slice() else { panic!("the page has no commands") };
    assert!(build.commands.starts_with("cargo build") && steps.len() > 8, "{} steps", steps.len());

    // One shell for all, as a reader's; what each step prints goes into a file of its own.
    let mut script = format!("set -u\nPATH={}:$PATH\n", folder.display());
    for (index, step) in steps.iter().enumerate() {
        writeln!(script, "exec > {}/{index} 2>&1\n{}", folder.display(), step.commands).unwrap();
    }
    let file = folder.join("page.sh");
    std::fs::write(&file, script).unwrap();
    let mut shell = Command::new("bash")
        .arg(&file)
        .current_dir(repository())
        .env("LD_LIBRARY_PATH", &folder)
        .env("PYTHONPATH", repository().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // The default may be short on a busy machine.
        .env("SRV6_CONNECT_TIMEOUT_MS", "60000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("err")).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while shell.try_wait().unwrap().is_none() {
        if started.elapsed() > LIMIT {
            shell.kill().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // A lab that a failed step has left, and what runs inside.
    let down = Command::new(folder.join("srv6ctl")).args(["lab", "down", "--name", "lab5"]).output().unwrap();
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    for (index, Step { commands, printed }) in steps.iter().enumerate() {
        let text = std::fs::read_to_string(folder.join(index.to_string())).unwrap_or_default();
        assert!(is_as(&text, printed), "{commands}\nprinted\n{text}\nand not\n{printed}");
    }
}

#[test]
fn another_text_is_told_apart() {
    assert!(is_as("a b c\n", "a … c\n") && is_as("a\nb\nc\n", "a\n…c\n") && is_as("", ""));
    assert!(!is_as("a b d\n", "a … c\n") && !is_as("xa b c\n", "a … c\n") && !is_as("a\nb\n", "a\n"));
}
