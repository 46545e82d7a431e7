//! One all-reduce with a failure in its middle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use srv6_lab::{Fault, Lab, Loss};
use srv6_netdrive::monotonic;

use super::failures::REMAINING;
use crate::experiment::{Crew, Pattern, Reduced, Routing, Shaped, recovery};

/// What goes wrong, and is repaired later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailureKind {
    /// A spine forwards nothing any more, and no link goes down.
    SpineDies,
    /// A link between leaf and spine loses its carrier.
    LinkFlaps,
    /// A link between leaf and spine loses 5 % of its packets in one direction.
    PathLoses,
}

/// A run that is going to be.
pub(super) struct Run<'a> {
    pub(super) shaped: &'a Shaped,
    pub(super) kind: FailureKind,
}

/// What a run came to.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Outcome {
    /// Mbit/s of payload for each host before the failure.
    pub(super) before_mbps: f64,
    /// The same in the second half of the time between failure and repair.
    pub(super) after_mbps: f64,
    /// From the failure until 90 % of the remaining capacity is used; if that never happens, until the end.
    pub(super) failover_ms: f64,
    /// Longest time without a message on any rank that the failure began.
    pub(super) gap_ms: f64,
    /// From the repair until the path has most of its share again; if that never happens, as long as is waited for the job.
    pub(super) heal_ms: f64,
    /// Bytes of the results that are wrong or never came.
    pub(super) lost_bytes: u64,
    /// Why the all-reduce didn't end.
    pub(super) died: Option<String>,
    /// Seconds since the beginning when the failure and the repair happened.
    pub(super) failed_s: f64,
    pub(super) healed_s: f64,
    /// Mbit/s of payload for each host, in steps of 5 ms.
    #[serde(skip)]
    pub(super) trace: Vec<f64>,
    /// Times in seconds, and Mbit/s that the leaf sent up to each spine in the 50 ms before.
    #[serde(skip)]
    pub(super) paths: Vec<(f64, Vec<f64>)>,
}

const LEAF: &str = "leaf00";
const SPINE: &str = "spine01";
const LINK: &str = "leaf00-spine01";
const LOSS_PERCENT: f64 = 5.0;

/// Smaller than NCCL's, so that there is something to see in each 5 ms.
const SLOT: usize = 128 << 10;
/// Bytes reduced at 200 Mbit/s: four seconds.
const BYTES: usize = 48 << 20;

const FAILS_AFTER: Duration = Duration::from_secs(1);
/// Longer than [`HORIZON`] and any recovery that is to be called one: what the repair brings mustn't count.
const LASTS: Duration = Duration::from_secs(1);
/// What the ring may take to fill up.
const SETTLE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const TRACE_STEP: Duration = Duration::from_millis(5);
/// What is long enough to judge a throughput by: messages of eight ranks come in lumps.
const WINDOW: Duration = Duration::from_millis(40);
/// How long it has to stay so.
const HORIZON: Duration = Duration::from_millis(500);
const RECOVERED: f64 = 0.9;

/// Time between two looks at the spines' counters.
const SAMPLE: Duration = Duration::from_millis(10);
const SHARE_WINDOW: Duration = Duration::from_millis(100);
const SHOWN_WINDOW: Duration = Duration::from_millis(50);
/// Of its fourth.
const SHARE_BACK: f64 = 0.8 / 4.0;

/// Times and what the leaf has sent to each spine.
type Samples = Vec<(u64, Vec<u64>)>;

impl FailureKind {
    pub(super) const ALL: [Self; 3] = [Self::SpineDies, Self::LinkFlaps, Self::PathLoses];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SpineDies => "spine dies",
            Self::LinkFlaps => "link flaps",
            Self::PathLoses => "path loses 5 %",
        }
    }

    fn strike(self, lab: &Lab) -> anyhow::Result<()> {
        match self {
            Self::SpineDies => lab.fail(SPINE, Fault::Silent)?,
            Self::LinkFlaps => lab.fail(LINK, Fault::LinkDown)?,
            Self::PathLoses => lab.fail_one_way(LINK, LEAF, Fault::Lossy(Loss::percent(LOSS_PERCENT)?))?,
        }
        Ok(())
    }

    fn repair(self, lab: &Lab) -> anyhow::Result<()> {
        let target = match self {
            Self::SpineDies => SPINE,
            Self::LinkFlaps | Self::PathLoses => LINK,
        };
        Ok(lab.heal(target)?)
    }
}

impl Run<'_> {
    /// Connects, reduces, breaks and repairs. That a job dies is an outcome, not an error.
    pub(super) fn play(&self, crew: &mut Crew) -> anyhow::Result<Outcome> {
        crew.connect(&Pattern::Ring, SLOT)?;
        let bytes = BYTES / 200 * usize::try_from(self.shaped.mbps)? / 16 * 16;
        crew.prepare(bytes)?;
        let over = AtomicBool::new(false);
        let (run, samples) = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| sample(&self.shaped.lab, &over));
            let run = self.reduce(crew);
            over.store(true, Ordering::Release);
            (run, sampler.join())
        });
        let samples = match samples {
            Ok(samples) => samples.context("reading the leaf's counters")?,
            Err(payload) => std::panic::resume_unwind(payload),
        };
        let (failed, healed, reduced) = run?;
        let mut outcome = match reduced {
            Ok(reduced) => self.judge(&reduced, &samples, failed, healed),
            Err(error) => Outcome {
                failover_ms: milliseconds(PATIENCE),
                heal_ms: milliseconds(PATIENCE),
                lost_bytes: (bytes * self.shaped.world()) as u64,
                died: Some(format!("{error:#}")),
                ..Outcome::default()
            },
        };
        if outcome.died.is_none()
            && let Err(error) = crew.close()
        {
            outcome.died = Some(format!("{error:#}"));
        }
        Ok(outcome)
    }

    /// Gives the times of failure and repair, and what the ranks said.
    fn reduce(&self, crew: &mut Crew) -> anyhow::Result<(u64, u64, anyhow::Result<Reduced>)> {
        let lab = &self.shaped.lab;
        let began = crew.begin_reduce(1, true)?;
        sleep_until(began + nanoseconds(FAILS_AFTER));
        // Times are those before the change is made, which takes some milliseconds: what is measured is no shorter than
        // what a job sees.
        let failed = monotonic();
        self.kind.strike(lab).context("breaking the fabric")?;
        sleep_until(failed + nanoseconds(LASTS));
        let healed = monotonic();
        self.kind.repair(lab).context("repairing the fabric")?;
        Ok((failed, healed, crew.end_reduce(began, PATIENCE)))
    }

    fn judge(&self, reduced: &Reduced, samples: &Samples, failed: u64, healed: u64) -> Outcome {
        #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
        let world = self.shaped.world() as f64;
        let mbps = |rate: f64| rate / world * 8.0 / 1e6;
        let (began, arrivals) = (reduced.began, &reduced.arrivals);
        let end = arrivals.last().map_or(failed, |(at, _)| *at);
        let remaining = self.shaped.wire(&Routing::Multipath).bytes_per_s() * REMAINING * world;
        let back = recovery::time_to(arrivals, failed, end, WINDOW, HORIZON, RECOVERED * remaining);
        let back = back.unwrap_or(Duration::from_nanos(end - failed));
        let spine = SPINE_POSITION;
        Outcome {
            before_mbps: mbps(recovery::rate_between(arrivals, began + nanoseconds(SETTLE), failed)),
            after_mbps: mbps(recovery::rate_between(arrivals, u64::midpoint(failed, healed), healed)),
            failover_ms: milliseconds(back),
            gap_ms: milliseconds(recovery::longest_gap(arrivals, failed, healed)),
            heal_ms: milliseconds(
                recovery::share_back(samples, spine, healed, SHARE_WINDOW, SHARE_BACK).unwrap_or(PATIENCE),
            ),
            lost_bytes: reduced.wrong,
            died: None,
            failed_s: seconds(began, failed),
            healed_s: seconds(began, healed),
            trace: recovery::rates(arrivals, began, TRACE_STEP).into_iter().map(mbps).collect(),
            paths: path_rates(samples, began, end),
        }
    }
}

/// Position of [`SPINE`] in a sample.
const SPINE_POSITION: usize = 1;

/// Looks at what the leaf has sent to each spine until it is over.
fn sample(lab: &Lab, over: &AtomicBool) -> Result<Samples, srv6_lab::Error> {
    let mut samples = Samples::new();
    while !over.load(Ordering::Acquire) {
        let sent = lab.sent_by(LEAF)?;
        // By name, so in the order of the spines.
        let up = sent.into_iter().filter(|(to, _)| to.starts_with("spine")).map(|(_, bytes)| bytes);
        samples.push((monotonic(), up.collect()));
        std::thread::sleep(SAMPLE);
    }
    Ok(samples)
}

fn path_rates(samples: &Samples, began: u64, end: u64) -> Vec<(f64, Vec<f64>)> {
    let step = usize::try_from(SHOWN_WINDOW.as_millis() / SAMPLE.as_millis()).unwrap_or(1);
    let pairs = samples.iter().zip(samples.iter().skip(step));
    pairs
        .filter(|((early, _), (late, _))| *early >= began && *late <= end)
        .map(|((early, then), (late, now))| {
            let time = seconds(*early, *late);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let rate = |(now, then): (&u64, &u64)| now.saturating_sub(*then) as f64 * 8.0 / 1e6 / time;
            (seconds(began, *late), now.iter().zip(then).map(rate).collect())
        })
        .collect()
}

fn sleep_until(time: u64) {
    std::thread::sleep(Duration::from_nanos(time.saturating_sub(monotonic())));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn seconds(began: u64, at: u64) -> f64 {
    Duration::from_nanos(at.saturating_sub(began)).as_secs_f64()
}
