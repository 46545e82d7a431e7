//! One process per host, as a launcher would start them.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use srv6_lab::Lab;
use srv6_settings::FIELDS;

use super::Scene;

/// An all-reduce over some hosts of a lab.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// Name of its log files.
    pub(super) name: &'a str,
    /// Host of each rank, in ring order.
    pub(super) hosts: &'a [String],
    /// Arguments of `srv6ctl bench all-reduce`.
    pub(super) arguments: &'a [&'a str],
    /// The plugin's settings beside those that every job has.
    pub(super) settings: &'a [(&'a str, &'a str)],
}

/// The processes of a job. Those still running are killed on drop.
#[derive(Debug)]
pub(super) struct Ranks {
    name: String,
    children: Vec<Child>,
    started: Instant,
    pub(super) logs: Vec<PathBuf>,
    output: PathBuf,
}

/// A row of the benchmark's table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Bytes reduced.
    pub(super) size: u64,
    /// Out of place, in microseconds.
    pub(super) time_us: f64,
    /// Elements that were wrong, both ways.
    pub(super) wrong: u64,
}

/// No run of the demo takes this long unless something hangs.
const LIMIT: Duration = Duration::from_secs(180);

impl Ranks {
    pub(super) fn start(scene: &Scene, lab: &Lab, job: &Job<'_>) -> anyhow::Result<Self> {
        let first = job.hosts.first().context("a job without hosts")?;
        let master = lab.management_address(first)?.to_string();
        let output = scene.folder.join(format!("{}.out", job.name));
        let mut ranks = Self {
            name: job.name.to_owned(),
            children: Vec::new(),
            started: Instant::now(),
            logs: Vec::new(),
            output,
        };
        for (rank, host) in job.hosts.iter().enumerate() {
            let log = scene.folder.join(format!("{}.{rank}.log", job.name));
            let stderr = File::create(&log).with_context(|| format!("making {}", log.display()))?;
            let stdout = match rank {
                0 => Stdio::from(File::create(&ranks.output).context("making the output file")?),
                _ => Stdio::null(),
            };
            let program = scene.program.to_str().context("this program's path is not text")?;
            let mut command = lab.node(host)?.command(program);
            // What the user has exported for a job of his own must not meet the demo's settings.
            for name in FIELDS.iter().map(|field| field.name).chain(["NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS"])
            {
                command.env_remove(name);
            }
            // A flow per pair: what ECMP does with it is what the demo shows.
            command.args(["bench", "all-reduce", "--channels", "1", "--plugin"]);
            command.arg(&scene.plugin).args(job.arguments);
            command
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", job.hosts.len().to_string())
                .env("MASTER_ADDR", &master)
                .env("MASTER_PORT", "29500")
                .env("NCCL_SOCKET_IFNAME", "=eth1")
                .env("NCCL_SOCKET_FAMILY", "AF_INET6")
                .env("NCCL_DEBUG", "INFO")
                .env("SRV6_TRANSPORT", "multipath")
                .envs(job.settings.iter().copied())
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(stderr);
            let child = command.spawn().with_context(|| format!("starting rank {rank} in {host}"))?;
            ranks.children.push(child);
            ranks.logs.push(log);
        }
        Ok(ranks)
    }

    /// Waits for all ranks, calling `meanwhile` every few milliseconds, and reads the table.
    pub(super) fn finish(mut self, mut meanwhile: impl FnMut()) -> anyhow::Result<Vec<Row>> {
        loop {
            meanwhile();
            let mut running = 0;
            for (rank, child) in self.children.iter_mut().enumerate() {
                match child.try_wait().context("waiting for a rank")? {
                    None => running += 1,
                    Some(status) if status.success() => {}
                    Some(status) => {
                        let log = self.logs.get(rank).map(std::fs::read_to_string);
                        let log = log.and_then(Result::ok).unwrap_or_default();
                        let tail: Vec<&str> = log.lines().rev().take(8).collect();
                        let tail: Vec<&str> = tail.into_iter().rev().collect();
                        bail!("rank {rank} of {} ended with {status}:\n{}", self.name, tail.join("\n"));
                    }
                }
            }
            if running == 0 {
                break;
            }
            if self.started.elapsed() > LIMIT {
                bail!("{}: {running} ranks still run after {} s", self.name, LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = std::fs::read_to_string(&self.output).context("reading the benchmark's output")?;
        let rows: Vec<Row> = text.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect();
        if rows.is_empty() {
            bail!("{} printed no results:\n{text}", self.name);
        }
        match rows.iter().find(|row| row.wrong > 0) {
            Some(row) => bail!("{}: {} wrong elements at {} bytes", self.name, row.wrong, row.size),
            None => Ok(rows),
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in &mut self.children {
            // An error means that it has ended, which is what is wanted.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// `size count type redop root time algbw busbw #wrong time algbw busbw #wrong`, as nccl-tests prints it.
fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.split_whitespace().collect();
    let [size, _, _, _, _, time, _, _, wrong, .., wrong_in_place] = cells.as_slice() else { return None };
    Some(Row {
        size: size.parse().ok()?,
        time_us: time.parse().ok()?,
        wrong: wrong.parse::<u64>().ok()? + wrong_in_place.parse::<u64>().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_nccl_tests_writes_it() {
        let line = "     1048576        262144     float     sum      -1   412.70    2.54    2.54       0   412.70    2.54    2.54       3";
        let row = row(line).unwrap();
        assert_eq!((row.size, row.wrong), (1_048_576, 3));
        assert!((row.time_us - 412.7).abs() < 1e-9);
        assert!(super::row("").is_none());
    }
}
