//! The JSON file of nccl-tests 2.19 (schema version 3).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::flags::Flags;
use super::iterations::Iterations;
use super::report::{RankLine, Row, Summary};
use crate::config::Environment;

/// What the file tells beside rows and summary.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) start_time: String,
    pub(super) end_time: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: &'a Environment,
    pub(super) flags: &'a Flags,
    pub(super) ranks: &'a [RankLine],
    pub(super) rows: &'a [Row],
    pub(super) summary: &'a Summary,
    /// What nccl-tests doesn't know, under a key of our own.
    pub(super) ours: Value,
}

impl Run<'_> {
    /// The document, with keys in nccl-tests' order.
    pub(super) fn document(&self) -> Value {
        let Self { flags, summary, .. } = self;
        let mut config = json!({
            "nthreads": 1,
            "ngpus": 1,
            "minimum_bytes": flags.sizes.min,
            "maximum_bytes": flags.sizes.max,
        });
        let (step, value) = if flags.sizes.factor > 1 {
            ("step_factor", flags.sizes.factor)
        } else {
            ("step_bytes", flags.sizes.step)
        };
        let devices: Vec<Value> =
            self.ranks.iter().enumerate().map(|(rank, line)| device(rank, line)).collect();
        let rest = json!({
            "warmup_iters": flags.warmup_iters,
            "iterations": flags.iters,
            "aggregated_iterations": flags.agg_iters,
            "validation": flags.check,
            "graph": 0,
            "blocking_collectives": boolean(false),
            "per_iter_timing": boolean(flags.per_iteration),
            "per_iter_skip": flags.skip,
            "parallel_init": boolean(false),
            "devices": devices,
        });
        if let (Some(config), Value::Object(rest)) = (config.as_object_mut(), rest) {
            config.insert(step.to_owned(), value.into());
            config.extend(rest);
        }
        let results: Vec<Value> = self.rows.iter().map(|row| result(row, flags)).collect();
        json!({
            "version": 3,
            "start_time": self.start_time,
            "args": self.arguments,
            "env": environment(self.environment),
            // There is no NCCL in this.
            "nccl_version": 0,
            "config": config,
            "results": results,
            "out_of_bounds": { "count": summary.failed_checks, "okay": boolean(summary.failed_checks == 0) },
            "average_bus_bandwidth": {
                "bandwidth": summary.average_bus_bw,
                "okay": summary.enough.map_or("unchecked", boolean),
            },
            "errors": summary.error.iter().collect::<Vec<_>>(),
            "end_time": self.end_time,
            "srv6ctl": self.ours,
        })
    }
}

/// Creates the file; if there is one of this name, one with a number behind its name.
pub(super) fn create(path: &Path) -> anyhow::Result<(PathBuf, File)> {
    let numbered = (0..10_000).map(|number| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    for candidate in std::iter::once(path.to_owned()).chain(numbered) {
        match File::create_new(&candidate) {
            Ok(file) => return Ok((candidate, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("creating {}", candidate.display())),
        }
    }
    anyhow::bail!("{} and 10000 more of its kind exist", path.display())
}

pub(super) fn write(file: &mut File, document: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document).context("writing JSON")?;
    writeln!(file, "{text}").context("writing the JSON file")
}

/// There it is a string.
const fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn device(rank: usize, line: &RankLine) -> Value {
    json!({
        "rank": rank,
        "group": line.group,
        "pid": line.pid,
        "hostname": line.host,
        "device": line.device,
        // What stands in brackets in the text: there a PCI address.
        "device_hex": "host memory",
        "device_info": line.info,
    })
}

fn result(row: &Row, flags: &Flags) -> Value {
    let mut result = json!({
        "size": row.size,
        "count": row.count,
        "type": row.data_type,
        "redop": row.redop,
        "root": format!("{:6}", row.root),
    });
    if let Some(result) = result.as_object_mut() {
        for (key, timing) in [("out_of_place", &row.out_of_place), ("in_place", &row.in_place)] {
            let times = json!({
                "time": timing.time_us,
                "alg_bw": timing.alg_bw,
                "bus_bw": timing.bus_bw,
                "nwrong": timing.wrong,
            });
            result.insert(key.to_owned(), times);
            if let Some(all) = &timing.iterations {
                result.insert(format!("{key}_per_iter"), iterations(all));
            }
        }
        result.insert("actual_iterations".to_owned(), flags.iters.into());
        result.insert("experiment_name".to_owned(), "".into());
    }
    result
}

fn iterations(all: &Iterations) -> Value {
    let micros = |times: &[f64]| times.iter().map(|time| time * 1e6).collect::<Vec<f64>>();
    let mut value = json!({
        "skipped_iterations": all.skipped,
        "min_us": all.min * 1e6,
        "max_us": all.max * 1e6,
        "avg_us": all.mean * 1e6,
        "p50_us": all.p50 * 1e6,
        "p95_us": all.p95 * 1e6,
        "p99_us": all.p99 * 1e6,
        "stdev_us": all.deviation * 1e6,
        "cv_pct": all.variation(),
        "times_us": micros(&all.times),
    });
    if let (Some(value), false) = (value.as_object_mut(), all.by_rank.is_empty()) {
        let by_rank: Vec<Vec<f64>> = all.by_rank.iter().map(|times| micros(times)).collect();
        value.insert("per_process_max_times_us".to_owned(), json!(by_rank));
    }
    value
}

/// Variables that steer the run, as NAME=VALUE; never one that looks like a secret.
fn environment(environment: &Environment) -> Vec<String> {
    const PREFIXES: [&str; 8] =
        ["NCCL_", "SRV6_", "JALAPENO_", "TOPOLOGY_", "ROUTE_", "BACKEND_", "DEST_FUNCTION", "MASTER_"];
    const NAMES: [&str; 3] = ["RANK", "WORLD_SIZE", "LD_LIBRARY_PATH"];
    const SECRETS: [&str; 7] = ["TOKEN", "KEY", "SECRET", "PASS", "CREDENTIAL", "AUTH", "COOKIE"];
    environment
        .iter()
        .filter(|(name, _)| NAMES.contains(name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|(name, _)| !SECRETS.iter().any(|secret| name.to_ascii_uppercase().contains(secret)))
        .map(|(name, value)| format!("{name}={}", without_login(value)))
        .collect()
}

/// A value without the `user:password@` of URLs in it, nor their queries, which carry keys too.
fn without_login(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find(['/', '?', '#', ',', ' ']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host =
        authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, host)| format!("***@{host}"));
    let after = match after.split_once('?') {
        Some((path, _)) => format!("{path}?***"),
        None => without_login(after),
    };
    format!("{scheme}://{host}{after}")
}

#[cfg(test)]
mod tests {
    use super::super::collective::Test;
    use super::super::flags::tests::parse;
    use super::super::report::Timing;
    use super::*;

    #[test]
    fn keys_and_order_are_those_of_nccl_tests() {
        let flags = parse(&["-b", "8", "-e", "8", "-c", "0", "-n", "2", "-I", "1"]).unwrap();
        let timing = Timing::new(Test::AllReduce, 8, 2, 1e-6);
        let iterations = Iterations::new(vec![vec![1e-6, 3e-6], vec![2e-6, 2e-6]], 0);
        let row = Row {
            size: 8,
            count: 2,
            data_type: "float",
            redop: "sum",
            root: -1,
            out_of_place: Timing { iterations, ..timing.clone() },
            in_place: Timing { wrong: Some(4), ..timing },
        };
        let line = RankLine { group: 0, pid: 7, host: "h".into(), device: 1, info: "SRv6 v12 eth1".into() };
        let error = Some("x".to_owned());
        let run = Run {
            start_time: "s".into(),
            end_time: "e".into(),
            arguments: vec!["srv6ctl".into()],
            environment: &[("NCCL_DEBUG", "INFO"), ("HOME", "/root")].into(),
            flags: &flags,
            ranks: &[line],
            rows: &[row],
            summary: &Summary { failed_checks: 1, average_bus_bw: 3.0, enough: None, error },
            ours: json!({}),
        };
        let document = run.document();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            keys(&document),
            [
                "version",
                "start_time",
                "args",
                "env",
                "nccl_version",
                "config",
                "results",
                "out_of_bounds",
                "average_bus_bandwidth",
                "errors",
                "end_time",
                "srv6ctl"
            ]
        );
        assert_eq!(
            keys(&document["config"])[..6],
            ["nthreads", "ngpus", "minimum_bytes", "maximum_bytes", "step_bytes", "warmup_iters"]
        );
        assert_eq!(document["config"]["per_iter_timing"], "true");
        let result = &document["results"][0];
        assert_eq!(
            keys(result),
            [
                "size",
                "count",
                "type",
                "redop",
                "root",
                "out_of_place",
                "out_of_place_per_iter",
                "in_place",
                "actual_iterations",
                "experiment_name"
            ]
        );
        assert_eq!(result["root"], "    -1");
        assert_eq!(result["out_of_place"]["nwrong"], Value::Null);
        assert_eq!(result["in_place"]["nwrong"], 4);
        assert_eq!(result["out_of_place_per_iter"]["times_us"], json!([2.0, 3.0]));
        assert_eq!(
            result["out_of_place_per_iter"]["per_process_max_times_us"],
            json!([[1.0, 3.0], [2.0, 2.0]])
        );
        assert_eq!(document["out_of_bounds"]["okay"], "false");
        assert_eq!(document["average_bus_bandwidth"]["okay"], "unchecked");
        assert_eq!(document["env"], json!(["NCCL_DEBUG=INFO"]));
        assert_eq!(document["errors"], json!(["x"]));
    }

    #[test]
    fn no_secret_leaves() {
        let variables = [
            ("JALAPENO_API_ENDPOINT", "http://me:pw@api:8000/x?key=1"),
            ("JALAPENO_API_TOKEN", "t"),
            ("NCCL_CONF_PASSWORD", "p"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("SRV6_POLICY", "spread"),
        ];
        assert_eq!(
            environment(&variables.into()),
            ["JALAPENO_API_ENDPOINT=http://***@api:8000/x?***", "SRV6_POLICY=spread"]
        );
        assert_eq!(without_login("http://a:b@c,http://d:e@f"), "http://***@c,http://***@f");
        assert_eq!(without_login("plain@text"), "plain@text");
    }

    #[test]
    fn existing_files_are_kept() {
        let folder = std::env::temp_dir().join(format!("srv6ctl-json-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names: Vec<PathBuf> = (0..3).map(|_| create(&folder.join("out.json")).unwrap().0).collect();
        assert_eq!(names, ["out.json", "out.json.0", "out.json.1"].map(|name| folder.join(name)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
