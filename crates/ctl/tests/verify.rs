//! `srv6ctl verify` and `srv6ctl paths` in a lab: a flow that takes its path is proven to, and every way of not taking it is
//! told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const FLOW: (&str, &str) = ("2001:db8:1000::2", "2001:db8:1001::2");

/// For what happens in milliseconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The 4×4 fabric, held by a keeper, in a state directory of its own.
struct Lab {
    folder: PathBuf,
}

impl Lab {
    fn up(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("srv6ctl-verify-{}-{test}", std::process::id()));
        let lab = Self { folder };
        lab.srv6ctl(&["up", "--topology", &fabric()]);
        lab
    }

    /// `srv6ctl lab` with these arguments; must succeed.
    fn srv6ctl(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}{errors}");
        text
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
        command.args(["lab", "--state-dir"]).arg(&self.folder).args(arguments);
        command
    }

    /// A shell line in host00; must succeed.
    fn host(&self, line: &str) -> String {
        self.srv6ctl(&["exec", "host00", "--", "sh", "-ec", line])
    }

    /// Replaces host00's route of ours to host01.
    fn route(&self, segments: &str) {
        let (source, destination) = FLOW;
        self.host(&format!(
            "ip -6 route replace {destination} encap seg6 mode encap.red segs {segments} dev eth1 proto 83 metric 77 \
             src {source}"
        ));
    }

    /// `srv6ctl verify --lab`: exit status and output.
    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_srv6ctl"))
            .args(["verify", "--lab", "lab", "--state-dir"])
            .arg(&self.folder)
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    /// The only flow's verdict and differences.
    fn judged(&self, arguments: &[&str]) -> (String, Vec<String>) {
        let (code, text) = self.verify(&[&["--json"], arguments].concat());
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 1, "{text}");
        let flow = &list[0];
        let verdict = flow["verdict"].as_str().unwrap().to_owned();
        assert_eq!(code, i32::from(verdict == "not-proven"), "{text}");
        let differences = flow["differences"].as_array().unwrap();
        (verdict, differences.iter().map(|d| d.as_str().unwrap().to_owned()).collect())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // An error means that it is down.
        let _down = self.command(&["down"]).output();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn fabric() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json").display().to_string()
}

/// Ranks of a job, killed when dropped.
struct Job(Vec<Child>);

impl Drop for Job {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error means that it has ended.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

#[test]
fn a_route_by_hand_is_proven_or_refuted_with_the_right_words() {
    let lab = Lab::up("hand");
    let (code, text) = lab.verify(&[]);
    assert_eq!((code, text.as_str()), (1, "nothing is steered: there is no route of protocol 83\n"));
    let (verdict, differences) = lab.judged(&[FLOW.1]);
    assert_eq!(verdict, "not-proven");
    assert!(differences[0].contains("goes unsteered"), "{differences:?}");

    // What policy spread gives host00 -> host01.
    let right = "fc00:0:1200:1001:1201:fe06::";
    lab.route(right);
    let (code, text) = lab.verify(&["--count", "7"]);
    assert_eq!(code, 0, "{text}");
    let wanted = format!(
        "PROVEN      {} -> {}  host00 > leaf00 > spine01 > leaf01 > host01  7 of 7 probes on each link and on no other, ",
        FLOW.0, FLOW.1
    );
    assert!(text.starts_with(&wanted) && text.ends_with(" ms, 1436 bytes fit\n"), "{text}");

    lab.route("fc00:0:1200:1002:1201:fe06::");
    let (verdict, differences) = lab.judged(&[]);
    assert_eq!(verdict, "not-proven");
    assert_eq!(
        differences,
        ["policy spread gives host00 > leaf00 > spine01 > leaf01 > host01, and the route another path"]
    );
    assert_eq!(lab.judged(&["--any-path"]), ("proven".to_owned(), Vec::new()));

    // By another leaf, and from there by plain forwarding. That hashes, with a key that each boot makes anew, unless one
    // way is left; back to spine02 would be one.
    let prefix = "2001:db8:1001::/64";
    let gateway = format!("$(ip -6 route show {prefix} | sed -n 's/.*via \\(.*\\) dev spine00.*/\\1/p')");
    let only = format!("ip -6 route replace {prefix} via {gateway} dev spine00 proto static metric 1024");
    lab.srv6ctl(&["exec", "leaf02", "--", "sh", "-ec", &only]);
    lab.route("fc00:0:1200:1002:1202:fe06::");
    let (verdict, differences) = lab.judged(&[]);
    assert_eq!(verdict, "not-proven");
    assert!(differences[0].contains("are no path of the topology now"), "{differences:?}");
    let wanted = "probes went host00 > leaf00 > spine02 > leaf02 > spine00";
    assert!(differences[1].starts_with(wanted), "{differences:?}");
}

#[test]
fn a_dead_spine_and_a_lossy_one_are_told_apart() {
    let lab = Lab::up("dead");
    lab.route("fc00:0:1200:1001:1201:fe06::");
    lab.srv6ctl(&["fail", "spine01"]);
    let (verdict, differences) = lab.judged(&[]);
    assert_eq!(verdict, "not-proven");
    // A silent switch still takes packets in.
    assert_eq!(differences, ["none of 32 probes came from spine01 to leaf01"]);
    lab.srv6ctl(&["heal"]);
    assert_eq!(lab.judged(&[]).0, "proven");
    // Small packets pass, full ones don't.
    lab.srv6ctl(&["exec", "leaf00", "--", "ip", "link", "set", "spine01", "mtu", "1400"]);
    let (verdict, differences) = lab.judged(&[]);
    assert_eq!(verdict, "not-proven");
    assert!(differences[0].contains("1436 bytes"), "{differences:?}");
}

/// Without a look at the links, from the sender alone.
#[test]
fn switches_confirm_a_path_to_its_sender() {
    let lab = Lab::up("alone");
    lab.route("fc00:0:1200:1001:1201:fe06::");
    let own = env!("CARGO_BIN_EXE_srv6ctl");
    let file = fabric();
    let words = ["exec", "host00", "--", own, "verify", "--topology", &file];
    let text = lab.srv6ctl(&words);
    let wanted =
        "host00 > leaf00 > spine01 > leaf01 > host01  32 of 32 probes answered, each switch confirms, ";
    assert!(text.starts_with("PROVEN ") && text.contains(wanted), "{text}");
    lab.srv6ctl(&["fail", "spine01"]);
    let output = lab.command(&words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.starts_with("NOT PROVEN ")
            && text.contains("\n            - the last switch that answers is leaf00\n"),
        "{text}"
    );
}

#[test]
fn a_shadowing_route_is_told() {
    let lab = Lab::up("shadow");
    lab.route("fc00:0:1200:1001:1201:fe06::");
    let gateway = lab.host("ip -6 route show fc00::/32 | awk '{ print $3 }'");
    lab.host(&format!("ip -6 route add {} via {} dev eth1 metric 5", FLOW.1, gateway.trim()));
    let (verdict, differences) = lab.judged(&[]);
    assert_eq!(verdict, "not-proven");
    assert!(
        differences[0].contains("don't take the route to") && differences[0].contains("metric 5"),
        "{differences:?}"
    );
}

/// Two lanes of one flow over different spines, as the transport pins sockets to them by mark.
#[test]
fn each_lane_of_a_flow_is_proven_on_its_own() {
    let lab = Lab::up("lanes");
    let (source, destination) = FLOW;
    for (lane, spine) in [(1, "1001"), (2, "1003")] {
        let table = 0x5352_0000 + lane;
        lab.host(&format!(
            "ip -6 rule add priority {} fwmark {table:#x}/0xffffffff lookup {table} protocol 83
             ip -6 route add {destination} encap seg6 mode encap.red segs fc00:0:1200:{spine}:1201:fe06:: dev eth1 \
               proto 83 metric 77 src {source} table {table}",
            5000 + lane
        ));
    }
    let (code, text) = lab.verify(&[]);
    assert_eq!(code, 0, "{text}");
    let starts: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("  32 of 32")).map(|(start, _)| start).collect();
    assert_eq!(
        starts,
        [
            "PROVEN      2001:db8:1000::2 -> 2001:db8:1001::2 lane 1  host00 > leaf00 > spine01 > leaf01 > host01",
            "PROVEN      2001:db8:1000::2 -> 2001:db8:1001::2 lane 2  host00 > leaf00 > spine03 > leaf01 > host01",
        ]
    );
    lab.host("ip -6 rule del priority 5002");
    let (code, text) = lab.verify(&["--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 1);
    assert_eq!(
        (&list[0]["verdict"], &list[1]["verdict"]),
        (&"proven".into(), &"not-proven".into()),
        "{text}"
    );
    assert_eq!(list[1]["differences"][0], "no rule of ours leads to the table of lane 2");
    lab.host("ip -6 rule add priority 5102 ipproto tcp sport 20992-21247 lookup 1397882882 protocol 83");
    let (_, text) = lab.verify(&["--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let difference = list[1]["differences"][0].as_str().unwrap();
    assert!(difference.contains("chosen by TCP port"), "{text}");
}

#[test]
fn every_flow_of_a_running_job_is_proven_and_shown() {
    let lab = Lab::up("job");
    let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(plugin.exists(), "{} is not built", plugin.display());
    let hosts = ["host00", "host01", "host02", "host03"];
    let start = |(rank, host): (usize, &&str)| {
        let own = env!("CARGO_BIN_EXE_srv6ctl");
        let plugin = plugin.display().to_string();
        let words = [
            own,
            "bench",
            "all-reduce",
            "--plugin",
            &plugin,
            "-b",
            "1M",
            "-e",
            "1M",
            "-n",
            "100000",
            "-w",
            "1",
        ];
        lab.command(&[&["exec", host, "--"], &words[..]].concat())
            .envs([
                ("RANK", rank.to_string().as_str()),
                ("WORLD_SIZE", "4"),
                ("MASTER_ADDR", "198.18.0.10"),
                ("MASTER_PORT", "29500"),
                ("NCCL_SOCKET_IFNAME", "=eth1"),
                ("NCCL_SOCKET_FAMILY", "AF_INET6"),
                ("SRV6_TRANSPORT", "multipath"),
                ("SRV6_MODE", "local"),
                ("SRV6_STRICT", "1"),
                ("SRV6_TOPOLOGY", &fabric()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let _job = Job(hosts.iter().enumerate().map(start).collect());
    let started = Instant::now();
    let paths = || -> Value {
        let own = env!("CARGO_BIN_EXE_srv6ctl");
        let text = lab.srv6ctl(&["exec", "host00", "--", own, "paths", "--json", "--topology", &fabric()]);
        serde_json::from_str(&text).unwrap()
    };
    // The other flow of this host carries acknowledgements to the rank before it.
    let flows = |shown: &Value| -> Vec<Value> {
        let all = shown["flows"].as_array().unwrap().iter();
        all.filter(|flow| flow["destination"] == FLOW.1).cloned().collect()
    };
    let carried = |flow: &Value| -> u64 {
        let connections = flow["connections"].as_array().unwrap();
        connections.iter().map(|c| c["acknowledged"].as_u64().unwrap()).sum()
    };
    let mut shown = paths();
    // Four paths for each connection is the default, and the fabric has four.
    while flows(&shown).len() < 4 || flows(&shown).iter().any(|flow| carried(flow) < 1_000_000) {
        assert!(started.elapsed() < PATIENCE, "the job carries nothing: {shown:#}");
        std::thread::sleep(Duration::from_millis(20));
        shown = paths();
    }
    assert_eq!(shown["named_by"], fabric());
    let mut spines = Vec::new();
    for flow in flows(&shown) {
        assert_eq!((flow["source"].as_str(), flow["destination"].as_str()), (Some(FLOW.0), Some(FLOW.1)));
        assert_eq!(
            (&flow["in_topology"], &flow["by_policy"]),
            (&Value::Bool(true), &Value::Null),
            "{flow:#}"
        );
        spines.push(flow["path"][2].as_str().unwrap().to_owned());
        assert_eq!(flow["references"], 1);
        assert_eq!(flow["holders"][0]["command"], "srv6ctl");
        let running = flow["holders"][0]["running_s"].as_u64().unwrap();
        assert!(running <= started.elapsed().as_secs() + 1, "{flow:#}");
        assert!(flow["connections"][0]["rtt_us"].as_u64().unwrap() > 0, "{flow:#}");
        for connection in flow["connections"].as_array().unwrap() {
            assert_eq!(connection["mark"], flow["table"], "{flow:#}");
            assert!(connection["delivery_rate"].as_u64().unwrap() > 0, "{flow:#}");
        }
    }
    let shares: f64 = flows(&shown).iter().map(|flow| flow["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shown:#}");
    spines.sort();
    assert_eq!(spines, ["spine00", "spine01", "spine02", "spine03"]);

    // While the job sends as fast as it can: its own packets are not counted.
    let (code, text) = lab.verify(&["--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut seen: Vec<&str> = list.as_array().unwrap().iter().map(|f| f["host"].as_str().unwrap()).collect();
    assert_eq!(seen.len(), 4 * 2 * 4, "{text}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, hosts, "{text}");
    for flow in list.as_array().unwrap() {
        assert_eq!(flow["verdict"], "proven", "{flow:#}");
        let links = flow["links"].as_array().unwrap();
        assert_eq!(links.len(), 4, "{flow:#}");
        assert!(links.iter().all(|l| l["left"] == 32 && l["arrived"] == 32), "{flow:#}");
    }
    assert_eq!(code, 0);
}
