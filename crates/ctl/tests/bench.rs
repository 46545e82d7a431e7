//! `srv6ctl bench all-reduce` as its users start it: one process per rank, over the contract-checking net.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

#[path = "../../netdrive/tests/strict/mod.rs"]
mod strict;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A job of several ranks on this host.
struct Job {
    world: usize,
    port: u16,
    plugin: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Job {
    fn new(world: usize, plugin: PathBuf, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        Self { world, port, plugin, arguments, environment: Vec::new() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn start(&self, rank: usize) -> Child {
        Command::new(env!("CARGO_BIN_EXE_srv6ctl"))
            .args(["bench", "all-reduce", "--plugin"])
            .arg(&self.plugin)
            .args(&self.arguments)
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", self.world.to_string())
            .env("MASTER_ADDR", "localhost")
            .env("MASTER_PORT", self.port.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self) -> Vec<Output> {
        let children: Vec<Child> = (0..self.world).map(|rank| self.start(rank)).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The rows as an awk script sees them.
fn rows(output: &Output) -> Vec<Vec<String>> {
    text(&output.stdout)
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn all_succeeded(outputs: &[Output]) {
    for (rank, output) in outputs.iter().enumerate() {
        assert!(
            output.status.success(),
            "rank {rank}: {}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}

/// Digits become 9, so that widths and places stay and times don't matter.
fn shape(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

#[test]
fn the_canonical_command_prints_the_table_of_nccl_tests() {
    let arguments = ["-b", "8", "-e", "128K", "-f", "16", "-g", "1", "-n", "3"];
    let outputs = Job::new(2, strict::plugin(&[12], &[]), &arguments).run();
    all_succeeded(&outputs);
    assert_eq!(text(&outputs[1].stdout), "", "only rank 0 prints");
    let printed = text(&outputs[0].stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[1], "# Collective test starting: all_reduce_perf");
    assert_eq!(
        lines[2],
        "# nThread 1 nGpus 1 minBytes 8 maxBytes 131072 step: 16(factor) warmup iters: 1 iters: 3 agg iters: 1 \
         validation: 1 graph: 0 unalign: 0"
    );
    assert_eq!(lines[4], "# Using devices");
    assert!(lines[5].starts_with("#  Rank  0 Group  0 Pid "), "{}", lines[5]);
    assert!(lines[6].ends_with(" device  0 [host memory] Strict v12 strict0"), "{}", lines[6]);
    assert!(
        lines[7].starts_with("# net Strict v12: 1 channels, 1 connections to the next rank, "),
        "{}",
        lines[7]
    );
    let header = lines.iter().position(|line| line.contains("#wrong")).unwrap();
    assert_eq!(
        lines[header],
        "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   \
         busbw  #wrong "
    );
    let table = &lines[header + 2..header + 6];
    for (line, size) in table.iter().zip([8, 128, 2048, 32768]) {
        assert_eq!(line[..50], format!("{size:>12}  {:>12}     float     sum      -1  ", size / 4)[..50]);
        assert_eq!(line.len(), 118, "{line}");
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((cells.len(), cells[8], cells[12]), (13, "0", "0"), "{line}");
        assert!(cells[5].parse::<f64>().unwrap() > 0.0, "{line}");
    }
    let footer: Vec<String> = lines[header + 6..].iter().map(|line| shape(line)).collect();
    assert_eq!(footer[0], "# Out of bounds values : 9 OK");
    assert!(footer[1].starts_with("# Avg bus bandwidth    : 9."), "{}", footer[1]);
    assert_eq!(footer[2..], ["#", "# Collective test concluded: all_reduce_perf", "#", ""]);
}

#[test]
fn odd_sizes_ranks_channels_and_versions() {
    for (world, version, count, arguments) in [
        (1, 12, 4, &["-b", "4", "-e", "40", "-i", "12"][..]),
        (3, 6, 4, &["-b", "4", "-e", "100", "-i", "32", "--channels", "3", "-m", "2"]),
        (4, 8, 4, &["-b", "1", "-e", "70001", "-f", "41", "--channels", "2", "-w", "0", "-c", "2"]),
        (3, 11, 2, &["-b", "3M", "-e", "3M", "--channels", "5", "--shared-comms", "-N", "2"]),
    ] {
        let plugin = strict::plugin(&[version], &["MAX_RECVS=4"]);
        let outputs = Job::new(world, plugin, &[arguments, &["-n", "2"]].concat()).run();
        all_succeeded(&outputs);
        let rows = rows(&outputs[0]);
        assert_eq!(rows.len(), count, "{arguments:?}");
        assert!(rows.iter().all(|row| row[8] == "0" && row[12] == "0"), "{rows:?}");
    }
}

#[test]
fn wrong_data_is_counted_and_fails_every_rank() {
    let plugin = strict::plugin(&[12], &["CORRUPT=1"]);
    let outputs = Job::new(2, plugin.clone(), &["-b", "1K", "-e", "1K", "-n", "1"]).run();
    let row = &rows(&outputs[0])[0];
    let wrong = |cell: &str| cell.parse::<f64>().unwrap();
    // Two messages to each rank, and of each one element, is flipped; the first one's damage is handed on.
    assert!(wrong(&row[8]) >= 2.0 && wrong(&row[12]) >= 2.0, "{row:?}");
    for output in &outputs {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(" elements are wrong"), "{}", text(&output.stderr));
    }
    assert!(text(&outputs[0].stdout).contains(" FAILED\n"));

    let unchecked = Job::new(2, plugin, &["-b", "1K", "-e", "1K", "-n", "1", "-c", "0"]).run();
    all_succeeded(&unchecked);
    assert_eq!(rows(&unchecked[0])[0][8], "N/A");
}

#[test]
fn a_killed_rank_ends_all_others_within_seconds() {
    let plugin = strict::plugin(&[12], &[]);
    let job = Job::new(4, plugin, &["-b", "64K", "-e", "64K", "-n", "20", "-N", "0"]);
    let mut ranks: Vec<Child> = (0..4).map(|rank| job.start(rank)).collect();
    // The first row shows that they are in the middle of it.
    let mut printed = std::io::BufReader::new(ranks[0].stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with(' ') {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut printed, &mut line).unwrap() > 0, "rank 0 ended");
    }
    let (pid, killed) = (ranks[2].id(), Instant::now());
    ranks[2].kill().unwrap();
    ranks[2].wait().unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut printed, &mut std::io::sink()));
    for (rank, child) in ranks.into_iter().enumerate().filter(|(rank, _)| *rank != 2) {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "rank {rank}");
        let error = text(&output.stderr);
        assert!(
            error.contains("rank 2 (") && error.contains(&format!("pid {pid}) is gone")),
            "rank {rank}: {error}"
        );
    }
    assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
    drain.join().unwrap().unwrap();
}

#[test]
fn a_rank_that_cannot_start_tells_the_others_why() {
    let job = Job::new(2, strict::plugin(&[12], &[]), &[]);
    let broken = Job { plugin: "/nowhere/libx.so".into(), ..Job::new(2, PathBuf::new(), &[]) };
    let broken = Job { port: job.port, ..broken };
    let (zero, one) = (job.start(0), broken.start(1));
    let one = one.wait_with_output().unwrap();
    let zero = zero.wait_with_output().unwrap();
    assert_eq!((zero.status.code(), one.status.code()), (Some(1), Some(1)));
    let error = text(&one.stderr);
    assert!(error.starts_with("srv6ctl: loading the net: can't load /nowhere/libx.so: "), "{error}");
    let error = text(&zero.stderr);
    assert!(error.contains("rank 1 (") && error.contains("can't load /nowhere/libx.so"), "{error}");
}

#[test]
fn ranks_with_other_options_are_refused() {
    let plugin = strict::plugin(&[12], &[]);
    let job = Job::new(2, plugin.clone(), &["-b", "8", "-e", "8"]);
    let other = Job { port: job.port, ..Job::new(2, plugin, &["-b", "16", "-e", "16"]) };
    let children = [job.start(0), other.start(1)];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(
            error.contains("rank 1 was started with -b 16 -e 16 ") && error.contains("rank 0 with -b 8"),
            "{error}"
        );
    }
}

#[test]
fn a_connection_that_never_comes_up_is_an_error() {
    let plugin = strict::plugin(&[12], &["NEVER=1"]);
    for output in Job::new(2, plugin, &["-T", "2"]).run() {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("net Strict is not done after") || error.contains("rank"), "{error}");
    }
}

#[test]
fn the_json_file_has_the_results_and_no_secrets() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("json-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("out.json");
    let arguments = ["-b", "64", "-e", "256", "-f", "2", "-n", "1", "-J", file.to_str().unwrap()];
    let job = Job::new(2, strict::plugin(&[12], &[]), &arguments)
        .with("JALAPENO_API_TOKEN", "hunter2")
        .with("NCCL_DEBUG", "WARN");
    all_succeeded(&job.run());
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains("hunter2"));
    let document: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(document["version"], 3);
    assert!(document["env"].as_array().unwrap().contains(&"NCCL_DEBUG=WARN".into()));
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.iter().map(|row| row["size"].as_u64().unwrap()).collect::<Vec<_>>(), [64, 128, 256]);
    assert_eq!(results[0]["in_place"]["nwrong"], 0);
    assert_eq!(document["config"]["devices"].as_array().unwrap().len(), 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_project_s_own_plugin_over_multipath() {
    let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    let job = Job::new(3, plugin, &["-b", "4", "-e", "1M", "-f", "64", "-n", "2", "--channels", "2"])
        .with("SRV6_TRANSPORT", "multipath")
        .with("SRV6_MODE", "off")
        .with("NCCL_SOCKET_IFNAME", "lo");
    let outputs = job.run();
    all_succeeded(&outputs);
    let rows = rows(&outputs[0]);
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row[8] == "0" && row[12] == "0"), "{rows:?}");
}

#[test]
fn nccl_debug_shows_what_the_plugin_logs() {
    let job = Job::new(2, strict::plugin(&[8], &[]), &["-b", "8", "-e", "8"]).with("NCCL_DEBUG", "INFO");
    let outputs = job.run();
    all_succeeded(&outputs);
    for output in &outputs {
        let error = text(&output.stderr);
        assert!(error.contains(" [0] NCCL INFO strict v8: init 1, text and 42\n"), "{error}");
        assert!(!error.contains("outstanding"), "{error}");
    }
    let wrong = Job::new(1, strict::plugin(&[8], &[]), &[]).with("NCCL_DEBUG", "LOUD").run();
    assert!(text(&wrong[0].stderr).contains("NCCL_DEBUG: log level \"LOUD\": wanted VERSION"));
}

#[test]
fn an_average_below_the_wanted_one_fails() {
    let job =
        Job::new(2, strict::plugin(&[12], &[]), &["-b", "8", "-e", "8"]).with("NCCL_TESTS_MIN_BW", "100000");
    for output in job.run() {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("NCCL_TESTS_MIN_BW wants more"), "{}", text(&output.stderr));
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (arguments, expected) in [
        (&["-b", "8T"][..], "wanted a number of bytes with K, M or G"),
        (&["-b", "64M"], "invalid sizes for 'minbytes' and 'maxbytes': 67108864 > 33554432"),
        (&["-g", "8"], "8 is not in 1..=1"),
        (&["--plugin-version", "5"], "wanted 6 to 12"),
    ] {
        let output = &Job::new(1, strict::plugin(&[12], &[]), arguments).run()[0];
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}
