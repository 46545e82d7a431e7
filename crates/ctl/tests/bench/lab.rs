//! `--lab`: one command for a whole job on the hosts of a lab.

use std::process::Command;

use crate::job::{own_plugin, rows, text};

fn bench(test: &str, arguments: &[&str]) -> std::process::Output {
    command(test, arguments).output().unwrap()
}

fn command(test: &str, arguments: &[&str]) -> Command {
    let fabric = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/3x3.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
    command
        .args(["bench", test, "--lab", fabric, "--plugin"])
        .arg(own_plugin())
        .args(arguments)
        .env("SRV6_STRICT", "1");
    command
}

#[test]
fn one_command_raises_a_lab_runs_all_ranks_in_it_and_takes_it_down() {
    // More ranks than the three hosts have places: two share one. A launcher's variables don't matter.
    let arguments = ["--ranks", "4", "-b", "1M", "-e", "1M", "-n", "2", "--lab-rate", "400"];
    let output = bench("reduce-scatter", &arguments);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    let rows = rows(&printed);
    assert_eq!((rows.len(), &*rows[0][8], &*rows[0][12]), (1, "0", "0"), "{printed}");
    assert_eq!(printed.matches("[host memory] SRv6 v12 ").count(), 4, "{printed}");
    // 400 Mbit/s are 0.05 GB/s, and a little more while the shapers' buckets are full.
    assert!(rows[0][7].parse::<f64>().unwrap() < 0.11, "{printed}");
}

#[test]
fn plugin_and_preload_library_work_in_one_process() {
    let shim = own_plugin().with_file_name("libsrv6_shim.so");
    assert!(shim.exists(), "{} is not built", shim.display());
    let output = command("all-reduce", &["-b", "1M", "-e", "1M", "-n", "2"])
        .env("LD_PRELOAD", &shim)
        .env("SRV6_LOG", "info")
        .env("SRV6_CONNECT_TIMEOUT_MS", "60000")
        .output()
        .unwrap();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    // Strict: the plugin steers every connection of its own, or the job fails.
    assert!(output.status.success(), "{printed}{said}");
    let rows = rows(&printed);
    assert_eq!((rows.len(), &*rows[0][8], &*rows[0][12]), (1, "0", "0"), "{printed}");
    // The ranks' own sockets are the shim's.
    assert!(said.lines().any(|line| line.contains("srv6-shim[") && line.contains("carrier")), "{said}");
    assert!(!said.contains("goes unsteered"), "{said}");
}

#[test]
fn a_rank_that_fails_in_a_lab_fails_the_command() {
    let output = bench("broadcast", &["-b", "8", "-e", "8", "-r", "9"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("root 9 of 3 ranks: wanted 0 to 2, -1 or all"), "{error}");
    assert!(error.contains("ended with exit status: 1"), "{error}");
}
