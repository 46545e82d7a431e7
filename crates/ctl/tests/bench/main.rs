//! `srv6ctl bench all-reduce` as its users start it: one process per rank, over the contract-checking net.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod collectives;
mod job;
mod lab;
mod parsers;
#[path = "../../../netdrive/tests/strict/mod.rs"]
mod strict;

use std::path::Path;
use std::process::Child;

use job::{Job, all_succeeded, rows, text};

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
        lines[7].starts_with("# net Strict v12: 2 channels, 2 connections to the next rank, "),
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
        let rows = rows(&text(&outputs[0].stdout));
        assert_eq!(rows.len(), count, "{arguments:?}");
        assert!(rows.iter().all(|row| row[8] == "0" && row[12] == "0"), "{rows:?}");
    }
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
    let pid = ranks[2].id();
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
    drain.join().unwrap().unwrap();
}

#[test]
fn a_rank_that_cannot_start_tells_the_others_why() {
    let job = Job::new(2, strict::plugin(&[12], &[]), &[]);
    let mut broken = Job::new(2, "/nowhere/libx.so".into(), &[]);
    broken.port = job.port;
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
    let mut other = Job::new(2, plugin, &["-b", "16", "-e", "16"]);
    other.port = job.port;
    let children = [job.start(0), other.start(1)];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(
            error.contains("rank 1 was started with all_reduce_perf -b 16 -e 16 ")
                && error.contains("rank 0 with all_reduce_perf -b 8"),
            "{error}"
        );
    }
}

#[test]
fn a_connection_that_never_comes_up_is_an_error() {
    let plugin = strict::plugin(&[12], &["NEVER=1"]);
    for output in Job::new(2, plugin, &["--join-timeout", "2"]).run() {
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
        (&["-b", "8T"][..], "invalid size specified for 'minbytes'"),
        (&["-b", "64M"], "invalid sizes for 'minbytes' and 'maxbytes': 67108864 > 33554432"),
        (&["-g", "8"], "-g 8: a rank is a process here: start more processes"),
        (&["-z", "1"], "-z 1: there is no CUDA stream to wait for"),
        (&["--plugin-version", "5"], "wanted 6 to 12"),
    ] {
        let output = &Job::new(1, strict::plugin(&[12], &[]), arguments).run()[0];
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn operations_that_take_too_long_are_an_error_only_if_asked() {
    let plugin = strict::plugin(&[12], &["FREEZE=40"]);
    let frozen = Job::new(2, plugin.clone(), &["-b", "64K", "-e", "64K", "-n", "100", "-T", "1"]);
    for output in frozen.run() {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("all_reduce_perf") && error.contains("65536 bytes did not end within 1s"),
            "{error}"
        );
    }
    let arguments = ["-b", "64K", "-e", "64K", "-n", "100", "--stall-timeout", "1"];
    for output in Job::new(2, plugin, &arguments).run() {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("all_reduce_perf") && error.contains("65536 bytes: nothing has moved for 1s"),
            "{error}"
        );
    }
}

#[test]
fn nccl_s_own_transport_says_that_it_needs_cuda() {
    let (libnccl, _) = strict::nccl("nocuda", &["CONNECT_RESULT=ncclUnhandledCudaError"]);
    for output in Job::stock("alltoall", 2, libnccl, &["-b", "1K", "-e", "1K"]).run() {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("there is no CUDA driver here: run --stock on a host with a GPU"), "{error}");
    }
    let (libnccl, _) = strict::nccl("cuda", &[]);
    let printed = Job::stock("alltoall", 2, libnccl, &["-b", "1K", "-e", "1K"]).succeed();
    assert!(printed.contains(" device  0 [host memory] Socket v8 strict0\n"), "{printed}");
}

#[test]
fn iterations_and_timestamps_are_shown_and_written() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("iterations-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("out.json");
    let arguments = ["-b", "64", "-e", "64", "-n", "5", "-m", "2", "-I", "1", "-K", "1", "-S", "1", "-J"];
    let job = Job::new(2, strict::plugin(&[12], &[]), &[&arguments[..], &[file.to_str().unwrap()]].concat());
    let row = &rows(&job.succeed())[0];
    // Date and time are two words.
    assert_eq!(row.len(), 23, "{row:?}");
    let [min, max] = [9, 10].map(|at| row[at].parse::<f64>().unwrap());
    assert!(0.0 < min && min <= max, "{row:?}");
    let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let all = &document["results"][0]["in_place_per_iter"];
    assert_eq!(all["times_us"].as_array().unwrap().len(), 5);
    assert_eq!(all["per_process_max_times_us"].as_array().unwrap().len(), 2);
    assert_eq!(all["skipped_iterations"], 1);
    std::fs::remove_dir_all(&folder).unwrap();
}
