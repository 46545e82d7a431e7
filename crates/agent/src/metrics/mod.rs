//! Metrics in the OpenMetrics text format, made from a [`Snapshot`] when they are asked for.
//!
//! Nothing is counted twice: where a part of the agent counts, its count is what is shown.

mod fabric;
mod flows;
mod subflows;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use srv6_steer::Reason;

use crate::Snapshot;

/// One moment's metrics.
#[derive(Debug)]
pub struct Metrics {
    snapshot: Arc<Snapshot>,
    most_flows: usize,
}

impl Metrics {
    /// Of this snapshot; at most `most_flows` flows have series of their own.
    pub fn new(snapshot: Arc<Snapshot>, most_flows: usize) -> Self {
        Self { snapshot, most_flows }
    }

    /// Their text, `# EOF` at its end.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing into a string can't fail, and no metric here refuses to be written.
        let _written = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        agent(&self.snapshot, &mut page)?;
        source(&self.snapshot, &mut page)?;
        kernel(&self.snapshot, &mut page)?;
        hints(&self.snapshot, &mut page)?;
        fabric::encode(&self.snapshot, self.most_flows, &mut page)?;
        flows::encode(&self.snapshot, self.most_flows, &mut page)?;
        subflows::encode(&self.snapshot, self.most_flows, &mut page)
    }
}

/// Where metrics are written, a family at a time.
struct Page<'a>(DescriptorEncoder<'a>);

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Page<'_> {
    /// Values that go up and down. No value: no family.
    fn gauges<'v, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'v>, V)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            // A family of one without labels is written as it is.
            match labels.as_slice() {
                [] => family.encode_gauge(&value)?,
                labels => family.encode_family(&labels)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// Values that only grow; `_total` is added to the name.
    fn counters<'v, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'v>, V)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            type NoExemplar = [(&'static str, &'static str); 0];
            match labels.as_slice() {
                [] => family.encode_counter::<NoExemplar, V, u64>(&value, None)?,
                labels => {
                    family.encode_family(&labels)?.encode_counter::<NoExemplar, V, u64>(&value, None)?
                }
            }
        }
        Ok(())
    }

    fn gauge<V: EncodeGaugeValue>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        self.gauges(name, help, [(Labels::new(), value)])
    }

    fn counter<V: EncodeCounterValue>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        self.counters(name, help, [(Labels::new(), value)])
    }
}

fn agent(snapshot: &Snapshot, page: &mut Page<'_>) -> fmt::Result {
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("srv6d_build", "Always 1; the label says which srv6d this is", [(version, 1_u64)])?;
    page.gauge("srv6d_uptime_seconds", "Time since srv6d was started", snapshot.uptime.as_secs_f64())?;
    page.gauge("srv6d_sessions", "Processes that are attached", snapshot.sessions)?;
    page.gauge("srv6d_namespaces", "Network namespaces that are served", snapshot.namespaces.len())?;
    page.gauge(
        "srv6d_silent_namespaces",
        "Of those, how many steering threads did not answer in time",
        snapshot.silent().count(),
    )?;
    let moves = &snapshot.counts.moves;
    page.counters(
        "srv6d_moves",
        "Flows and lanes moved to another path, by reason",
        Reason::ALL.map(|reason| (vec![("reason", reason.name())], moves.get(&reason).copied().unwrap_or(0))),
    )
}

fn source(snapshot: &Snapshot, page: &mut Page<'_>) -> fmt::Result {
    let source = &snapshot.counts.source;
    page.counter("srv6d_fabric_reads", "Times the whole fabric was read", snapshot.topologies_read)?;
    page.counter(
        "srv6d_source_questions",
        "Questions to the path source, not those answered from memory",
        source.questions,
    )?;
    page.counter("srv6d_source_failures", "Questions without a usable answer", source.failures)?;
    page.counter(
        "srv6d_source_wait_seconds",
        "Time spent waiting for all answers together",
        source.waited.as_secs_f64(),
    )?;
    page.gauge(
        "srv6d_source_longest_seconds",
        "The longest wait for an answer so far",
        source.longest.as_secs_f64(),
    )
}

fn kernel(snapshot: &Snapshot, page: &mut Page<'_>) -> fmt::Result {
    page.counter(
        "srv6d_checks",
        "Comparisons of the kernel's routes with what is wanted",
        snapshot.counts.checks,
    )?;
    page.counter(
        "srv6d_repairs",
        "Routes that were missing or altered and were set right",
        snapshot.counts.repaired,
    )?;
    page.gauge(
        "srv6d_check_seconds",
        "How long the last comparison took, repairs included; of the slowest namespace",
        snapshot.reports().map(|(_, report)| report.last_check).max().unwrap_or_default().as_secs_f64(),
    )?;
    page.gauge(
        "srv6d_incomplete_namespaces",
        "Namespaces where something is missing that could not be put back yet",
        snapshot.reports().filter(|(_, report)| report.incomplete).count(),
    )
}

fn hints(snapshot: &Snapshot, page: &mut Page<'_>) -> fmt::Result {
    if let Some(hints) = &snapshot.hints {
        let set = hints.iter().filter(|(entry, _)| !entry.weights.is_empty()).count();
        page.gauge("srv6d_hint_slots", "Flows that have a slot for weights", hints.len())?;
        page.gauge("srv6d_hint_slots_set", "Of those, how many have weights", set)?;
    }
    if let Some(mpib) = &snapshot.mpib {
        let counts = mpib.counts;
        page.gauge("srv6d_mpib_slots", "Slots that MPIB's clients have, of 256", mpib.slots)?;
        let requests =
            [("registered", counts.registered), ("full", counts.full), ("refused", counts.refused)];
        page.counters(
            "srv6d_mpib_requests",
            "Registrations by MPIB's clients, and requests that were none, by outcome",
            requests.map(|(outcome, count)| (vec![("outcome", outcome)], count)),
        )?;
        page.counter("srv6d_mpib_forgotten", "Processes that ended without deregistering", counts.forgotten)?;
    }
    Ok(())
}
