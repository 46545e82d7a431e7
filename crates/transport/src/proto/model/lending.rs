//! Memory that sockets refer to, and the word that gives it back.

use std::time::Duration;

use super::World;
use crate::proto::frame::HEADER;
use crate::proto::{Action, Health};

/// Not copied, and not spread.
const WHOLE: usize = 60_000;

fn lending(paths: usize) -> World {
    let mut world = World::impatient(paths, Duration::from_secs(10));
    world.lends = true;
    world
}

/// Writes a message to a subflow, and brings it to the receiver's kernel.
fn bring(world: &mut World, subflow: usize) {
    world.post_send(WHOLE).unwrap();
    assert_eq!(world.write(subflow, usize::MAX), HEADER + WHOLE);
    world.carry(subflow, usize::MAX, 0);
    world.observe(subflow);
    assert_eq!(world.acked(subflow), (HEADER + WHOLE) as u64);
}

#[test]
fn the_receivers_kernel_is_not_enough() {
    for lends in [false, true] {
        let mut world = lending(1);
        world.lends = lends;
        bring(&mut world, 0);
        world.test_all();
        assert_eq!(world.outstanding().0, usize::from(lends));
        world.post_receive(0);
        world.rounds(1);
        assert_eq!(world.outstanding(), (0, 0));
    }
}

#[test]
fn a_word_that_is_lost_is_asked_for_over_another_path() {
    let mut world = lending(2);
    bring(&mut world, 0);
    world.up[0] = false;
    world.post_receive(0);
    let since = world.now;
    while world.outstanding().0 > 0 {
        world.rounds(1);
        assert!(world.now - since < Duration::from_millis(25));
    }
    assert_eq!(world.health(0), Health::Good, "nothing shows what has become of it");
    assert_eq!(world.send.counters(1).bytes, 0, "nothing was sent twice");
}

#[test]
fn a_word_that_never_comes_is_an_error_in_the_end() {
    let mut world = lending(2);
    bring(&mut world, 0);
    world.up = [false; 8];
    world.post_receive(0);
    let dead =
        |world: &mut World| world.new_actions().iter().any(|action| matches!(action, Action::Dead { .. }));
    let since = world.now;
    while !dead(&mut world) {
        world.rounds(1);
        assert!(world.now - since < Duration::from_secs(12));
    }
}

#[test]
fn a_receiver_that_posts_nothing_is_asked_once_over_each_path() {
    let mut world = lending(2);
    bring(&mut world, 0);
    bring(&mut world, 1);
    world.rounds(60_000);
    assert_eq!(world.outstanding().0, 2);
    for socket in [0, 1] {
        assert_eq!(world.acked(socket), (HEADER + WHOLE + HEADER) as u64);
    }
    world.finish();
}

#[test]
fn nobody_is_asked_in_the_time_that_a_word_may_take() {
    let mut world = lending(1);
    bring(&mut world, 0);
    world.up[0] = false;
    world.post_receive(0);
    // The receiver has the message, and its word is only late.
    for _ in 0..10 {
        world.advance(Duration::from_millis(1));
        world.poll();
        assert_eq!(world.write(0, usize::MAX), 0, "too early");
    }
    world.up[0] = true;
    world.rounds(1);
    assert_eq!(world.outstanding(), (0, 0));
    assert_eq!(world.acked(0), (HEADER + WHOLE) as u64, "nobody was asked");
}
