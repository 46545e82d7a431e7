//! Streams between pairs of ranks of one process, through the contract-checking net.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

mod strict;

use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use srv6_netdrive::{
    Amount, Driver, DriverOptions, Error, Exchange, Load, NetSource, SlotMemory, Stream, Streams,
    StreamsOptions, monotonic,
};

/// The ranks of one process.
struct Local {
    barrier: Barrier,
    slots: Mutex<Vec<Vec<u8>>>,
}

struct LocalRank<'a>(&'a Local, usize);

impl Exchange for LocalRank<'_> {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.slots.lock().unwrap()[self.1] = mine.to_vec();
        self.0.barrier.wait();
        let all = self.0.slots.lock().unwrap().clone();
        self.0.barrier.wait();
        Ok(all)
    }
}

fn options(world: usize, pairs: &[(usize, usize)]) -> StreamsOptions {
    let memory = SlotMemory::Own;
    StreamsOptions { rank: 0, world, pairs: pairs.to_vec(), slot_bytes: 4096, device: 0, memory }
}

/// Runs `body` as each rank, on a thread of its own.
fn ranks<T: Send>(
    path: &Path,
    options: &StreamsOptions,
    body: impl Fn(usize, Streams) -> T + Sync,
) -> Vec<T> {
    let world = options.world;
    let local = Local { barrier: Barrier::new(world), slots: Mutex::new(vec![Vec::new(); world]) };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..world)
            .map(|rank| {
                let (local, body) = (&local, &body);
                scope.spawn(move || {
                    let source = NetSource::Plugin { path: path.to_owned(), version: None, nccl: None };
                    let driver = Driver::load(&source, &DriverOptions::default()).unwrap();
                    let options = StreamsOptions { rank, ..options.clone() };
                    body(rank, Streams::connect(&driver, &options, &LocalRank(local, rank)).unwrap())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn load(amount: Amount) -> Load {
    Load { bytes: 4000, amount, check: true, record: false }
}

#[test]
fn every_pair_carries_its_messages() {
    // Everybody to everybody, one pair twice.
    let pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1), (0, 1)];
    let began = monotonic();
    let got: Vec<Vec<Stream>> = ranks(&strict::plugin(&[12], &[]), &options(3, &pairs), |_, mut streams| {
        let mut all = streams.run(load(Amount::Messages(50))).unwrap();
        // The numbers go on in the next run, and slots are used again.
        all.extend(streams.run(Load { bytes: 1, ..load(Amount::Messages(48)) }).unwrap());
        streams.close().unwrap();
        all
    });
    let by_rank: Vec<Vec<usize>> = got.iter().map(|all| all.iter().map(|s| s.pair).collect()).collect();
    assert_eq!(by_rank, [vec![1, 3, 1, 3], vec![0, 5, 6, 0, 5, 6], vec![2, 4, 2, 4]]);
    for stream in got.iter().flatten() {
        assert_eq!(stream.wrong, 0, "{stream:?}");
        assert!(matches!((stream.messages, stream.bytes), (50, 200_000) | (48, 48)), "{stream:?}");
        let [first, last] = stream.arrivals[..] else { unreachable!("the first and the last: {stream:?}") };
        assert!(began < first.at && first.at <= last.at && last.at <= monotonic(), "{stream:?}");
    }
}

#[test]
fn messages_go_through_one_block_in_order_and_are_not_checked() {
    let options =
        StreamsOptions { memory: SlotMemory::OneBlock, slot_bytes: 5 << 12, ..options(2, &[(0, 1)]) };
    let got = ranks(&strict::plugin(&[12], &[]), &options, |_, mut streams| {
        let unchecked = Load { bytes: 5 << 12, check: false, ..load(Amount::Messages(40)) };
        let all = streams.run(unchecked).unwrap();
        let refused = streams.run(Load { check: true, ..unchecked }).unwrap_err();
        streams.close().unwrap();
        (all, refused.to_string())
    });
    let (all, refused) = &got[1];
    assert_eq!((all[0].messages, all[0].bytes, all[0].wrong), (40, 40 * (5 << 12), 0));
    assert_eq!(
        *refused,
        "the length of messages to be checked is 20480: wanted messages in memory of their own"
    );
}

#[test]
fn a_time_ends_a_run_and_another_may_follow() {
    let got = ranks(&strict::plugin(&[8], &[]), &options(2, &[(0, 1)]), |_, mut streams| {
        let began = monotonic();
        let time = Amount::Time(Duration::from_millis(60));
        let first = streams.run(Load { record: true, ..load(time) }).unwrap();
        let took = monotonic() - began;
        let second = streams.run(load(Amount::Messages(5))).unwrap();
        streams.close().unwrap();
        (first, second, took)
    });
    let (first, second, _) = &got[1];
    let stream = &first[0];
    assert_eq!((stream.wrong, stream.bytes), (0, stream.messages * 4000));
    assert_eq!(
        stream.arrivals.len() as u64,
        stream.messages,
        "each is remembered, and the eight at the end aren't"
    );
    let took = got[0].2;
    assert!(took >= 60_000_000, "it sent for {took} ns");
    assert_eq!((second[0].messages, second[0].wrong), (5, 0));
    assert!(got[0].0.is_empty() && got[0].1.is_empty(), "nothing ends at rank 0");
}

#[test]
fn nothing_to_send_is_over_at_once() {
    let got = ranks(&strict::plugin(&[12], &[]), &options(2, &[(1, 0)]), |_, mut streams| {
        let none = streams.run(load(Amount::Messages(0))).unwrap();
        let timed = streams.run(load(Amount::Time(Duration::ZERO))).unwrap();
        (none, timed)
    });
    assert_eq!((got[0].0[0].messages, got[0].1[0].messages), (0, 0));
}

#[test]
fn damage_is_counted() {
    let got = ranks(&strict::plugin(&[12], &["CORRUPT=1"]), &options(2, &[(0, 1)]), |_, mut streams| {
        streams.run(load(Amount::Messages(20))).unwrap()
    });
    // The net flips a bit in the number of every message, so that nothing in it is what was expected there.
    assert_eq!(got[1][0].wrong, 20 * 4000, "{:?}", got[1][0]);
}

#[test]
fn a_message_goes_there_and_back_as_often_as_asked() {
    let pairs = [(0, 1), (1, 0)];
    let got = ranks(&strict::plugin(&[12], &[]), &options(2, &pairs), |rank, mut streams| {
        let times = match rank {
            0 => streams.ask(8, 100).unwrap(),
            _ => streams.answer(8, 100).map(|()| Vec::new()).unwrap(),
        };
        // What follows begins where the bounces ended.
        let after = streams.run(load(Amount::Messages(10))).unwrap();
        (times, after)
    });
    assert_eq!(got[0].0.len(), 100);
    assert!(got[0].0.iter().all(|time| !time.is_zero()));
    assert!(got.iter().all(|(_, after)| after[0].messages == 10 && after[0].wrong == 0));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let path = strict::plugin(&[12], &[]);
    ranks(&path, &options(2, &[(0, 1)]), |rank, mut streams| {
        let error = streams.run(Load { bytes: 5000, ..load(Amount::Messages(1)) }).unwrap_err().to_string();
        assert_eq!(error, "a message of 5000 bytes doesn't fit slots of 4096");
        let error = streams.run(Load { bytes: 0, ..load(Amount::Messages(1)) }).unwrap_err().to_string();
        assert_eq!(error, "the bytes of a message is 0: wanted 1 or more");
        let error = streams.ask(8, 1).unwrap_err().to_string();
        assert_eq!(error, "the number of streams of this rank is 1: wanted 2: one out and one in");
        let got = streams.run(load(Amount::Messages(2))).unwrap();
        assert_eq!(got.len(), rank);
    });
    let source = NetSource::Plugin { path, version: None, nccl: None };
    let driver = Driver::load(&source, &DriverOptions::default()).unwrap();
    let local = Local { barrier: Barrier::new(1), slots: Mutex::new(vec![Vec::new()]) };
    let (own, one) = (SlotMemory::Own, SlotMemory::OneBlock);
    for (world, pairs, slot_bytes, memory, expected) in [
        (2, vec![(0, 2)], 4096, own, "a stream's rank is 2: wanted less than the number of ranks"),
        (2, vec![(1, 1)], 4096, own, "a stream's rank is 1: wanted another one than its peer"),
        (2, vec![], 17, own, "the slot size in bytes is 17: wanted a multiple of 16 from 16 to 67108864"),
        (
            2,
            vec![],
            4112,
            one,
            "the slot size in bytes is 4112: wanted a multiple of 4096 to lie over one block",
        ),
        (0, vec![], 4096, own, "the rank is 0: wanted less than the number of ranks"),
    ] {
        let options = StreamsOptions { rank: 0, world, pairs, slot_bytes, device: 0, memory };
        let error = Streams::connect(&driver, &options, &LocalRank(&local, 0)).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, Error::Option { .. }));
    }
}
