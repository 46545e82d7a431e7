//! Which slots and ways a connection takes when it is opened. Pure.

use srv6_fabric::{Path, least_shared};

use super::ways::{Way, Ways};

/// What a connection wants of the ways.
#[derive(Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) count: usize,
    pub(crate) start: usize,
    pub(crate) along: &'a [Vec<String>],
    /// The way that each slot leads over now, by slot; `None` where it is none of ours.
    pub(crate) present: &'a [Option<usize>],
}

/// What is known of a way when a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// It was seen dead a short while ago, and may have come back.
    Avoided,
    /// It is drained or bad: nothing is to go there before that is lifted.
    Denied,
}

/// The slot that a lane takes, and the way that its route is to lead over if it has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) slot: usize,
    pub(crate) way: usize,
}

/// The lanes of a connection while they are chosen, one by one.
pub(super) struct Choosing<'a> {
    ways: &'a Ways,
    demand: &'a Demand<'a>,
    /// What is known of each way.
    verdicts: Vec<Verdict>,
    /// The path that each slot leads over.
    paths: Vec<Path>,
    taken: Vec<Pick>,
}

impl<'a> Choosing<'a> {
    pub(super) fn new(ways: &'a Ways, demand: &'a Demand<'a>, verdict: impl Fn(&Way) -> Verdict) -> Self {
        let verdicts = (0..ways.len()).filter_map(|way| ways.get(way)).map(verdict).collect();
        let mut choosing = Self { ways, demand, verdicts, paths: Vec::new(), taken: Vec::new() };
        let paths = choosing.slots().filter_map(|slot| ways.paths.get(choosing.as_it_is(slot).way).cloned());
        choosing.paths = paths.collect();
        choosing
    }

    fn slots(&self) -> std::ops::Range<usize> {
        0..self.ways.len()
    }

    /// The way that a slot leads over, its own unless something else is known; `None` if that is none of ours.
    fn leads_over(&self, slot: usize) -> Option<usize> {
        self.demand.present.get(slot).copied().unwrap_or(Some(slot))
    }

    fn as_it_is(&self, slot: usize) -> Pick {
        Pick { slot, way: self.leads_over(slot).unwrap_or(slot) }
    }

    /// What is known of the way that a slot leads over.
    fn verdict(&self, slot: usize) -> Option<Verdict> {
        self.verdicts.get(self.leads_over(slot)?).copied()
    }

    fn is_good(&self, way: usize) -> bool {
        self.verdicts.get(way) == Some(&Verdict::Good)
    }

    fn uses(&self, slot: usize) -> usize {
        self.taken.iter().filter(|pick| pick.slot == slot).count()
    }

    /// A slot that leads over the peer's path, if that is good or nothing is.
    pub(super) fn along(&mut self, path: &[String]) -> Option<Pick> {
        let reverse = self.ways.reverse_of(path)?;
        if !self.is_good(reverse) && self.verdicts.contains(&Verdict::Good) {
            return None;
        }
        // The way's own slot goes first, as at the peer: one that stands in there is that of a later lane.
        let slots = || std::iter::once(reverse).chain(self.slots());
        let matching = || slots().filter(|&slot| self.leads_over(slot) == Some(reverse));
        let free = matching().find(|&slot| self.uses(slot) == 0);
        // The peer's lane may be there only as long as its own way is denied.
        let is_away = |slot: &usize| self.uses(*slot) == 0 && self.verdict(*slot) == Some(Verdict::Denied);
        let pick = free
            .map(|slot| self.as_it_is(slot))
            .or_else(|| self.slots().find(is_away).map(|slot| Pick { slot, way: reverse }))
            .or_else(|| matching().next().map(|slot| self.as_it_is(slot)))?;
        self.taken.push(pick);
        Some(pick)
    }

    /// The best slot for a lane that may go anywhere.
    pub(super) fn anywhere(&mut self) -> Option<Pick> {
        let rank = |slot: usize| match (self.verdict(slot), self.uses(slot)) {
            (Some(Verdict::Good), 0) => (0, 0),
            (Some(Verdict::Avoided), 0) => (1, 0),
            (Some(Verdict::Denied), 0) => (2, 0),
            (Some(Verdict::Good), uses) => (3, uses),
            (Some(_), uses) => (4, uses),
            (None, uses) => (5, uses),
        };
        let least = self.slots().map(rank).min();
        let taken: Vec<usize> = self.taken.iter().map(|pick| pick.slot).collect();
        let slot = least_shared(&self.paths, &taken, self.demand.start, |slot| Some(rank(slot)) == least)?;
        let mut pick = self.as_it_is(slot);
        if self.verdict(slot) == Some(Verdict::Denied) {
            pick.way = self.stand_in().unwrap_or(pick.way);
        }
        self.taken.push(pick);
        Some(pick)
    }

    /// The good way over which the fewest lanes go; of several, the one that shares least with theirs.
    fn stand_in(&self) -> Option<usize> {
        let uses = |way: usize| self.taken.iter().filter(|pick| pick.way == way).count();
        let fewest = self.slots().filter(|&way| self.is_good(way)).map(uses).min()?;
        let taken: Vec<usize> = self.taken.iter().map(|pick| pick.way).collect();
        let start = self.demand.start;
        least_shared(&self.ways.paths, &taken, start, |way| self.is_good(way) && uses(way) == fewest)
    }
}
