//! The rule `load`: one connection after the other takes what is least loaded by then.

use crate::fabric::Reach;
use crate::workload::Workload;
use crate::{Fabric, Path};

/// More than any real load, and few enough that the six links of a path don't overflow.
const DEAD: u32 = 1 << 28;

/// Paths of every pair of hosts that has a connection, as one number each; see [`Stored`].
#[derive(Debug)]
pub(crate) struct Stored {
    paths: Vec<u32>,
    per_pair: usize,
}

/// Where a pair has no path.
const NONE: u32 = u32::MAX;

impl Stored {
    /// Pairs in the workload's order take `per_pair` paths each: always the one whose links together have the smallest
    /// number of paths so far, the first of several.
    pub(crate) fn greedy(fabric: &Fabric, workload: &Workload, per_pair: usize) -> Self {
        let mut loads = vec![0u32; fabric.links()];
        if !fabric.is_whole() {
            mark_dead(fabric, &mut loads);
        }
        let mut paths = Vec::with_capacity(workload.pairs() * per_pair);
        for pair in 0..workload.pairs() {
            let flow = workload.pair(pair);
            let ends = fabric.ends(flow.source, flow.destination);
            for _ in 0..per_pair {
                let (sum, path) = least(fabric, &loads, &ends);
                if sum >= DEAD {
                    paths.push(NONE);
                    continue;
                }
                fabric.travel(&ends, path, |link| loads[link] += 1);
                paths.push(pack(fabric, path));
            }
        }
        Self { paths, per_pair }
    }

    /// Paths of a pair.
    pub(crate) fn of(&self, fabric: &Fabric, pair: usize) -> impl Iterator<Item = Path> {
        let packed = &self.paths[pair * self.per_pair..(pair + 1) * self.per_pair];
        packed.iter().filter(|&&packed| packed != NONE).map(|&packed| unpack(fabric, packed))
    }
}

fn least(fabric: &Fabric, loads: &[u32], ends: &crate::fabric::Ends) -> (u32, Path) {
    let (clos, layout) = (fabric.clos(), fabric.layout());
    let row = |first: usize, length: usize| &loads[first..first + length];
    let mut best = (u32::MAX, Path { plane: 0, spine: 0, core: 0 });
    for plane in 0..clos.planes {
        let ports =
            loads[layout.host_up(plane, ends.source)] + loads[layout.host_down(plane, ends.destination)];
        if ports >= best.0 {
            continue;
        }
        if ends.reach == Reach::Leaf {
            best = (ports, Path { plane, spine: 0, core: 0 });
            continue;
        }
        let up = row(layout.leaf_up(plane, ends.from), clos.spines);
        let down = row(layout.leaf_down(plane, ends.to), clos.spines);
        if ends.reach == Reach::Spine {
            let (sum, spine) = smallest(up, down);
            if ports + sum < best.0 {
                best = (ports + sum, Path { plane, spine, core: 0 });
            }
            continue;
        }
        for (spine, (up, down)) in up.iter().zip(down).enumerate() {
            let below = ports + up + down;
            if below >= best.0 {
                continue;
            }
            let rise = row(layout.core_up(plane, clos.pod_of(ends.from), spine), clos.cores);
            let fall = row(layout.core_down(plane, clos.pod_of(ends.to), spine), clos.cores);
            let (sum, core) = smallest(rise, fall);
            if below + sum < best.0 {
                best = (below + sum, Path { plane, spine, core });
            }
        }
    }
    best
}

/// Smallest sum of two rows, and where it is first. In two passes, since the first one is done many at a time.
fn smallest(a: &[u32], b: &[u32]) -> (u32, usize) {
    let least = a.iter().zip(b).map(|(a, b)| a + b).fold(u32::MAX, u32::min);
    (least, a.iter().zip(b).position(|(a, b)| a + b == least).unwrap_or(0))
}

fn mark_dead(fabric: &Fabric, loads: &mut [u32]) {
    for (number, load) in loads.iter_mut().enumerate() {
        if !fabric.is_alive(number) {
            *load = DEAD;
        }
    }
}

fn pack(fabric: &Fabric, path: Path) -> u32 {
    let clos = fabric.clos();
    let number = (path.plane * clos.spines + path.spine) * clos.cores.max(1) + path.core;
    #[expect(clippy::cast_possible_truncation, reason = "64 planes x 4096 spines x 4096 cores are 2^30")]
    let packed = number as u32;
    packed
}

fn unpack(fabric: &Fabric, packed: u32) -> Path {
    let (clos, packed) = (fabric.clos(), packed as usize);
    let cores = clos.cores.max(1);
    let (row, core) = (packed / cores, packed % cores);
    Path { plane: row / clos.spines, spine: row % clos.spines, core }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clos, preset};

    #[test]
    fn a_path_survives_being_stored() {
        let clos = Clos { planes: 3, ..preset("fat-tree-1024").unwrap() };
        let fabric = Fabric::new(clos).unwrap();
        for index in 0..clos.most_paths() {
            let path = fabric.path(0, 1000, index).unwrap();
            assert_eq!(unpack(&fabric, pack(&fabric, path)), path);
        }
    }

    #[test]
    fn the_first_smallest_sum_is_found() {
        assert_eq!(smallest(&[3, 1, 2, 0], &[0, 1, 0, 2]), (2, 1));
    }
}
