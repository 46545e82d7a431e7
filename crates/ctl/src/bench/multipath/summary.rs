//! The headline of each experiment: the JSON object that is printed last.

use serde::Serialize;

use super::Results;
use crate::experiment::{Workload, statistics};

/// One number each; none where the experiment wasn't run.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Ring all-reduce over plain ECMP as a fraction of what the wire carries: median and worst of all trials.
    ecmp_median: Option<f64>,
    ecmp_min: Option<f64>,
    /// The same, each flow steered over one path; median.
    spread: Option<f64>,
    /// The same, each connection over four paths; median.
    multipath: Option<f64>,
    /// Throughput over iperf3's, 4 MiB messages and four streams.
    iperf3_ratio: Option<f64>,
    /// Processor seconds of both processes for each gigabyte of the same.
    cpu_s_per_gb: Option<f64>,
    /// Milliseconds from a failure until 90 % of the remaining capacity is used again: of the worst kind of failure.
    failover_ms_p50: Option<f64>,
    failover_ms_p99: Option<f64>,
    /// Bytes lost or wrong in all runs with failures.
    lost_bytes: Option<u64>,
    /// Multipath over the summed capacity of its paths, one of them at a quarter of the rate.
    unequal_fraction: Option<f64>,
    /// Milliseconds until a healed path carries its share again: of the worst kind of failure, median.
    heal_ms: Option<f64>,
}

impl Summary {
    pub(super) fn of(results: &Results) -> Self {
        let ring = |routing: &str| {
            results
                .shaped
                .as_ref()
                .map(|shaped| shaped.fractions(Workload::Ring, routing))
                .unwrap_or_default()
        };
        let (unshaped, failures) = (results.unshaped.as_ref(), results.failures.as_ref());
        Self {
            ecmp_median: statistics::median(&ring("ecmp")),
            ecmp_min: statistics::least(&ring("ecmp")),
            spread: statistics::median(&ring("spread")),
            multipath: statistics::median(&ring("multipath")),
            iperf3_ratio: unshaped.and_then(|unshaped| unshaped.headline_ratio()),
            cpu_s_per_gb: unshaped.and_then(|unshaped| unshaped.headline_cpu()),
            failover_ms_p50: failures.and_then(|failures| failures.worst_failover_ms(50)),
            failover_ms_p99: failures.and_then(|failures| failures.worst_failover_ms(99)),
            lost_bytes: failures.map(|failures| failures.lost_bytes()),
            unequal_fraction: results.unequal.as_ref().map(|unequal| unequal.fraction()),
            heal_ms: failures.and_then(|failures| failures.worst_heal_ms()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_these_keys_and_null_for_what_was_not_run() {
        let value = serde_json::to_value(Summary::of(&Results::default())).unwrap();
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let wanted = [
            "ecmp_median",
            "ecmp_min",
            "spread",
            "multipath",
            "iperf3_ratio",
            "cpu_s_per_gb",
            "failover_ms_p50",
            "failover_ms_p99",
            "lost_bytes",
            "unequal_fraction",
            "heal_ms",
        ];
        assert_eq!(keys, wanted);
        assert!(value.as_object().unwrap().values().all(serde_json::Value::is_null));
    }
}
