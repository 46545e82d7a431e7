//! `srv6ctl lab` as it is typed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A state directory of its own, and what runs there.
struct Lab(PathBuf);

impl Lab {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("srv6ctl-lab-test-{}-{test}", std::process::id())))
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } = self.output(arguments);
        let text = [stdout, stderr].map(|t| String::from_utf8_lossy(&t).into_owned()).concat();
        (status.success(), text)
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
        let output = command.args(["lab", "--state-dir"]).arg(&self.0).args(arguments).output();
        output.unwrap_or_else(|e| unreachable!("srv6ctl was built for this test: {e}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.run(&["down"]);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics").join(name);
    path.display().to_string()
}

#[test]
fn a_lab_is_brought_up_used_broken_healed_and_taken_down() {
    let lab = Lab::new("whole");
    let fine = |arguments: &[&str]| {
        let (fine, text) = lab.run(arguments);
        assert!(fine, "{arguments:?}: {text}");
        text
    };
    let refused = |arguments: &[&str]| {
        let (fine, text) = lab.run(arguments);
        assert!(!fine, "{arguments:?}: {text}");
        text
    };
    let (four, three) = (example("4x4.json"), example("3x3.json"));
    assert_eq!(fine(&["status"]), "no lab is up\n");
    assert!(refused(&["links"]).contains("lab \"lab\" is not up"));

    fine(&["up", "--topology", &four, "--rate-host", "300"]);
    assert_eq!(fine(&["up", "--topology", &four, "--rate-host", "300"]), "lab lab is up already\n");
    assert!(refused(&["up", "--topology", &three]).contains("is up with another topology"));

    let ping = ["exec", "host00", "--", "ping", "-c1", "-W2", "2001:db8:1003::2"];
    assert!(fine(&ping).contains("1 received"));
    assert!(fine(&["exec", "host00", "--", "tc", "qdisc", "show", "dev", "eth1"]).contains("tbf"));
    assert_eq!(lab.output(&["exec", "leaf00", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert!(refused(&["exec", "host99", "--", "true"]).contains("no node \"host99\"; there are host00"));
    assert!(refused(&["exec", "host00", "--", "nosuchprogram"]).contains("running nosuchprogram in host00"));

    let states = || -> Vec<String> {
        let links: serde_json::Value = serde_json::from_str(&fine(&["links", "--json"])).unwrap();
        let state = |l: &serde_json::Value| l["state"].as_str().unwrap().to_owned();
        links.as_array().unwrap().iter().map(state).filter(|s| s != "up").collect()
    };
    assert!(states().is_empty());
    fine(&["fail", "host03"]);
    assert_eq!(states(), ["silent", "silent"]);
    refused(&ping);
    fine(&["fail", "leaf00-spine02", "--down"]);
    assert_eq!(states().len(), 4);
    assert!(fine(&["links"]).contains("down"));
    fine(&["heal", "host03"]);
    assert!(fine(&ping).contains("1 received"));
    fine(&["heal"]);
    assert!(states().is_empty());

    fine(&["fail", "leaf00-spine01", "--loss", "2.5", "--from", "leaf00"]);
    assert_eq!(states(), ["lossy"]);
    assert!(
        fine(&["exec", "spine01", "--", "nft", "list", "ruleset"]).contains("numgen random mod 10000 < 250")
    );
    assert!(refused(&["fail", "leaf00-spine01", "--loss", "0"]).contains("want 0.01 to 100 (percent)"));
    assert!(refused(&["fail", "leaf00-spine01", "--from", "host00"]).contains("want one of leaf00 spine01"));
    assert!(
        refused(&["fail", "leaf00-spine01", "--down", "--from", "leaf00"]).contains("cannot be used with")
    );
    fine(&["heal"]);
    fine(&["flap", "leaf00-spine01", "--for", "10"]);
    assert!(states().is_empty());

    fine(&["rate", "leaf00-spine00", "50"]);
    assert!(fine(&["exec", "leaf00", "--", "tc", "qdisc", "show", "dev", "spine00"]).contains("rate 50Mbit"));
    fine(&["rate", "leaf00-spine00", "none"]);
    assert!(refused(&["rate", "leaf00-spine00", "fast"]).contains("want 1 to 400000 (Mbit/s)"));

    let status = fine(&["status"]);
    assert!(status.contains("198.18.0.13") && status.contains("4x4.json"), "{status}");
    let labs: serde_json::Value = serde_json::from_str(&fine(&["status", "--json"])).unwrap();
    let nodes = labs[0]["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["node"] == "host00" && node["down"] == 0), "{labs:#}");
    assert_eq!(fine(&["down"]), "lab lab is down\n");
    assert_eq!(fine(&["down"]), "lab lab was not up\n");
    assert_eq!(std::fs::read_dir(&lab.0).unwrap().count(), 0, "no file is left");
}

#[test]
fn a_topology_that_no_lab_can_be_made_of_is_refused_with_the_reason() {
    let lab = Lab::new("refused");
    let (fine, text) = lab.run(&["up", "--topology", "/nonexistent.json"]);
    assert!(!fine && text.contains("reading the topology") && text.contains("/nonexistent.json"), "{text}");
    let (fine, text) = lab.run(&["up", "--topology", &example("3x3.json"), "--mtu", "100"]);
    assert!(!fine && text.contains("MTU 100: want 1280 to 65535"), "{text}");
    let (fine, text) = lab.run(&["up", "--topology", &example("3x3.json"), "--name", "../x"]);
    assert!(!fine && text.contains("want 1 to 64 of a-z A-Z 0-9 and _-"), "{text}");
    assert_eq!(lab.run(&["status"]).1, "no lab is up\n");
}
