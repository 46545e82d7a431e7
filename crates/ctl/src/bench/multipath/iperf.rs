//! iperf3 between two hosts: a server that stays, and a client for each test.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use srv6_lab::Pair;

/// A server that runs; ended when dropped.
#[derive(Debug)]
pub(super) struct Iperf<'a> {
    pair: &'a Pair,
    server: Child,
}

/// What one test came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    pub(super) gbit_s: f64,
    pub(super) gigabytes: f64,
    /// Of client and server, user and system.
    pub(super) cpu_s_per_gb: f64,
}

/// The most that iperf3 writes at once.
const LARGEST: usize = 1 << 20;

/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

impl<'a> Iperf<'a> {
    /// Starts the server on the right host and waits until it answers.
    pub(super) fn start(pair: &'a Pair) -> anyhow::Result<Self> {
        let [_, right] = pair.nodes();
        let server = right
            .command("iperf3")
            .args(["--server", "--forceflush"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't run iperf3: install it (Debian package iperf3)")?;
        let iperf = Self { pair, server };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match iperf.run(1, LARGEST) {
                Ok(_) => return Ok(iperf),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("waiting for iperf3's server"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Name and version.
    pub(super) fn version(&self) -> anyhow::Result<String> {
        let [left, _] = self.pair.nodes();
        let said = left.sh("iperf3 --version")?;
        let words: Vec<&str> = said.split_whitespace().take(2).collect();
        Ok(words.join(" "))
    }

    /// Sends over so many connections in writes of `size`, as far as iperf3 can; the second second counts, when windows are open.
    pub(super) fn run(&self, streams: u32, size: usize) -> anyhow::Result<Outcome> {
        let [left, _] = self.pair.nodes();
        let [_, address] = Pair::ADDRESSES;
        let output = left
            .command("iperf3")
            .args(["--client", &address.to_string(), "--time", "1", "--omit", "1", "--json"])
            .args(["--parallel", &streams.to_string(), "--length", &size.min(LARGEST).to_string()])
            .stdin(Stdio::null())
            .output()
            .context("can't run iperf3: install it (Debian package iperf3)")?;
        let document: Value = serde_json::from_slice(&output.stdout).context("reading what iperf3 said")?;
        if let Some(error) = document.get("error").and_then(Value::as_str) {
            bail!("iperf3: {error}");
        }
        read(&document).context("iperf3 said no sums")
    }
}

/// Its `end` has sums of all streams, and processor use in percent of the test's time.
fn read(document: &Value) -> Option<Outcome> {
    let end = document.get("end")?;
    let received = end.get("sum_received")?;
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64);
    let gigabytes = number(received, "bytes")? / 1e9;
    let use_ = end.get("cpu_utilization_percent")?;
    let percent = number(use_, "host_total")? + number(use_, "remote_total")?;
    let seconds = number(received, "seconds")?;
    Some(Outcome {
        gbit_s: number(received, "bits_per_second")? / 1e9,
        gigabytes,
        cpu_s_per_gb: percent / 100.0 * seconds / gigabytes,
    })
}

impl Drop for Iperf<'_> {
    fn drop(&mut self) {
        // An error means that it has ended, which is what is wanted.
        let _ended = self.server.kill();
        let _status = self.server.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_iperf3_writes_them() {
        let document = serde_json::json!({"end": {
            "sum_received": {"seconds": 2.0, "bytes": 4_000_000_000_u64, "bits_per_second": 16e9},
            "cpu_utilization_percent": {"host_total": 60.0, "remote_total": 90.0},
        }});
        let outcome = read(&document).unwrap();
        // 1.5 processors for two seconds, for 4 GB.
        assert!((outcome.cpu_s_per_gb - 0.75).abs() < 1e-12, "{outcome:?}");
        assert!((outcome.gbit_s - 16.0).abs() < 1e-12 && (outcome.gigabytes - 4.0).abs() < 1e-12);
        assert_eq!(read(&serde_json::json!({"end": {}})), None);
    }
}
