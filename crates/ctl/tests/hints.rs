//! `srv6ctl hints`, over files that the agent's own code writes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use srv6_fabric::Flow;
use srv6_hints::mpib::{MpibHints, Pair};
use srv6_hints::{Hints, Key};

fn srv6ctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_srv6ctl"))
        .arg("hints")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = srv6ctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = srv6ctl(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hints-{name}-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn weights_are_shown_to_people_and_programs() {
    let folder = folder("own");
    let path = folder.join("hints");
    let mut hints = Hints::create(&path, 16).unwrap();
    for n in [1, 2] {
        let flow = Flow { src: "2001:db8::1".parse().unwrap(), dst: [10, 0, 0, n].into() };
        hints.acquire(Key { namespace: 42, flow }).unwrap();
    }
    hints.set(1, "1000,-,0".parse().unwrap()).unwrap();
    let file = path.to_str().unwrap();
    let text = printed(&["show", "--file", file]);
    let line = text.lines().find(|line| line.contains("10.0.0.2")).unwrap();
    assert!(line.contains("42") && line.contains("2001:db8::1") && line.contains("1000,-,0"), "{text}");
    assert!(
        text.contains(&format!("2 of 16 slots in use; written by process {}", std::process::id())),
        "{text}"
    );
    let json: Value = serde_json::from_str(&printed(&["show", "--file", file, "--json"])).unwrap();
    assert_eq!(
        (json["slots"][1]["weights"][0].as_u64(), json["slots"][1]["weights"][1].is_null()),
        (Some(1000), true)
    );
    assert_eq!((json["slots"][0]["slot"].as_u64(), json["size"].as_u64()), (Some(0), Some(16)));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_same_numbers_are_read_in_the_unit_that_is_named() {
    let folder = folder("mpib");
    let path = folder.join("hints");
    let mut hints = MpibHints::<u32>::create(&path).unwrap();
    hints.register(1, 1, Pair { src: 0x0a00_0101, dst: 0x0a00_0201 }).unwrap();
    hints.set(0, 512).unwrap();
    let show = |unit: &str| printed(&["show", "--mpib", unit, "--mpib-file", path.to_str().unwrap()]);
    assert!(
        show("per1024").contains("50.0 %") && show("multiplier").contains("99.8 %"),
        "{}",
        show("per1024")
    );
    assert!(show("per1024").contains("10.0.1.1 -> 10.0.2.1"));
    let error = refused(&["show", "--mpib", "percent"]);
    assert!(error.contains("want multiplier or per1024"), "{error}");
    drop(hints);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_not_there_is_named() {
    assert!(refused(&["show", "--file", "/nowhere/hints"]).contains("/nowhere/hints"));
    assert!(refused(&["show", "--file", "/proc/self/stat"]).contains("/proc/self/stat has 0 bytes"));
    assert!(refused(&["set", "first", "1"]).contains("\"first\" is no slot; want a number"));
    assert!(
        refused(&["set", "1", "1", "--socket", "/nowhere/agent.sock"])
            .contains("no agent at /nowhere/agent.sock")
    );
}
