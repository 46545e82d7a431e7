//! Work over numbers, on all CPUs.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Numbers that a thread takes at a time.
const BLOCK: usize = 2048;

/// Calls `work` with every number below `count`, in any order; each thread has a `scratch` of its own.
pub(crate) fn each<S>(count: usize, scratch: impl Fn() -> S + Sync, work: impl Fn(&mut S, usize) + Sync) {
    let next = AtomicUsize::new(0);
    on_all_cpus(count, || {
        let mut scratch = scratch();
        loop {
            let first = next.fetch_add(BLOCK, Ordering::Relaxed);
            if first >= count {
                return;
            }
            (first..count.min(first + BLOCK)).for_each(|n| work(&mut scratch, n));
        }
    });
}

/// The value of every number below `count`.
pub(crate) fn map<T: Clone + Default + Send, S>(
    count: usize,
    scratch: impl Fn() -> S + Sync,
    value: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let mut values = vec![T::default(); count];
    let blocks = Mutex::new(values.chunks_mut(BLOCK).enumerate());
    on_all_cpus(count, || {
        let mut scratch = scratch();
        loop {
            // A panic elsewhere is on its way to the caller; the iterator itself is whole.
            let block = blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, block)) = block else { return };
            for (i, slot) in block.iter_mut().enumerate() {
                *slot = value(&mut scratch, number * BLOCK + i);
            }
        }
    });
    values
}

fn on_all_cpus(count: usize, work: impl Fn() + Sync) {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cpus.min(count.div_ceil(BLOCK));
    if threads < 2 {
        return work();
    }
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(&work);
        });
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_number_has_its_turn_once() {
        for count in [0, 1, BLOCK, 3 * BLOCK + 7] {
            let sum = AtomicU64::new(0);
            each(
                count,
                || (),
                |(), n| {
                    sum.fetch_add(n as u64 + 1, Ordering::Relaxed);
                },
            );
            assert_eq!(sum.into_inner(), (count * (count + 1) / 2) as u64);
            assert!(map(count, || 3, |three, n| n * *three).into_iter().eq((0..count).map(|n| n * 3)));
        }
    }
}
