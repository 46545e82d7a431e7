//! The rule `all`: every path between two hosts carries the same share.

use crate::count::{Counts, Shares, UNIT};
use crate::fabric::{Ends, Reach};
use crate::parallel;
use crate::{Fabric, Workload};

/// Pairs of hosts whose bytes meet the same switches in the same shares.
#[derive(Debug)]
struct Group {
    /// Of one of the pairs.
    ends: Ends,
    pairs: Vec<u32>,
}

/// All pairs, by the leaves and planes between which they send.
#[derive(Debug)]
pub(crate) struct Spray<'a> {
    fabric: &'a Fabric,
    workload: &'a Workload,
    groups: Vec<Group>,
}

impl<'a> Spray<'a> {
    pub(crate) fn new(fabric: &'a Fabric, workload: &'a Workload) -> Self {
        let leaves = fabric.clos().all_leaves();
        let ends = |pair: usize| {
            let flow = workload.pair(pair);
            fabric.ends(flow.source, flow.destination)
        };
        let mut keyed = parallel::map(
            workload.pairs(),
            || (),
            |(), pair| {
                let ends = ends(pair);
                #[expect(clippy::cast_possible_truncation, reason = "a workload has fewer than 2^32 pairs")]
                let pair = pair as u32;
                (ends.from * leaves + ends.to, fabric.ports(&ends), pair)
            },
        );
        keyed.sort_unstable();
        let groups = keyed.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter_map(|group| {
            let pairs: Vec<u32> = group.iter().map(|&(_, _, pair)| pair).collect();
            pairs.first().map(|&first| ends(first as usize)).map(|ends| Group { ends, pairs })
        });
        let groups = groups.collect();
        Self { fabric, workload, groups }
    }

    /// Adds what every link carries.
    pub(crate) fn count(&self, counts: &Counts) {
        let channels = self.workload.jobs().channels as u64;
        parallel::each(
            self.groups.len(),
            || (),
            |(), n| {
                let Group { ends, pairs } = &self.groups[n];
                self.switched(ends, UNIT * channels * pairs.len() as u64, |link, units| {
                    counts.add(link, units)
                });
                let layout = self.fabric.layout();
                for &pair in pairs {
                    let flow = self.workload.pair(pair as usize);
                    self.per_plane(ends, UNIT * channels, |plane, units| {
                        counts.add(layout.host_up(plane, flow.source), units);
                        counts.add(layout.host_down(plane, flow.destination), units);
                    });
                }
            },
        );
    }

    /// Load of the most loaded link that each pair uses; NaN for a pair without a path.
    pub(crate) fn worst(&self, loads: &[f32]) -> Vec<f32> {
        let layout = self.fabric.layout();
        let of_groups = parallel::map(
            self.groups.len(),
            || (),
            |(), n| {
                let mut worst = f32::NAN;
                self.switched(&self.groups[n].ends, UNIT, |link, _| worst = worst.max(loads[link]));
                worst
            },
        );
        let mut of_pairs = vec![f32::NAN; self.workload.pairs()];
        for (group, worst) in self.groups.iter().zip(of_groups) {
            for &pair in &group.pairs {
                let flow = self.workload.pair(pair as usize);
                let mut worst = worst;
                self.per_plane(&group.ends, UNIT, |plane, _| {
                    worst = worst.max(loads[layout.host_up(plane, flow.source)]);
                    worst = worst.max(loads[layout.host_down(plane, flow.destination)]);
                });
                of_pairs[pair as usize] = worst;
            }
        }
        of_pairs
    }

    fn per_plane(&self, ends: &Ends, total: u64, mut share: impl FnMut(usize, u64)) {
        let all = self.fabric.planes(ends).map(|plane| self.fabric.paths_in(ends, plane)).sum();
        let mut shares = Shares::new(total, all);
        for plane in self.fabric.planes(ends) {
            share(plane, shares.take(self.fabric.paths_in(ends, plane)));
        }
    }

    /// Shares of the links between switches.
    fn switched(&self, ends: &Ends, total: u64, mut link: impl FnMut(usize, u64)) {
        if ends.reach == Reach::Leaf {
            return;
        }
        let (clos, layout) = (self.fabric.clos(), self.fabric.layout());
        self.per_plane(ends, total, |plane, units| {
            let mut shares = Shares::new(units, self.fabric.paths_in(ends, plane));
            for spine in self.fabric.spines(ends, plane) {
                let cores = self.fabric.cores_over(ends, plane, spine);
                let units = shares.take(cores);
                link(layout.leaf_up(plane, ends.from) + spine, units);
                link(layout.leaf_down(plane, ends.to) + spine, units);
                if ends.reach == Reach::Core {
                    let mut shares = Shares::new(units, cores);
                    for nth in 0..cores {
                        let core = self.fabric.core(ends, plane, spine, nth);
                        let units = shares.take(1);
                        link(layout.core_up(plane, clos.pod_of(ends.from), spine) + core, units);
                        link(layout.core_down(plane, clos.pod_of(ends.to), spine) + core, units);
                    }
                }
            }
        });
    }
}
