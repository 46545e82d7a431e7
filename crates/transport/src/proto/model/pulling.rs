//! Each rule about what goes where, on its own.

use std::time::Duration;

use super::World;
use crate::proto::frame::HEADER;
use crate::proto::{EAGER_LIMIT, EAGER_SLOTS, Health, Observation, Payload, Shares};

#[test]
fn a_long_message_is_spread_at_once() {
    let mut world = World::new(4);
    world.post_send(256 << 10).unwrap();
    for subflow in 0..4 {
        assert_eq!(world.write(subflow, usize::MAX), HEADER + (64 << 10));
        assert_eq!(world.write(subflow, usize::MAX), 0);
    }
}

#[test]
fn a_message_behind_others_is_not_cut_small() {
    let mut world = World::new(4);
    for _ in 0..4 {
        world.post_send(4 << 20).unwrap();
        world.post_receive(0);
        world.rounds(20);
    }
    assert!(world.is_done(), "the paths are known to be fast");
    world.post_send(512 << 10).unwrap();
    let parts: usize = (0..4).map(|subflow| world.write(subflow, usize::MAX)).sum();
    assert_eq!(parts, 4 * HEADER + (512 << 10));
    world.post_send(128 << 10).unwrap();
    assert_eq!(world.write(0, usize::MAX), HEADER + (128 << 10), "the others are busy");
    world.finish();
}

#[test]
fn short_messages_go_whole_over_the_shortest_path() {
    let mut world = World::new(3);
    for (subflow, micros) in [(0, 100), (1, 30), (2, 60)] {
        let rtt = Duration::from_micros(micros);
        world.send.observe(subflow, &Observation { rtt, ..Observation::default() }, world.now);
    }
    assert_eq!(world.send.first(), 1);
    world.post_send(60_000).unwrap();
    for subflow in [0, 2] {
        assert_eq!(world.write(subflow, usize::MAX), 0);
    }
    assert_eq!(world.write(1, 0), 0);
    assert_eq!(world.write(2, usize::MAX), HEADER + 60_000, "the best has no room");
    world.post_send(8).unwrap();
    assert_eq!(world.write(1, usize::MAX), HEADER + 8);
    world.post_send(8).unwrap();
    assert_eq!(world.write(0, usize::MAX), HEADER + 8, "the best has something on its way");
}

#[test]
fn a_subflow_is_given_a_bounded_amount() {
    let mut world = World::new(2);
    for _ in 0..8 {
        world.post_send(1 << 20).unwrap();
    }
    let mut given = [0; 2];
    for turn in 0..20 {
        given[turn % 2] += world.write(turn % 2, usize::MAX);
    }
    // What a connection may have on its way before anything is known, in a chunk for each, with their headers.
    assert_eq!(given, [(128 << 10) + HEADER; 2]);
    world.finish();
}

#[test]
fn copies_of_short_messages_are_bounded() {
    let mut world = World::new(1);
    for _ in 0..EAGER_SLOTS {
        let request = world.post_send(8).unwrap();
        assert!(!world.send.is_complete(request), "our kernel does not have it");
        world.write(0, usize::MAX);
        assert!(world.send.is_complete(request));
        world.test_all();
    }
    let request = world.post_send(8).unwrap();
    world.write(0, usize::MAX);
    assert!(!world.send.is_complete(request), "there is no slot for a copy");
    assert!(world.send.is_waiting());
    world.finish();
    assert!(world.send.is_complete(request));
    world.rounds(5);
    assert!(!world.send.is_waiting());
    for (len, complete) in [(EAGER_LIMIT, true), (EAGER_LIMIT + 1, false)] {
        let request = world.post_send(len).unwrap();
        world.write(0, usize::MAX);
        assert_eq!(world.send.is_complete(request), complete);
    }
    world.finish();
}

#[test]
fn a_copy_is_enough_while_a_newer_message_keeps_the_caller() {
    let mut world = World::new(1);
    let older = world.post_send(EAGER_LIMIT).unwrap();
    assert!(!world.send.is_complete(older), "the caller may never call again");
    let newer = world.post_send(EAGER_LIMIT).unwrap();
    assert!(world.send.is_complete(older));
    assert!(!world.send.is_complete(newer));
    world.write(0, usize::MAX);
    assert!(!world.send.is_complete(newer), "the older one is written first");
    world.write(0, usize::MAX);
    assert!(world.send.is_complete(newer));
    let long = world.post_send(EAGER_LIMIT + 1).unwrap();
    world.post_send(8).unwrap();
    assert!(!world.send.is_complete(long), "it was not copied");
    world.finish();
}

#[test]
fn a_path_that_would_take_much_longer_gets_a_chunk_now_and_then() {
    let mut world = World::new(2);
    // Both carry something; subflow 1 a tenth as fast.
    for _ in 0..50 {
        world.post_send(256 << 10).unwrap();
        world.post_receive(0);
        while !world.is_done() {
            world.advance(Duration::from_millis(1));
            world.poll();
            for (subflow, count) in [(0, 200_000), (1, 20_000)] {
                while world.write(subflow, usize::MAX) > 0 {}
                world.carry(subflow, count, usize::MAX);
                while world.read(subflow, usize::MAX) > 0 {}
                world.ack(subflow, usize::MAX);
                world.hear(subflow, usize::MAX);
            }
            world.test_all();
        }
    }
    assert!(world.send.counters(0).rate > 3 * world.send.counters(1).rate, "both are known");
    // It may have become better; if it never got anything, nobody would know.
    world.advance(Duration::from_millis(20));
    world.post_send(256 << 10).unwrap();
    assert!(world.write(1, usize::MAX) > 0, "what was known is old");
    assert_eq!(world.write(1, usize::MAX), 0, "one chunk tells");
    assert!(world.write(0, usize::MAX) > 0);
    world.finish();
}

/// Sends messages over two paths of 1 MB/s.
fn over_slow_paths() -> World {
    let mut world = World::new(2);
    for _ in 0..5 {
        world.post_send(512 << 10).unwrap();
        world.post_receive(0);
        while !world.is_done() {
            world.advance(Duration::from_millis(1));
            world.poll();
            for subflow in 0..2 {
                while world.write(subflow, usize::MAX) > 0 {}
                world.carry(subflow, 1_000, usize::MAX);
                while world.read(subflow, usize::MAX) > 0 {}
                world.ack(subflow, usize::MAX);
                world.hear(subflow, usize::MAX);
            }
            world.test_all();
        }
    }
    world
}

#[test]
fn connections_of_one_process_share_out_what_is_on_its_way() {
    // Chunks are whole pages: of a seventh of 256 KiB two of 20.
    for (connections, chunks, length) in [(1, 4, 32), (3, 3, 32), (4, 2, 32), (7, 2, 20), (100, 1, 16)] {
        let mut world = over_slow_paths();
        world.post_send(512 << 10).unwrap();
        world.send.beside(connections, connections, world.now);
        let wrote: Vec<_> = std::iter::repeat_with(|| [0, 1].map(|subflow| world.write(subflow, usize::MAX)))
            .take_while(|counts| counts.iter().sum::<usize>() > 0)
            .flatten()
            .filter(|&count| count > 0)
            .collect();
        assert_eq!(wrote, vec![HEADER + (length << 10); chunks], "{connections}");
    }
}

#[test]
fn a_path_that_delivers_has_what_another_leaves() {
    let mut world = over_slow_paths();
    world.post_send(512 << 10).unwrap();
    world.send.beside(7, 7, world.now);
    assert_eq!([1, 0, 1, 0].map(|subflow| world.write(subflow, usize::MAX) > 0), [true, true, false, false]);
    world.up[1] = false;
    while world.health(1) == Health::Good {
        world.advance(Duration::from_millis(1));
        // Not dead; so little that it makes no room.
        world.carry(0, 10, 0);
        world.observe(1);
        world.poll();
    }
    assert!(world.write(0, usize::MAX) > 0, "what a dead path has is not counted");
    assert_eq!(world.write(0, usize::MAX), 0);
}

#[test]
fn what_has_arrived_makes_room_before_the_receiver_tells() {
    let mut world = over_slow_paths();
    world.post_send(512 << 10).unwrap();
    world.send.beside(100, 100, world.now);
    world.post_receive(0);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.send.doubtful(world.now), 0, "nothing is in the way");
    assert!(world.write(0, usize::MAX) > 0);
    assert_eq!(world.write(0, usize::MAX), 0);
    world.ask();
    assert_eq!(world.write(0, usize::MAX), 0, "it is still in our kernel");
    world.carry(0, usize::MAX, 0);
    assert_eq!(world.send.doubtful(world.now), 0, "asked just now");
    world.advance(Duration::from_millis(1));
    world.ask();
    assert!(world.write(0, usize::MAX) > 0);
    world.finish();
}

#[test]
fn a_frame_whose_message_is_complete_is_filled_up() {
    let mut world = World::new(2);
    world.post_send(9000).unwrap();
    world.post_receive(0);
    assert_eq!(world.write(0, 500), 500);
    world.up[0] = false;
    // Not `rounds`, which would write the rest.
    for _ in 0..100 {
        world.advance(Duration::from_millis(1));
        world.poll();
        world.write(1, usize::MAX);
        for socket in world.live() {
            world.carry(socket, usize::MAX, usize::MAX);
        }
        world.read(1, usize::MAX);
        world.ack(1, usize::MAX);
        world.hear(1, usize::MAX);
        world.test_all();
    }
    assert!(world.is_done(), "by subflow 1");
    assert_eq!(world.health(0), Health::Suspect);
    assert!(world.send.prepare(0, world.now));
    let piece = world.send.pieces(0).next().unwrap();
    assert!(piece.header.is_empty());
    assert_eq!(piece.payload, Payload::Filler(HEADER + 9000 - 500));
    // The stream is in step afterwards.
    world.up[0] = true;
    world.rounds(100);
    assert_eq!(world.health(0), Health::Good);
    world.up[1] = false;
    world.post_send(9000).unwrap();
    world.finish();
    assert!(world.receive.counters(0).duplicates >= 1);
}

#[test]
fn the_last_chunk_of_a_slow_path_is_sent_twice() {
    let mut world = World::new(2);
    let request = world.post_send(130_000).unwrap();
    world.post_receive(0);
    let since = world.now;
    while !world.is_done() {
        world.advance(Duration::from_millis(1));
        world.poll();
        for subflow in 0..2 {
            world.write(subflow, usize::MAX);
        }
        world.carry(0, usize::MAX, usize::MAX);
        // Not dead: something comes all the time.
        world.carry(1, 100, usize::MAX);
        for subflow in 0..2 {
            while world.read(subflow, usize::MAX) > 0 {}
            world.ack(subflow, usize::MAX);
            world.hear(subflow, usize::MAX);
        }
        world.test_all();
    }
    assert!(world.send.is_complete(request));
    assert!(world.now - since < Duration::from_millis(20), "{:?}", world.now - since);
    assert_eq!(world.send.counters(0).hedged, 1);
    assert_eq!(world.health(1), Health::Good);
}

#[test]
fn short_messages_that_wait_go_out_in_one_write() {
    let mut world = World::new(2);
    for len in [5000, 0, 9000, 1, 40_000, 7] {
        world.post_send(len).unwrap();
        world.post_receive(0);
    }
    assert!(world.send.prepare(0, world.now));
    let pieces: Vec<_> = world.send.pieces(0).map(|piece| piece.payload.len()).collect();
    assert_eq!(pieces, [5000, 0, 9000, 1], "a quarter of a chunk together");
    // They are on this subflow from then on: what finds no room isn't offered to others.
    assert_eq!(world.write(0, 100), 100);
    assert!(world.send.prepare(1, world.now));
    assert_eq!(world.send.pieces(1).map(|piece| piece.payload.len()).collect::<Vec<_>>(), [40_000]);
    world.finish();
    let chunks = [0, 1].map(|subflow| world.send.counters(subflow).chunks);
    assert!(chunks[0] >= 4 && chunks[1] >= 1 && chunks[0] + chunks[1] == 6, "{chunks:?}");
}

#[test]
fn messages_in_line_behind_a_path_that_dies_go_over_another() {
    let mut world = World::new(2);
    for _ in 0..3 {
        world.post_send(9000).unwrap();
        world.post_receive(0);
    }
    // The first in part, the others not at all.
    assert_eq!(world.write(0, 500), 500);
    world.up[0] = false;
    world.rounds(300);
    assert!(world.is_done(), "{:?}", world.send);
    assert_eq!(world.send.counters(1).reissued, 3);
    assert_eq!(world.receive.counters(1).bytes, 27_000);
    // The old frames come to their end, and are dropped.
    world.finish();
}

#[test]
fn a_path_under_suspicion_gets_no_message_in_line() {
    let mut world = World::new(2);
    world.post_send(9000).unwrap();
    assert_eq!(world.write(0, 500), 500);
    world.up[0] = false;
    while world.health(0) == Health::Good {
        world.advance(Duration::from_millis(1));
        world.observe(0);
        world.poll();
    }
    // Sent again over the other, so that nothing else stands in the way of a new one.
    while world.write(1, usize::MAX) > 0 {}
    world.post_send(1000).unwrap();
    assert!(world.send.prepare(0, world.now));
    assert_eq!(world.send.pieces(0).count(), 1, "the rest of what it has begun");
    assert!(world.send.prepare(1, world.now));
    assert_eq!(world.send.pieces(1).map(|piece| piece.payload.len()).collect::<Vec<_>>(), [1000]);
}

#[test]
fn weights_and_long_messages_are_a_matter_of_each_chunk() {
    let mut world = World::new(2);
    world.post_send(200_000).unwrap();
    world.post_send(1000).unwrap();
    assert!(world.send.prepare(0, world.now));
    assert_eq!(world.send.pieces(0).count(), 1);

    let mut world = World::new(2);
    let mut shares = Shares::default();
    shares.weights[0] = 2;
    world.set_shares(&shares);
    world.post_send(1000).unwrap();
    world.post_send(1000).unwrap();
    assert!(world.send.prepare(0, world.now));
    assert_eq!(world.send.pieces(0).count(), 1);
}

#[test]
fn a_message_waits_for_others_only_while_much_is_on_its_way() {
    let mut world = World::new(1);
    let waits = |world: &World, len| world.send.may_wait(len);
    assert!(!waits(&world, 65_536), "nothing is on its way");
    world.post_send(200_000).unwrap();
    while world.write(0, usize::MAX) > 0 {}
    assert!(waits(&world, 65_536) && waits(&world, 131_072));
    assert!(!waits(&world, 131_073), "long");
    assert!(!waits(&world, EAGER_LIMIT), "it is done at once, and nobody need call again");
    world.post_receive(0);
    world.finish();
    assert!(!waits(&world, 65_536));
}
