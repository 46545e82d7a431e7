//! The JSON file of nccl-tests 2.19 (schema version 3).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::all_reduce::Flags;
use super::report::{RankLine, Row, Summary, Timing};
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
            "blocking_collectives": false,
            "per_iter_timing": false,
            "per_iter_skip": 0,
            "parallel_init": false,
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
            "out_of_bounds": { "count": summary.wrong, "okay": summary.wrong == 0 },
            "average_bus_bandwidth": {
                "bandwidth": summary.average_bus_bw,
                "okay": summary.enough.map_or_else(|| "unchecked".into(), Value::Bool),
            },
            "errors": summary.error.iter().collect::<Vec<_>>(),
            "end_time": self.end_time,
            "srv6ctl": self.ours,
        })
    }
}

/// Creates the file; if there is one of this name, one with a number in its name.
pub(super) fn create(path: &Path) -> anyhow::Result<(PathBuf, File)> {
    for number in 0..10_000 {
        let candidate = numbered(path, number);
        match File::create_new(&candidate) {
            Ok(file) => return Ok((candidate, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("creating {}", candidate.display())),
        }
    }
    anyhow::bail!("{} and 9999 more of its kind exist", path.display())
}

pub(super) fn write(file: &mut File, document: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document).context("writing JSON")?;
    writeln!(file, "{text}").context("writing the JSON file")
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}_{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}_{number}"),
    };
    path.with_file_name(name)
}

fn device(rank: usize, line: &RankLine) -> Value {
    json!({
        "rank": rank,
        "group": 0,
        "pid": line.pid,
        "hostname": line.host,
        "device": line.device,
        "device_hex": format!("{:#04x}", line.device),
        "device_info": format!("host memory, {}", line.info),
    })
}

fn result(row: &Row, flags: &Flags) -> Value {
    let timing = |timing: &Timing| {
        json!({
            "time": timing.time_us,
            "alg_bw": timing.alg_bw,
            "bus_bw": timing.bus_bw,
            "nwrong": timing.wrong,
        })
    };
    json!({
        "size": row.size,
        "count": row.count,
        "type": "float",
        "redop": "sum",
        "root": "    -1",
        "out_of_place": timing(&row.out_of_place),
        "in_place": timing(&row.in_place),
        "actual_iterations": flags.iters,
        "experiment_name": "",
    })
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
    use super::super::sizes::Sizes;
    use super::*;

    #[test]
    fn keys_and_order_are_those_of_nccl_tests() {
        let flags = Flags {
            sizes: Sizes { min: 8, max: 8, step: 1 << 20, factor: 1 },
            iters: 20,
            warmup_iters: 1,
            agg_iters: 1,
            check: 0,
            cycles: 1,
        };
        let timing = Timing { time_us: 1.5, alg_bw: 2.0, bus_bw: 3.0, wrong: None };
        let row =
            Row { size: 8, count: 2, out_of_place: timing, in_place: Timing { wrong: Some(4), ..timing } };
        let run = Run {
            start_time: "s".into(),
            end_time: "e".into(),
            arguments: vec!["srv6ctl".into()],
            environment: &[("NCCL_DEBUG", "INFO"), ("HOME", "/root")].into(),
            flags: &flags,
            ranks: &[RankLine { pid: 7, host: "h".into(), device: 1, info: "SRv6".into() }],
            rows: &[row],
            summary: &Summary { wrong: 4, average_bus_bw: 3.0, enough: None, error: Some("x".into()) },
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
        assert_eq!(document["config"]["devices"][0]["device_hex"], "0x01");
        assert_eq!(document["results"][0]["root"], "    -1");
        assert_eq!(document["results"][0]["out_of_place"]["nwrong"], Value::Null);
        assert_eq!(document["results"][0]["in_place"]["nwrong"], 4);
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
        assert_eq!(names, ["out.json", "out_1.json", "out_2.json"].map(|name| folder.join(name)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
