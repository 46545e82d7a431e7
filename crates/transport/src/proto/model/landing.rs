//! Each rule of the receiving side, on its own.

use std::time::{Duration, Instant};

use crate::config::MAX_PATHS;
use crate::proto::frame::{Chunk, Frame, HEADER};
use crate::proto::state::State;
use crate::proto::{Closing, Landing, Receiver, Refused, Violation};

const CHUNK: Chunk = Chunk { message: 0, number: 0, offset: 0, length: 0, total: 0, urgent: true };

fn chunk(message: u64, number: u32, offset: u64, length: u32, total: u64) -> Chunk {
    Chunk { message, number, offset, length, total, ..CHUNK }
}

/// Lets bytes come on a stream that wants at least as many; gives what was copied from behind headers.
fn bring(receiver: &mut Receiver, stream: usize, bytes: &[u8]) -> Result<usize, Refused> {
    let mut copied = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        let want = receiver.wants(stream).expect("it reads");
        let ahead = match want.landing {
            Some(Landing::Buffer { length, .. } | Landing::Discard(length)) => length.min(rest.len()),
            None => 0,
        };
        let behind = want.inbox.len().min(rest.len() - ahead);
        want.inbox[..behind].copy_from_slice(&rest[ahead..ahead + behind]);
        receiver.came(stream, ahead + behind);
        rest = &rest[ahead + behind..];
        while let Some(inline) = receiver.step(stream)? {
            copied += inline.bytes.len();
        }
    }
    Ok(copied)
}

/// Lets a header come.
fn head(receiver: &mut Receiver, stream: usize, chunk: Chunk) -> Result<usize, Refused> {
    bring(receiver, stream, &Frame::Data(chunk).encode())
}

fn state(receiver: &mut Receiver, subflow: usize, now: Instant) -> State {
    let state = State::decode(receiver.ack(subflow).try_into().unwrap()).unwrap();
    receiver.acked(subflow, State::LEN, now);
    state
}

#[test]
fn payload_comes_with_its_header_and_with_the_next() {
    let now = Instant::now();
    let mut receiver = Receiver::new(1, now);
    let posted: Vec<_> = (0..3).map(|_| receiver.post(5000).unwrap()).collect();
    let mut bytes = Frame::Data(chunk(0, 0, 0, 100, 100)).encode().to_vec();
    bytes.extend([7; 100]);
    bytes.extend(Frame::Data(chunk(1, 0, 0, 4000, 4000)).encode());
    bytes.extend([8; 300]);
    let want = receiver.wants(0).unwrap();
    assert_eq!(want.landing, None);
    want.inbox[..bytes.len()].copy_from_slice(&bytes);
    receiver.came(0, bytes.len());
    let inline = receiver.step(0).unwrap().unwrap();
    assert_eq!((inline.slot, inline.offset, inline.bytes), (0, 0, &[7; 100][..]));
    let inline = receiver.step(0).unwrap().unwrap();
    assert_eq!((inline.slot, inline.offset, inline.bytes), (1, 0, &[8; 300][..]));
    assert!(receiver.step(0).unwrap().is_none());
    assert_eq!(receiver.retire(posted[0]), Ok(Some(100)));

    let want = receiver.wants(0).unwrap();
    assert_eq!(want.landing, Some(Landing::Buffer { slot: 1, offset: 300, length: 3700 }));
    let mut next = Frame::Data(CHUNK).encode();
    next[15] = 2;
    want.inbox[..HEADER].copy_from_slice(&next);
    receiver.came(0, 3700 + HEADER);
    assert!(receiver.step(0).unwrap().is_none());
    assert_eq!(receiver.retire(posted[1]), Ok(Some(4000)));
    assert_eq!(receiver.retire(posted[2]), Ok(Some(0)), "a message without bytes");
}

#[test]
fn a_chunk_without_a_receive_waits_for_it_and_others_go_on() {
    let mut receiver = Receiver::new(2, Instant::now());
    receiver.post(10).unwrap();
    head(&mut receiver, 0, chunk(1, 0, 0, 5, 5)).unwrap();
    assert!(receiver.wants(0).is_none());
    head(&mut receiver, 1, chunk(0, 0, 0, 10, 10)).unwrap();
    assert_eq!(bring(&mut receiver, 1, &[1; 10]), Ok(0), "it landed directly");
    assert!(!receiver.is_waiting());
    let request = receiver.post(5).unwrap();
    assert!(receiver.step(0).unwrap().is_none());
    bring(&mut receiver, 0, &[1; 5]).unwrap();
    assert_eq!(receiver.retire(request), Ok(Some(5)));
}

#[test]
fn the_rest_of_a_copy_is_dropped_once_the_other_is_whole() {
    let mut receiver = Receiver::new(2, Instant::now());
    let request = receiver.post(5000).unwrap();
    for stream in 0..2 {
        head(&mut receiver, stream, chunk(0, 1, 2000, 3000, 5000)).unwrap();
        bring(&mut receiver, stream, &[1; 1000]).unwrap();
    }
    assert_eq!(
        receiver.wants(1).unwrap().landing,
        Some(Landing::Buffer { slot: 0, offset: 3000, length: 2000 })
    );
    bring(&mut receiver, 0, &[1; 2000]).unwrap();
    assert!(!receiver.is_complete(request), "the first chunk is missing");
    let want = receiver.wants(1).unwrap();
    assert_eq!((want.landing, want.inbox.len()), (Some(Landing::Discard(2000)), 0));
    bring(&mut receiver, 1, &[9; 2000]).unwrap();
    // The stream is in step.
    head(&mut receiver, 1, chunk(0, 0, 0, 2000, 5000)).unwrap();
    bring(&mut receiver, 1, &[1; 2000]).unwrap();
    assert_eq!(receiver.retire(request), Ok(Some(5000)));
    // A copy that comes long after is dropped whole, and the sender is told at once.
    let now = Instant::now();
    state(&mut receiver, 0, now);
    assert!(!receiver.ack_due(0, now));
    assert_eq!(bring(&mut receiver, 0, &Frame::Data(chunk(0, 1, 2000, 3000, 5000)).encode()), Ok(0));
    assert_eq!(receiver.wants(0).unwrap().landing, Some(Landing::Discard(3000)));
    assert!(receiver.ack_due(0, now));
    assert_eq!(receiver.counters(0).duplicates, 1);
}

#[test]
fn what_can_t_be_true_is_refused_before_it_is_written() {
    let refused = |chunks: &[Chunk]| {
        let mut receiver = Receiver::new(2, Instant::now());
        receiver.post(100_000).unwrap();
        let mut result = Ok(0);
        for (at, chunk) in chunks.iter().enumerate() {
            result = head(&mut receiver, at % 2, *chunk);
            if result.is_ok() && at + 1 < chunks.len() && chunk.length < 1000 {
                bring(&mut receiver, at % 2, &vec![0; chunk.length as usize]).unwrap();
            }
        }
        match result {
            Err(Refused::Violation(violation)) => violation,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(&[chunk(0, 0, 0, 5, 9), chunk(0, 1, 5, 5, 10)]),
        Violation::Total { message: 0, now: 10, before: 9 }
    );
    assert_eq!(
        refused(&[chunk(0, 0, 0, 5, 9), chunk(0, 1, 0, 5, 9)]),
        Violation::Excess { message: 0, total: 9 }
    );
    assert_eq!(
        refused(&[chunk(0, 3, 0, 9000, 90_000), chunk(0, 3, 9000, 9000, 90_000)]),
        Violation::Place { message: 0, number: 3, now: 9000, before: 0 }
    );
    let mut receiver = Receiver::new(1, Instant::now());
    receiver.post(99).unwrap();
    let refused = head(&mut receiver, 0, chunk(0, 0, 0, 50, 100)).unwrap_err();
    assert_eq!(refused, Refused::TooLong { message: 0, sent: 100, posted: 99 });
}

#[test]
fn the_sender_is_told_at_once_when_it_waits_and_now_and_then_when_not() {
    let start = Instant::now();
    let ms = Duration::from_millis(1);
    let mut receiver = Receiver::new(2, start);
    for _ in 0..20 {
        receiver.post(2 << 20).unwrap();
    }
    head(&mut receiver, 1, chunk(0, 0, 0, 0, 0)).unwrap();
    assert!(receiver.ack_due(1, start) && !receiver.ack_due(0, start), "complete, and it waits");
    assert_eq!(state(&mut receiver, 1, start).complete, 1);
    assert!(!receiver.ack_due(1, start));

    // A short message that the sender has copied: after a while, or when there are many.
    let lazy = |message| Chunk { urgent: false, ..chunk(message, 0, 0, 0, 0) };
    head(&mut receiver, 0, lazy(1)).unwrap();
    assert!(!receiver.ack_due(0, start + 19 * ms));
    assert!(receiver.ack_due(0, start + 20 * ms));
    assert_eq!(receiver.next_timer(), Some(start + 20 * ms));
    for message in 2..17 {
        head(&mut receiver, 0, lazy(message)).unwrap();
    }
    assert!(receiver.ack_due(0, start));
    assert_eq!(state(&mut receiver, 0, start).subflows[0], (0, 16));

    // Of long ones after a mebibyte, sooner if it is most of what is sent ahead over a slow path.
    let part = |number| chunk(17, number, u64::from(number) * 20_000, 20_000, 2_000_000);
    for (number, subflow) in [(0, 0), (1, 1)] {
        head(&mut receiver, subflow, part(number)).unwrap();
        bring(&mut receiver, subflow, &[0; 20_000]).unwrap();
    }
    assert!(!receiver.ack_due(1, start + 19 * ms) && receiver.ack_due(1, start + 20 * ms));
    head(&mut receiver, 0, part(2)).unwrap();
    bring(&mut receiver, 0, &[0; 19_999]).unwrap();
    assert!(!receiver.ack_due(0, start + 19 * ms), "the sender can't make use of a part of a chunk");
    bring(&mut receiver, 0, &[0]).unwrap();
    assert!(!receiver.ack_due(0, start) && receiver.ack_due(0, start + ms));
    let left = (1 << 20) - 60_001;
    head(&mut receiver, 0, chunk(17, 3, 60_000, left, 2_000_000)).unwrap();
    bring(&mut receiver, 0, &vec![0; left as usize]).unwrap();
    assert!(!receiver.ack_due(0, start));
    head(&mut receiver, 0, chunk(17, 4, 60_000 + u64::from(left), 1, 2_000_000)).unwrap();
    bring(&mut receiver, 0, &[0]).unwrap();
    assert!(receiver.ack_due(0, start));
    state(&mut receiver, 0, start);
    for (number, offset, length, wait) in [(5, 1 << 20, 24 << 10, 1), (6, 1_200_000, (24 << 10) - 1, 20)] {
        head(&mut receiver, 0, chunk(17, number, offset, length, 2_000_000)).unwrap();
        bring(&mut receiver, 0, &vec![0; length as usize]).unwrap();
        assert_eq!(receiver.next_timer(), Some(start + wait * ms), "{length} bytes");
        state(&mut receiver, 0, start);
    }
    bring(&mut receiver, 1, &Frame::Ping { length: 0 }.encode()).unwrap();
    assert!(receiver.ack_due(1, start), "pings are answered");
    state(&mut receiver, 1, start);
    bring(&mut receiver, 1, &Frame::Ping { length: 2000 }.encode()).unwrap();
    bring(&mut receiver, 1, &[1; 1999]).unwrap();
    assert!(!receiver.ack_due(1, start), "its payload has to come too");
    bring(&mut receiver, 1, &[1; 1]).unwrap();
    assert!(receiver.ack_due(1, start));
    assert_eq!(state(&mut receiver, 1, start).subflows[1], (0, 4));
    assert_eq!((receiver.counters(1).bytes, receiver.counters(1).duplicates), (20_000, 0));
}

#[test]
fn a_frame_is_written_to_its_end_before_another() {
    let now = Instant::now();
    let mut receiver = Receiver::new(1, now);
    receiver.post(0).unwrap();
    receiver.set_port(7);
    let first = receiver.ack(0).to_vec();
    receiver.acked(0, 50, now);
    head(&mut receiver, 0, CHUNK).unwrap();
    assert_eq!(receiver.ack(0), &first[50..], "as it was");
    receiver.acked(0, State::LEN - 50, now);
    assert!(receiver.ack_due(0, now), "there is more to say");
    assert_eq!(state(&mut receiver, 0, now).complete, 1);
    assert!(!receiver.ack_due(0, now));
}

#[test]
fn a_replaced_stream_is_read_to_its_end_beside_the_new_one() {
    let now = Instant::now();
    let mut receiver = Receiver::new(2, now);
    let request = receiver.post(20_000).unwrap();
    head(&mut receiver, 1, chunk(0, 0, 0, 10_000, 20_000)).unwrap();
    bring(&mut receiver, 1, &[0; 6000]).unwrap();
    assert!(!receiver.replace(1, 0), "not newer");
    assert!(!receiver.replace(2, 1), "no such subflow");
    assert!(receiver.replace(1, 1));
    assert!(!receiver.replace(1, 2), "the first is still being read");
    let old = 1 + MAX_PATHS;
    assert_eq!(
        receiver.wants(old).unwrap().landing,
        Some(Landing::Buffer { slot: 0, offset: 6000, length: 4000 })
    );
    head(&mut receiver, 1, chunk(0, 1, 10_000, 10_000, 20_000)).unwrap();
    bring(&mut receiver, 1, &[0; 10_000]).unwrap();
    bring(&mut receiver, old, &[0; 4000]).unwrap();
    assert_eq!(receiver.retire(request), Ok(Some(20_000)));
    assert_eq!(state(&mut receiver, 1, now).subflows[1], (1, 1));
    receiver.closed(old, Closing::Reset, now);
    assert!(receiver.replace(1, 2));
    assert_eq!((receiver.incarnation(1), receiver.counters(1).replaced), (2, 2));
}

#[test]
fn the_sender_is_gone_when_all_streams_are() {
    let now = Instant::now();
    let mut receiver = Receiver::new(2, now);
    receiver.closed(0, Closing::End, now);
    assert!(!receiver.peer_gone(now));
    receiver.closed(1, Closing::End, now);
    assert!(receiver.peer_gone(now), "in order, so it is meant");

    // After a reset there may be a replacement.
    let mut receiver = Receiver::new(1, now);
    receiver.closed(0, Closing::Reset, now);
    assert!(!receiver.peer_gone(now));
    assert_eq!(receiver.next_timer(), Some(now + Duration::from_millis(500)));
    assert!(receiver.replace(0, 1));
    assert!(!receiver.peer_gone(now + Duration::from_secs(1)));
    receiver.closed(0, Closing::Reset, now);
    assert!(receiver.peer_gone(now + Duration::from_millis(500)));
}

#[test]
fn what_a_closed_subflow_had_to_tell_another_tells() {
    let now = Instant::now();
    let mut receiver = Receiver::new(2, now);
    receiver.post(0).unwrap();
    head(&mut receiver, 0, CHUNK).unwrap();
    assert!(receiver.ack_due(0, now));
    receiver.closed(0, Closing::Reset, now);
    assert!(!receiver.ack_due(0, now));
    assert!(receiver.ack_due(1, now));
    receiver.say_goodbye();
    assert!(state(&mut receiver, 1, now).goodbye);
}

#[test]
fn what_is_underway_is_what_a_message_still_waits_for() {
    let mut receiver = Receiver::new(2, Instant::now());
    let posted: Vec<_> = (0..2).map(|_| receiver.post(10_000).unwrap()).collect();
    assert_eq!(receiver.underway(), 0);
    head(&mut receiver, 0, chunk(0, 0, 0, 9_000, 9_000)).unwrap();
    assert_eq!(receiver.underway(), 9_000);
    bring(&mut receiver, 0, &[1; 500]).unwrap();
    head(&mut receiver, 1, chunk(1, 0, 0, 2_000, 2_000)).unwrap();
    assert_eq!(receiver.underway(), 8_500);

    // The same chunk comes whole over the other subflow: nobody waits for the rest of the first copy.
    bring(&mut receiver, 1, &[2; 2_000]).unwrap();
    head(&mut receiver, 1, chunk(0, 0, 0, 9_000, 9_000)).unwrap();
    bring(&mut receiver, 1, &[1; 9_000]).unwrap();
    assert_eq!(receiver.retire(posted[0]), Ok(Some(9_000)));
    assert_eq!(receiver.underway(), 0);
}
