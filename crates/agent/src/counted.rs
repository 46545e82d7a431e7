//! Counts of namespaces that come and go, so that their sums only grow: one that shrinks is taken for a new start of the agent.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use srv6_steer::{Awaited, Moves, Place, Report, SourceReport};

use crate::probe::Probed;

/// What has been counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Moves by reason.
    pub moves: Moves,
    /// How the path source has answered.
    pub source: SourceReport,
    /// Comparisons of the kernel's routes with what is wanted.
    pub checks: u64,
    /// Routes that were set right.
    pub repaired: u64,
    /// Probes over each link.
    pub probes: BTreeMap<Place, Probed>,
}

/// The counts of all namespaces since the agent's start.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of namespaces that are served no more.
    over: Counts,
    /// As last known, by the number of the host.
    known: HashMap<u64, Counts>,
    /// Hosts that have just ended: their last words.
    parting: Vec<(Awaited<Report>, Counts)>,
}

impl Counts {
    fn take_report(&mut self, report: &Report) {
        self.moves.clone_from(&report.moves);
        (self.source, self.checks, self.repaired) = (report.source, report.checks, report.repaired);
    }

    fn add(&mut self, more: &Self) {
        for (reason, count) in &more.moves {
            *self.moves.entry(*reason).or_default() += count;
        }
        self.source = SourceReport {
            questions: self.source.questions + more.source.questions,
            failures: self.source.failures + more.source.failures,
            waited: self.source.waited + more.source.waited,
            longest: self.source.longest.max(more.source.longest),
        };
        self.checks += more.checks;
        self.repaired += more.repaired;
        for (link, probed) in &more.probes {
            self.probes.entry(link.clone()).or_default().add(*probed);
        }
    }
}

impl Counted {
    /// Takes what a host says now; without a report, its last one stays.
    pub(crate) fn note(&self, host: u64, report: Option<&Report>, probes: BTreeMap<Place, Probed>) {
        let mut state = self.0.lock();
        let known = state.known.entry(host).or_default();
        known.probes = probes;
        if let Some(report) = report {
            known.take_report(report);
        }
    }

    /// Keeps what a host has counted that ends now.
    pub(crate) fn leave(&self, host: u64, report: Awaited<Report>, probes: BTreeMap<Place, Probed>) {
        let mut state = self.0.lock();
        state.fold();
        let known = state.known.remove(&host).unwrap_or_default();
        state.parting.push((report, Counts { probes, ..known }));
    }

    /// Of all hosts that there have been.
    pub(crate) fn sum(&self) -> Counts {
        let mut state = self.0.lock();
        state.fold();
        let mut sum = state.over.clone();
        state.known.values().for_each(|known| sum.add(known));
        sum
    }
}

impl State {
    fn fold(&mut self) {
        for (report, mut counts) in std::mem::take(&mut self.parting) {
            // One that isn't there yet is as good as none: what is known already is kept.
            if let Some(report) = report.wait(Duration::ZERO) {
                counts.take_report(&report);
            }
            self.over.add(&counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use srv6_steer::Reason;

    use super::*;

    #[test]
    fn sums_keep_what_is_silent_and_what_has_ended() {
        let counted = Counted::default();
        let link = Place::link("leaf00", "spine00");
        let report = |checks| Report {
            checks,
            moves: Moves::from([(Reason::Bad, checks)]),
            source: SourceReport { questions: checks, ..SourceReport::default() },
            ..Report::default()
        };
        let probes = |sent| BTreeMap::from([(link.clone(), Probed { sent, lost: 1 })]);
        let seen = || {
            let sum = counted.sum();
            (sum.checks, sum.moves[&Reason::Bad], sum.source.questions, sum.probes[&link].sent)
        };
        counted.note(1, Some(&report(5)), probes(10));
        counted.note(2, Some(&report(7)), probes(20));
        assert_eq!(seen(), (12, 12, 12, 30));
        counted.note(2, None, probes(21));
        assert_eq!(seen(), (12, 12, 12, 31));
        let (last, word) = Awaited::channel();
        last.send(report(6)).unwrap();
        counted.leave(1, word, probes(11));
        assert_eq!(seen(), (13, 13, 13, 32));
        // Its steering thread ends without a word.
        counted.leave(2, Awaited::channel().1, probes(22));
        assert_eq!(seen(), (13, 13, 13, 33));
        counted.note(3, Some(&report(1)), probes(1));
        assert_eq!(seen(), (14, 14, 14, 34));
    }
}
