//! Several paths of one flow at once: those that share as little as the fabric allows.

use crate::{Path, VertexIndex};

/// Picks `count` of the equal-cost `paths`, each sharing as little as possible with those before it.
///
/// Gives positions in `paths`. The first is `start` modulo their number, and of equally good ones the next behind it is
/// taken, so that flows with different starts divide the fabric among them. Links between switches count
/// first, then switches, then the hosts' own links. Where there are fewer paths than `count` it goes around again. Empty only
/// for no paths or a `count` of 0.
pub fn disjoint(paths: &[Path], count: usize, start: usize) -> Vec<usize> {
    let mut picked = Vec::with_capacity(count.min(paths.len()));
    while picked.len() < count.min(paths.len()) {
        match least_shared(paths, &picked, start, |i| !picked.contains(&i)) {
            Some(next) => picked.push(next),
            None => break,
        }
    }
    picked.iter().copied().cycle().take(if picked.is_empty() { 0 } else { count }).collect()
}

/// The path that shares least with those `taken`, of equally good ones the first from `start` on.
///
/// Takes and gives positions in `paths`. `None` where `usable` approves of none.
pub fn least_shared(
    paths: &[Path],
    taken: &[usize],
    start: usize,
    usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    let taken: Vec<&Path> = taken.iter().filter_map(|&i| paths.get(i)).collect();
    around(paths.len(), start)
        .filter(|&i| usable(i))
        .filter_map(|i| Some((shared_with_all(paths.get(i)?, &taken), i)))
        // The first of several least ones.
        .min_by_key(|&(shared, _)| shared)
        .map(|(_, i)| i)
}

/// The path that best stands in for a `lost` one beside `others` that stay in use.
///
/// What shares least with the others goes first, then what keeps to the lost one's first and last switch (its plane), then
/// what shares least with the lost one. Takes and gives positions in `paths`; never `lost` itself.
pub fn replacement(
    paths: &[Path],
    lost: usize,
    others: &[usize],
    usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    let others: Vec<&Path> = others.iter().filter_map(|&i| paths.get(i)).collect();
    let gone = paths.get(lost)?;
    around(paths.len(), lost)
        .filter(|&i| i != lost && usable(i))
        .filter_map(|i| {
            let path = paths.get(i)?;
            Some((
                (
                    shared_with_all(path, &others),
                    edge_switches(path) != edge_switches(gone),
                    shared(path, gone),
                ),
                i,
            ))
        })
        .min_by_key(|&(cost, _)| cost)
        .map(|(_, i)| i)
}

/// Sorts paths so that both ends of a pair come to the same order, each for its own direction.
///
/// A path and its reverse get the same position, in a fabric of any number of tiers, provided that both ends know the
/// same paths.
pub fn sort_for_both_ends(paths: &mut [Path]) {
    paths.sort_by_cached_key(|path| {
        let switches = path.switches().to_vec();
        let mut back = switches.clone();
        back.reverse();
        let mut whole = path.vertices.clone();
        if whole.first() > whole.last() {
            whole.reverse();
        }
        (switches.min(back), whole)
    });
}

fn around(count: usize, start: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |i| (start % count + i) % count)
}

/// What two paths have in common, the worse first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    links: usize,
    switches: usize,
    host_links: usize,
}

fn shared_with_all(path: &Path, others: &[&Path]) -> Shared {
    others.iter().fold(Shared::default(), |sum, other| {
        let more = shared(path, other);
        Shared {
            links: sum.links + more.links,
            switches: sum.switches + more.switches,
            host_links: sum.host_links + more.host_links,
        }
    })
}

fn shared(one: &Path, other: &Path) -> Shared {
    let links = |path: &[VertexIndex], others: &[VertexIndex]| {
        path.windows(2).filter(|link| others.windows(2).any(|o| o == *link)).count()
    };
    let inner = links(one.switches(), other.switches());
    Shared {
        links: inner,
        switches: one.switches().iter().filter(|s| other.switches().contains(s)).count(),
        host_links: links(&one.vertices, &other.vertices) - inner,
    }
}

fn edge_switches(path: &Path) -> (Option<VertexIndex>, Option<VertexIndex>) {
    (path.switches().first().copied(), path.switches().last().copied())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(vertices: &[usize]) -> Path {
        Path { vertices: vertices.iter().map(|&v| VertexIndex(v)).collect() }
    }

    /// Paths of two hosts (0 and 1) on leaves 2 and 3 over `spines` spines.
    fn two_tiers(spines: usize) -> Vec<Path> {
        (0..spines).map(|s| path(&[0, 2, 10 + s, 3, 1])).collect()
    }

    /// Paths of two pods: `aggregations` per pod, each with `cores` cores of its own.
    fn three_tiers(aggregations: usize, cores: usize) -> Vec<Path> {
        let core = |a: usize| (0..cores).map(move |c| (a, 200 + a * cores + c));
        (0..aggregations).flat_map(core).map(|(a, c)| path(&[0, 2, 20 + a, c, 40 + a, 3, 1])).collect()
    }

    #[test]
    fn in_three_tiers_it_goes_to_another_aggregation_switch_first() {
        let paths = three_tiers(3, 2);
        assert_eq!(disjoint(&paths, 3, 0), [0, 2, 4]);
        assert_eq!(disjoint(&paths, 4, 3), [3, 4, 0, 5], "the fourth can't help sharing");
        assert_eq!(disjoint(&paths, 8, 0), [0, 2, 4, 1, 3, 5, 0, 2]);
    }

    #[test]
    fn a_lost_path_is_replaced_beside_the_others() {
        let paths = three_tiers(3, 2);
        // 0 is lost while 2 is in use: of aggregation switches 0 and 2, the one that isn't on the lost path.
        assert_eq!(replacement(&paths, 0, &[2], |_| true), Some(4));
        assert_eq!(replacement(&paths, 0, &[2, 4], |_| true), Some(1));
        assert_eq!(replacement(&paths, 0, &[2], |i| i == 3), Some(3));
        assert_eq!(replacement(&paths, 0, &[2], |_| false), None);
        assert_eq!(replacement(&paths[..1], 0, &[], |_| true), None);
        // Two planes, a leaf each: the same plane goes before the other, once both are free.
        let planes = [
            path(&[0, 2, 10, 3, 1]),
            path(&[0, 4, 12, 5, 1]),
            path(&[0, 4, 13, 5, 1]),
            path(&[0, 2, 11, 3, 1]),
        ];
        assert_eq!(replacement(&planes, 0, &[], |_| true), Some(3));
        assert_eq!(replacement(&planes, 1, &[3], |_| true), Some(2));
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(disjoint(&[], 4, 3), Vec::<usize>::new());
        assert_eq!(disjoint(&two_tiers(3), 0, 1), Vec::<usize>::new());
        assert_eq!(disjoint(&two_tiers(1), 3, usize::MAX), [0, 0, 0]);
    }

    proptest! {
        #[test]
        fn over_spines_it_counts_on_from_the_start(spines in 1usize..40, count in 1usize..40, start in any::<usize>()) {
            let picked = disjoint(&two_tiers(spines), count, start);
            let want: Vec<usize> = (0..count).map(|i| (start % spines + i) % spines).collect();
            prop_assert_eq!(picked, want);
        }

        #[test]
        fn what_can_be_apart_is_apart(aggregations in 1usize..6, cores in 1usize..6, start in 0usize..64) {
            let paths = three_tiers(aggregations, cores);
            let picked = disjoint(&paths, paths.len(), start);
            let mut sorted = picked.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..paths.len()).collect::<Vec<_>>(), "each once before any twice");
            for (n, &one) in picked[..aggregations].iter().enumerate() {
                for &other in &picked[..n] {
                    prop_assert_eq!(shared(&paths[one], &paths[other]).links, 0);
                }
            }
        }

        #[test]
        fn both_ends_agree_on_the_order(
            middles in prop::collection::hash_set(prop::collection::vec(2usize..9, 1..4), 1..20),
            shuffle in any::<u64>(),
        ) {
            let mut there: Vec<Path> =
                middles.iter().map(|m| path(&[&[0], m.as_slice(), &[1]].concat())).collect();
            let mut back: Vec<Path> = there
                .iter()
                .map(|p| Path { vertices: p.vertices.iter().rev().copied().collect() })
                .collect();
            let turn = usize::try_from(shuffle % there.len() as u64).unwrap();
            back.rotate_left(turn);
            sort_for_both_ends(&mut there);
            sort_for_both_ends(&mut back);
            for (one, other) in there.iter().zip(&back) {
                prop_assert!(one.vertices.iter().eq(other.vertices.iter().rev()), "{one:?} {other:?}");
            }
        }
    }
}
