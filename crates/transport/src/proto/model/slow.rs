//! What is said about transfers that take long, and how often.

use std::time::Duration;

use super::World;
use crate::config::MAX_PATHS;
use crate::proto::state::State;
use crate::proto::{Action, Stuck};

/// The warnings since the last call.
fn told(world: &mut World) -> Vec<(u64, Stuck)> {
    let slow = |action| match action {
        Action::Slow { message, stuck, .. } => Some((message, stuck)),
        _ => None,
    };
    world.new_actions().into_iter().filter_map(slow).collect()
}

/// Lets time pass in which nothing is written or read, only asked of the kernel.
fn pass(world: &mut World, millis: u64) {
    for _ in 0..millis {
        world.advance(Duration::from_millis(1));
        world.poll();
    }
}

/// The receiver says that it has posted so many receives.
fn posted(world: &mut World, posted: u64) {
    let state = State { port: 0, goodbye: false, complete: 0, posted, subflows: [(0, 0); MAX_PATHS] };
    world.send.inbox(0)[..State::LEN].copy_from_slice(&state.encode());
    world.send.heard(0, State::LEN, world.now).unwrap();
}

#[test]
fn a_message_without_receive_is_told_of_at_doubling_times() {
    let mut world = World::new(2);
    let since = world.now;
    world.post_send(1_000_000).unwrap();
    let mut said = Vec::new();
    for _ in 0..9000 {
        world.rounds(1);
        for warning in told(&mut world) {
            assert!(matches!(warning, (0, Stuck::NoReceive { .. })), "{warning:?}");
            said.push((world.now - since).as_millis());
        }
    }
    assert_eq!(said, [1000, 2000, 4000, 8000]);
}

#[test]
fn a_receive_whose_message_is_not_taken_is_told_apart() {
    let mut world = World::new(1);
    world.post_send(1_000_000).unwrap();
    while world.write(0, usize::MAX) > 0 {}
    world.carry(0, usize::MAX, usize::MAX);
    pass(&mut world, 900);
    posted(&mut world, 1);
    pass(&mut world, 100);
    let heard = Duration::from_millis(100);
    assert_eq!(told(&mut world), [(0, Stuck::NotTaken { heard })]);
}

#[test]
fn the_path_that_a_needed_part_is_on_is_named() {
    let mut world = World::new(2);
    world.post_send(130_000).unwrap();
    assert!(world.write(0, usize::MAX) > 0 && world.write(1, usize::MAX) > 0);
    // The receiver's kernel has the first part, so the first lane is not to blame.
    world.carry(0, usize::MAX, usize::MAX);
    world.up[1] = false;
    pass(&mut world, 1000);
    assert_eq!(told(&mut world), [(0, Stuck::Lost { subflow: 1 })]);
    // Once the first lane has taken the other part, it is its to deliver.
    world.up[0] = false;
    assert!(world.write(0, usize::MAX) > 0);
    pass(&mut world, 1000);
    let [(0, Stuck::OnWay { subflow: 0, since })] = told(&mut world)[..] else { panic!("{:?}", world.send) };
    assert_eq!(since, Duration::from_secs(1));
}

#[test]
fn a_copy_that_does_not_arrive_is_told_of_although_it_counts_as_sent() {
    let mut world = World::new(2);
    world.up = [false; MAX_PATHS];
    let request = world.post_send(9000).unwrap();
    assert!(world.write(0, usize::MAX) > 0);
    assert!(world.send.is_complete(request));
    world.test_all();
    pass(&mut world, 1000);
    let said = told(&mut world);
    assert!(matches!(said[..], [(0, Stuck::OnWay { .. } | Stuck::Lost { .. })]), "{said:?}");
    world.finish();
    world.rounds(60_000);
    assert_eq!(told(&mut world), [], "it has arrived");
}

#[test]
fn a_transfer_that_is_slow_all_the_time_is_not_told_of_for_each_message() {
    let mut world = World::new(2);
    let slow = |world: &mut World, messages| {
        let mut warnings = 0;
        for _ in 0..messages {
            world.post_send(1_000_000).unwrap();
            world.rounds(1500);
            world.post_receive(0);
            while !world.is_done() {
                world.rounds(1);
            }
            warnings += told(world).len();
        }
        warnings
    };
    // Over a minute: after 1 s, 2, 4, 8, 16 and 32.
    assert_eq!(slow(&mut world, 40), 6);
    world.rounds(31_000);
    assert_eq!(slow(&mut world, 1), 1, "it was quick for a while");
}

#[test]
fn a_receiver_tells_of_a_message_that_stops_half_way() {
    let mut world = World::new(2);
    let late = |world: &mut World, millis| {
        let mut said = Vec::new();
        for _ in 0..millis {
            world.advance(Duration::from_millis(1));
            said.extend(world.receive.poll_late(world.now));
        }
        said
    };
    world.post_send(130_000).unwrap();
    world.post_receive(0);
    assert_eq!(late(&mut world, 5000), [], "nobody has sent anything");
    assert!(world.write(0, usize::MAX) > 0 && world.write(1, 30_000) > 0);
    for subflow in 0..2 {
        world.carry(subflow, usize::MAX, usize::MAX);
        while world.read(subflow, usize::MAX) > 0 {}
    }
    let said = late(&mut world, 5000);
    let [first, second, third] = said[..] else { panic!("{said:?}") };
    assert_eq!((first.message, first.total, first.streams), (0, Some(130_000), 0b10), "the one half way");
    assert!(first.landed < 130_000 && first.landed > 64 << 10, "{first:?}");
    for (late, seconds) in [(first, 1), (second, 2), (third, 4)] {
        assert_eq!(late.waited.as_secs(), seconds, "{late:?}");
    }
    // A caller that was elsewhere has itself to blame.
    world.advance(Duration::from_secs(60));
    assert_eq!(world.receive.poll_late(world.now), None);
    world.finish();
    assert_eq!(late(&mut world, 5000), []);
}

#[test]
fn a_receiver_tells_of_a_message_whose_followers_came() {
    let mut world = World::new(2);
    for subflow in 0..2 {
        world.post_send(9000).unwrap();
        world.post_receive(0);
        assert!(world.write(subflow, usize::MAX) > 0);
    }
    world.carry(1, usize::MAX, usize::MAX);
    while world.read(1, usize::MAX) > 0 {}
    let mut said = None;
    while said.is_none() {
        world.advance(Duration::from_millis(10));
        said = world.receive.poll_late(world.now);
    }
    let late = said.unwrap();
    assert_eq!((late.message, late.landed, late.total, late.streams), (0, 0, None, 0));
}
