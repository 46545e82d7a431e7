//! The output read by what people read nccl-tests with.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::job::{Job, text};

/// Runs one of the scripts in `parsers/` on some text.
fn parse(program: &str, script: &str, input: &str) -> String {
    let script = format!("{}/tests/bench/parsers/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(program);
    if program == "awk" {
        command.arg("-f");
    }
    let mut child =
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the parser runs");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    text(&output.stdout)
}

#[test]
fn awk_scripts_for_nccl_tests_work_unchanged() {
    let job = Job::over_multipath("all-reduce", 2, &["-b", "8", "-e", "1M", "-f", "8", "-n", "3"]);
    let found = parse("awk", "table.awk", &job.succeed());
    let cells: Vec<&str> = found.split_whitespace().collect();
    assert_eq!((cells[0], cells[1], cells[4]), ("6", "262144", "0"), "{found}");
    assert!(cells[2].parse::<f64>().unwrap() > 0.0 && cells[3].parse::<f64>().unwrap() > 0.0, "{found}");
}

#[test]
fn regular_expressions_for_nccl_tests_match() {
    for (test, program, redop, root, in_place) in [
        ("reduce", "reduce_perf", "max", "1", "0"),
        ("alltoall", "alltoall_perf", "none", "-1", "N/A"),
        ("sendrecv", "sendrecv_perf", "max", "-1", "N/A"),
    ] {
        let arguments =
            ["-b", "16K", "-e", "32K", "-f", "2", "-n", "2", "-o", "max", "-d", "int32", "-r", "1"];
        let printed = Job::over_multipath(test, 2, &arguments).succeed();
        let found: serde_json::Value = serde_json::from_str(&parse("python3", "table.py", &printed)).unwrap();
        assert_eq!(found["version"], "2.19.6");
        assert_eq!(found["tests"], serde_json::json!([program, program]));
        assert_eq!(found["wrong"], serde_json::json!([0, "OK"]));
        assert!(found["average"].as_f64().unwrap() > 0.0);
        let ranks = found["ranks"].as_array().unwrap();
        assert_eq!(ranks.len(), 2, "{printed}");
        assert_eq!(ranks[1][5], "host memory");
        assert!(ranks[1][6].as_str().unwrap().starts_with("SRv6 v12 "), "{printed}");
        let rows = found["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{printed}");
        assert_eq!(
            (&rows[1][0], &rows[1][2], &rows[1][3]),
            (&"32768".into(), &"int32".into(), &redop.into())
        );
        assert_eq!((&rows[1][4], &rows[1][8], &rows[1][12]), (&root.into(), &"0".into(), &in_place.into()));
    }
}
