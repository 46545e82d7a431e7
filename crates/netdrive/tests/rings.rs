//! Rings of several ranks in one process through the contract-checking net.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

mod local;
mod strict;

use std::path::Path;

use local::{Local, LocalRank};
use srv6_netdrive::{Driver, DriverOptions, Error, NetSource, Ring, RingOptions};

/// Runs `body` as each rank of a ring, on a thread of its own.
fn ranks<T: Send>(path: &Path, options: &RingOptions, body: impl Fn(usize, Ring) -> T + Sync) -> Vec<T> {
    let local = Local::new(options.world);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.world)
            .map(|rank| {
                let (local, body) = (&local, &body);
                scope.spawn(move || {
                    let source = NetSource::Plugin { path: path.to_owned(), version: None, nccl: None };
                    let driver = Driver::load(&source, &DriverOptions::default()).unwrap();
                    let options = RingOptions { rank, ..options.clone() };
                    let ring = Ring::connect(&driver, &options, &LocalRank(local, rank)).unwrap();
                    body(rank, ring)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn value(rank: usize, at: usize) -> f32 {
    ((at * 31 + rank * 17) % 251) as f32
}

fn check_sums(path: &Path, options: &RingOptions) {
    ranks(path, options, |rank, mut ring| {
        for count in [1, 7, 64, 1003] {
            let input: Vec<f32> = (0..count).map(|at| value(rank, at)).collect();
            let sums: Vec<f32> =
                (0..count).map(|at| (0..options.world).map(|rank| value(rank, at)).sum()).collect();
            let mut output = vec![f32::NAN; count];
            ring.all_reduce(&input, &mut output, 3).unwrap();
            assert_eq!(output, sums, "{options:?}, {count}");
            let mut data = input.clone();
            ring.all_reduce_in_place(&mut data, 1).unwrap();
            assert_eq!(data, sums, "{options:?}, {count} in place");
            ring.all_reduce_in_place(&mut data, 2).unwrap();
            let again = (options.world * options.world) as f32;
            assert!(data.iter().zip(&sums).all(|(data, sum)| *data == sum * again), "{options:?}, {count}");
        }
        // Nothing to do is no error.
        ring.all_reduce(&[], &mut [], 5).unwrap();
        ring.all_reduce(&[1.0], &mut [0.0], 0).unwrap();
        ring.close().unwrap();
    });
}

#[test]
fn sums_are_right_for_all_shapes_in_three_versions() {
    for version in [6, 8, 12] {
        let path = strict::plugin(&[version], &[]);
        for world in 1..=4 {
            for channels in [1, 3] {
                check_sums(&path, &RingOptions { world, channels, slot_bytes: 64, ..RingOptions::default() });
            }
        }
    }
}

#[test]
fn channels_share_comms_as_far_as_receives_can_be_grouped() {
    for version in [6, 8, 12] {
        let path = strict::plugin(&[version], &["MAX_RECVS=4"]);
        for (channels, connections) in [(3, 1), (4, 1), (6, 2)] {
            let options = RingOptions {
                world: 3,
                channels,
                slot_bytes: 64,
                shared_comms: true,
                ..RingOptions::default()
            };
            check_sums(&path, &options);
            assert_eq!(ranks(&path, &options, |_, ring| ring.connections()), vec![connections; 3]);
            let options = RingOptions { shared_comms: false, ..options };
            assert_eq!(ranks(&path, &options, |_, ring| ring.connections()), vec![channels; 3]);
        }
    }
}

#[test]
fn large_messages_in_full_slots() {
    let path = strict::plugin(&[12], &[]);
    let options = RingOptions { world: 2, channels: 2, ..RingOptions::default() };
    ranks(&path, &options, |rank, mut ring| {
        let input = vec![(rank + 1) as f32; 3_000_001];
        let mut output = vec![0.0; input.len()];
        ring.all_reduce(&input, &mut output, 2).unwrap();
        assert!(output.iter().all(|&sum| sum == 3.0));
    });
}

#[test]
fn a_rank_that_leaves_is_an_error_for_its_neighbours() {
    let path = strict::plugin(&[12], &[]);
    let options = RingOptions { world: 2, ..RingOptions::default() };
    let errors = ranks(&path, &options, |rank, mut ring| {
        if rank == 1 {
            return None;
        }
        let mut data = vec![1.0; 1 << 20];
        let error = ring.all_reduce_in_place(&mut data, 10).unwrap_err();
        assert!(matches!(ring.all_reduce_in_place(&mut data, 1), Err(Error::Broken)));
        Some(error)
    });
    match &errors[0] {
        Some(Error::Peer { rank: 1, source, .. }) => {
            assert!(matches!(**source, Error::Call { source: code, .. } if code.raw() == 6), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let path = strict::plugin(&[12], &[]);
    let source = NetSource::Plugin { path, version: None, nccl: None };
    let driver = Driver::load(&source, &DriverOptions::default()).unwrap();
    let local = Local::new(1);
    for (options, expected) in [
        (RingOptions { world: 0, ..RingOptions::default() }, "the number of ranks is 0: wanted 1 or more"),
        (
            RingOptions { rank: 2, world: 2, ..RingOptions::default() },
            "the rank is 2: wanted less than the number of ranks",
        ),
        (
            RingOptions { channels: 65, ..RingOptions::default() },
            "the number of channels is 65: wanted 1 to 64",
        ),
        (
            RingOptions { slot_bytes: 100, ..RingOptions::default() },
            "the slot size in bytes is 100: wanted a multiple of 16 up to 67108864",
        ),
    ] {
        assert_eq!(
            Ring::connect(&driver, &options, &LocalRank(&local, 0)).unwrap_err().to_string(),
            expected
        );
    }
}
