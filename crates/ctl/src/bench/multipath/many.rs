//! Many connections in one process: what they cost while nothing happens.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use srv6_lab::Pair;

use super::Bench;
use crate::experiment::{Crew, Net, Pattern, Settings, Until, Usage};
use crate::table;

/// One process's resources before and with its connections.
#[derive(Debug, Serialize)]
pub(super) struct Many {
    connections: usize,
    subflows: u32,
    connect_ms: f64,
    sender: Growth,
    receiver: Growth,
}

#[derive(Debug, Serialize)]
struct Growth {
    resident_before: u64,
    resident: u64,
    threads_before: u64,
    threads: u64,
    descriptors: u64,
    /// Processor time over wall time while nothing is sent.
    idle_cpu: f64,
}

const CONNECTIONS: usize = 64;
const SUBFLOWS: u32 = 4;
/// NCCL's own memory for each connection is not what is asked about: the smallest slots that hold a message.
const SLOT: usize = 4096;
const IDLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Many> {
    let pair = Pair::up(&bench.congestion).context("joining two hosts")?;
    let nodes: Vec<_> = pair.nodes().iter().collect();
    let mut crew = Crew::start(
        &bench.scene,
        Net::Plugin(&bench.plugin),
        "many",
        &nodes,
        &Settings::unsteered(SUBFLOWS),
    )?;
    let before = crew.usage()?;
    let took = crew.connect(&Pattern::Streams(vec![(0, 1); CONNECTIONS]), SLOT)?;
    // Every connection has carried something, as in a job that waits for its next step.
    crew.send(SLOT, Until::Messages(64), true, false, PATIENCE)?;
    let early = crew.usage()?;
    std::thread::sleep(IDLE);
    let late = crew.usage()?;
    crew.close()?;
    let growth = |rank: usize| -> anyhow::Result<Growth> {
        let of = |all: &[Usage]| all.get(rank).copied().context("a rank is missing");
        let (before, early, late) = (of(&before)?, of(&early)?, of(&late)?);
        Ok(Growth {
            resident_before: before.resident,
            resident: late.resident,
            threads_before: before.threads,
            threads: late.threads,
            descriptors: late.descriptors - before.descriptors,
            idle_cpu: (late.cpu - early.cpu) / IDLE.as_secs_f64(),
        })
    };
    Ok(Many {
        connections: CONNECTIONS,
        subflows: SUBFLOWS,
        connect_ms: took.as_secs_f64() * 1e3,
        sender: growth(0)?,
        receiver: growth(1)?,
    })
}

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings =
            ["", "RSS BEFORE (MiB)", "RSS (MiB)", "THREADS BEFORE", "THREADS", "DESCRIPTORS", "IDLE CPU (%)"];
        let mut shown = table::new(&headings);
        for (name, growth) in [("sender", &self.sender), ("receiver", &self.receiver)] {
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
            shown.add_row([
                name.to_owned(),
                mebibytes(growth.resident_before),
                mebibytes(growth.resident),
                growth.threads_before.to_string(),
                growth.threads.to_string(),
                growth.descriptors.to_string(),
                format!("{:.2}", growth.idle_cpu * 100.0),
            ]);
        }
        let Self { connections, subflows, connect_ms, .. } = self;
        write!(
            f,
            "{shown}\n{connections} connections of {subflows} subflows, connected in {connect_ms:.0} ms"
        )
    }
}
