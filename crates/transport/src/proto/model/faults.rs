//! Each rule about failures, on its own.

use std::time::Duration;

use super::World;
use super::socket::MSS;
use crate::config::MAX_PATHS;
use crate::proto::frame::HEADER;
use crate::proto::state::State;
use crate::proto::{Action, Closing, Health, Observation, Reason, Violation};

/// Long enough that both of two subflows get a part.
const LONG: usize = 130_000;

/// Time until the subflow has this health.
fn until(world: &mut World, subflow: usize, health: Health) -> Duration {
    let since = world.now;
    for _ in 0..20_000 {
        if world.health(subflow) == health {
            return world.now - since;
        }
        world.rounds(1);
    }
    panic!("{:?} is no {health:?}", world.send.counters(subflow));
}

fn post(world: &mut World, len: usize) {
    world.post_send(len).unwrap();
    world.post_receive(0);
}

fn changes(actions: &[Action]) -> Vec<(usize, Health)> {
    let change = |action: &Action| match *action {
        Action::Changed { subflow, to, .. } => Some((subflow, to)),
        _ => None,
    };
    actions.iter().filter_map(change).collect()
}

#[test]
fn a_receiver_that_posts_nothing_is_no_dead_path() {
    let mut world = World::impatient(2, Duration::from_secs(10));
    // More than its kernel has room for, so that the window is shut.
    for _ in 0..8 {
        world.post_send(400_000).unwrap();
    }
    world.rounds(20_000);
    assert!(changes(&world.new_actions()).is_empty());
    assert_eq!(world.send.counters(0).reissued + world.send.counters(1).reissued, 0);
    world.finish();
}

#[test]
fn what_a_silent_path_was_given_goes_over_the_others() {
    let mut world = World::new(3);
    world.up[0] = false;
    post(&mut world, 300_000);
    let suspected = until(&mut world, 0, Health::Suspect);
    // Nothing is known about this path yet, so the least patience counts, and the look after it.
    assert!((15..=20).contains(&suspected.as_millis()), "{suspected:?}");
    world.rounds(2);
    assert!(world.is_done());
    let again = |subflow| world.send.counters(subflow).reissued + world.send.counters(subflow).hedged;
    assert!(again(1) + again(2) > 0);
}

#[test]
fn trust_comes_back_later_each_time() {
    let mut world = World::new(2);
    for hold in [20, 40, 80, 160] {
        // More than the other path takes, which looks faster after the first time.
        (0..16).for_each(|_| post(&mut world, LONG));
        world.up[0] = false;
        until(&mut world, 0, Health::Suspect);
        world.rounds(30);
        assert_eq!(world.health(0), Health::Suspect, "nothing has come back");
        world.up[0] = true;
        let held = until(&mut world, 0, Health::Good).as_millis();
        assert!((hold..hold + 5).contains(&held), "{held} ms, wanted {hold}");
    }
    // It is forgotten in the end.
    world.rounds(6000);
    (0..16).for_each(|_| post(&mut world, LONG));
    world.up[0] = false;
    until(&mut world, 0, Health::Suspect);
    world.up[0] = true;
    let held = until(&mut world, 0, Health::Good).as_millis();
    assert!((20..25).contains(&held), "{held} ms");
}

#[test]
fn the_last_path_is_never_given_up() {
    for paths in [1, 3] {
        let mut world = World::new(paths);
        world.up = [false; 8];
        for _ in 0..4 {
            post(&mut world, LONG);
        }
        world.rounds(900);
        let used = (0..paths).filter(|subflow| world.health(*subflow) == Health::Suspect).count();
        assert_eq!(used, 1, "one is kept for a second");
        world.rounds(29_000);
        let opened = world.new_actions().iter().filter(|a| matches!(a, Action::Reopen { .. })).count();
        assert!(opened >= 40 * paths, "{opened} attempts");
        world.up = [true; 8];
        world.rounds(600);
        assert!(world.is_done());
    }
}

#[test]
fn attempts_to_open_come_at_doubling_distances() {
    let mut world = World::new(2);
    world.up[0] = false;
    post(&mut world, LONG);
    until(&mut world, 0, Health::Down);
    world.new_actions();
    let mut times = vec![world.now];
    for _ in 0..2500 {
        world.rounds(1);
        if world.new_actions().iter().any(|action| matches!(action, Action::Reopen { subflow: 0, .. })) {
            times.push(world.now);
        }
    }
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits[..6], [25, 50, 100, 200, 400, 500]);
}

#[test]
fn a_new_socket_is_tried_with_pings_first() {
    let mut world = World::new(2);
    world.close(0, Closing::Failed);
    world.poll();
    world.connect(0);
    for ping in 0..3 {
        assert_eq!(world.health(0), Health::Trial);
        post(&mut world, LONG);
        world.poll();
        let full = if ping == 2 { MSS as usize } else { 0 };
        assert_eq!(world.write(0, usize::MAX), HEADER + full, "ping {ping} and no data");
        assert_eq!(world.write(0, usize::MAX), 0, "one at a time");
        world.deliver();
    }
    world.poll();
    assert_eq!(world.health(0), Health::Good);
    // One that does not answer goes the same way again.
    world.close(0, Closing::Failed);
    world.new_actions();
    world.poll();
    world.connect(0);
    world.up[0] = false;
    let down = until(&mut world, 0, Health::Down).as_millis();
    assert!((100..105).contains(&down), "{down}");
    let why = Reason::Unanswered(Duration::from_millis(100));
    let (subflow, from, to) = (0, Health::Trial, Health::Down);
    assert!(world.new_actions().contains(&Action::Changed { subflow, from, to, why }));
}

#[test]
fn a_path_that_carries_short_packets_only_is_not_trusted() {
    let mut world = World::new(2);
    world.close(0, Closing::Failed);
    world.new_actions();
    for _ in 0..5000 {
        world.advance(Duration::from_millis(1));
        world.poll();
        world.connect(0);
        post(&mut world, 100);
        // As TCP does, which sends the long one again before anything else.
        if world.write(0, usize::MAX) > HEADER {
            world.up[0] = false;
        }
        world.write(1, usize::MAX);
        world.deliver();
        // A new socket gets short packets through.
        world.up[0] |= world.health(0) == Health::Down;
    }
    let changes = changes(&world.new_actions());
    assert!(changes.iter().filter(|change| **change == (0, Health::Trial)).count() > 5, "{changes:?}");
    assert!(!changes.contains(&(0, Health::Good)), "{changes:?}");
    world.up[0] = true;
    until(&mut world, 0, Health::Good);
}

#[test]
fn the_connection_is_dead_when_nothing_arrived_for_so_long() {
    let mut world = World::impatient(3, Duration::from_secs(10));
    world.up = [false; 8];
    world.rounds(20_000);
    assert!(world.new_actions().is_empty(), "nothing is outstanding");
    let since = world.now;
    post(&mut world, LONG);
    let dead = |world: &mut World| {
        world.new_actions().iter().filter(|action| matches!(action, Action::Dead { .. })).count()
    };
    while dead(&mut world) == 0 {
        world.rounds(1);
        assert!(world.now - since < Duration::from_secs(11));
    }
    assert!(world.now - since >= Duration::from_secs(10));
    world.rounds(20_000);
    assert_eq!(dead(&mut world), 0, "said once");
}

#[test]
fn a_receiver_that_closed_everything_is_gone() {
    // One after the other within half a second, with others dead already.
    let mut world = World::new(3);
    world.up[2] = false;
    post(&mut world, 300_000);
    until(&mut world, 2, Health::Suspect);
    world.post_send(1_000_000).unwrap();
    world.up[0] = false;
    world.close(0, Closing::End);
    world.rounds(100);
    assert!(!world.new_actions().contains(&Action::PeerClosed), "one lives");
    world.close(1, Closing::Reset);
    world.poll();
    assert!(world.new_actions().contains(&Action::PeerClosed));
    world.rounds(1000);
    assert!(world.new_actions().is_empty(), "said once");
}

#[test]
fn one_closed_socket_is_replaced() {
    let mut world = World::new(2);
    world.close(1, Closing::Reset);
    world.poll();
    let actions = world.new_actions();
    assert!(actions.contains(&Action::Reopen { subflow: 1, incarnation: 1 }), "{actions:?}");
    until(&mut world, 1, Health::Good);
    world.rounds(600);
    world.up[0] = false;
    post(&mut world, LONG);
    world.finish();
    assert_eq!(world.send.counters(1).replaced, 1);
}

#[test]
fn a_goodbye_with_nothing_outstanding_is_no_failure() {
    let mut world = World::new(2);
    post(&mut world, LONG);
    world.finish();
    world.receive.say_goodbye();
    world.rounds(1);
    world.new_actions();
    world.close(0, Closing::End);
    world.close(1, Closing::End);
    world.rounds(2000);
    let actions = world.new_actions();
    assert!(actions.iter().all(|action| matches!(action, Action::Changed { .. })), "{actions:?}");
    world.post_send(8).unwrap();
    world.rounds(1);
    assert!(world.new_actions().contains(&Action::PeerClosed));
}

#[test]
fn a_chunk_behind_messages_without_receive_finds_another_way() {
    let mut world = World::new(2);
    world.up[0] = false;
    world.post_send(9000).unwrap();
    assert!(world.write(0, usize::MAX) > 0);
    world.post_send(9000).unwrap();
    assert!(world.write(1, usize::MAX) > 0);
    // Only the first message has a receive, and its only chunk is lost.
    world.post_receive(0);
    world.rounds(200);
    assert_eq!(world.outstanding().1, 0, "it came");
    let why = Reason::Blocked;
    let (from, to) = (Health::Good, Health::Down);
    assert!(world.new_actions().contains(&Action::Changed { subflow: 1, from, to, why }));
    world.finish();
}

#[test]
fn a_lost_window_update_is_noticed_while_the_receiver_reads_elsewhere() {
    let mut world = World::new(2);
    world.post_send(9000).unwrap();
    assert!(world.write(0, usize::MAX) > 0);
    let says = |posted| State { port: 0, goodbye: false, complete: 0, posted, subflows: [(0, 0); MAX_PATHS] };
    let mut watch = |posted, millis| {
        for _ in 0..millis {
            world.advance(Duration::from_millis(1));
            let frame = says(posted).encode();
            world.send.inbox(1)[..State::LEN].copy_from_slice(&frame);
            world.send.heard(1, State::LEN, world.now).unwrap();
            // The window is shut, TCP probes it, and nobody answers.
            let shut =
                Observation { acked: 500, unsent: 8000, last_ack: Duration::MAX, ..Observation::default() };
            world.send.observe(0, &shut, world.now);
        }
        world.health(0)
    };
    assert_eq!(watch(0, 5000), Health::Good, "the receiver has nothing posted");
    assert_eq!(watch(1, 200), Health::Good);
    assert_eq!(watch(1, 60), Health::Suspect);
}

#[test]
fn a_receiver_that_claims_too_much_is_refused() {
    let claim = |complete, finished| {
        let mut world = World::new(2);
        world.post_send(9000).unwrap();
        assert!(world.write(0, 50) > 0, "not to its end");
        let mut subflows = [(0, 0); MAX_PATHS];
        subflows[0] = (0, finished);
        let state = State { port: 0, goodbye: false, complete, posted: 1, subflows };
        world.send.inbox(1)[..State::LEN].copy_from_slice(&state.encode());
        world.send.heard(1, State::LEN, world.now)
    };
    assert_eq!(claim(1, 0), Ok(()));
    assert_eq!(claim(2, 0), Err(Violation::Complete { complete: 2, posted: 1 }));
    assert_eq!(claim(0, 1), Err(Violation::Finished { subflow: 0, finished: 1, sent: 0 }));
}
