//! What the whole machine did meanwhile, as /proc/stat counts it.

use anyhow::Context;
use serde::Serialize;

/// Processor time of the machine since boot, in ticks of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineTime {
    idle: u64,
    softirq: u64,
    all: u64,
}

/// What a machine did between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Load {
    /// Share of the processors' time that was idle.
    pub(crate) idle: f64,
    /// Processor seconds that weren't.
    pub(crate) busy_s: f64,
    /// Of these, in soft interrupts: packets under way, which no process is charged for.
    pub(crate) softirq_s: f64,
}

/// USER_HZ: what the kernel counts in for user space, on every architecture (proc_stat(5)).
const TICKS: f64 = 100.0;

impl MachineTime {
    /// Reads the counters.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        Self::parse(&text).context("/proc/stat has no line of all processors")
    }

    /// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are in user and nice already.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|f| f.parse().ok()).collect();
        let &[_, _, _, idle, iowait, _, softirq, _] = fields.as_slice() else { return None };
        Some(Self { idle: idle + iowait, softirq, all: fields.iter().sum() })
    }

    /// What was done since an earlier reading.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a run are few")]
    pub(crate) fn since(self, earlier: Self) -> Load {
        let all = self.all.saturating_sub(earlier.all);
        let idle = self.idle.saturating_sub(earlier.idle);
        Load {
            idle: idle as f64 / all.max(1) as f64,
            busy_s: all.saturating_sub(idle) as f64 / TICKS,
            softirq_s: self.softirq.saturating_sub(earlier.softirq) as f64 / TICKS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_readings() {
        let early = MachineTime::parse("cpu  100 0 100 1000 0 0 50 0 7 0\ncpu0 1 2 3").unwrap();
        let late = MachineTime::parse("cpu  150 0 120 1100 10 0 70 0 99 0\n").unwrap();
        // 200 ticks, of which 110 idle and 20 in soft interrupts.
        let load = late.since(early);
        assert!((load.idle - 0.55).abs() < 1e-12, "{load:?}");
        assert!((load.busy_s - 0.9).abs() < 1e-12 && (load.softirq_s - 0.2).abs() < 1e-12, "{load:?}");
        assert_eq!(MachineTime::parse("intr 5"), None);
        assert_eq!(MachineTime::parse("cpu  1 2 3"), None);
        MachineTime::now().unwrap();
    }
}
