//! Paths of known rates in simulated time: what share each gets, and how long faults are felt.
//!
//! No scheduler, no other load: so goals can be tight, and a threshold that was changed shows.

use std::time::Duration;

use super::World;
use crate::config::MAX_PATHS;
use crate::proto::{Action, Health, MAX_STREAMS, Shares};

const TICK: Duration = Duration::from_micros(100);
/// What the kernel takes beyond the wire, as with `TCP_NOTSENT_LOWAT`.
const UNSENT: usize = 256 << 10;
/// As NCCL: eight messages on their way.
const WINDOW: usize = 8;
const MESSAGE: usize = 512 << 10;

struct Fabric {
    world: World,
    /// Bytes that each path carries in a tick, and what it has carried.
    rates: [usize; MAX_PATHS],
    carried: [u64; MAX_PATHS],
    message: usize,
    window: usize,
    /// Bytes landed after each tick.
    landed: Vec<u64>,
    first: usize,
}

impl Fabric {
    /// Paths with these rates in units of 25 MB/s, in hundredths.
    fn new(rates: &[usize]) -> Fabric {
        let per_tick = |hundredths: &usize| 2500 * hundredths / 100;
        Fabric {
            world: World::new(rates.len()),
            rates: std::array::from_fn(|n| rates.get(n).map_or(0, per_tick)),
            carried: [0; MAX_PATHS],
            message: MESSAGE,
            window: WINDOW,
            landed: vec![0],
            first: 0,
        }
    }

    fn run(&mut self, time: Duration) {
        for _ in 0..time.as_micros() / TICK.as_micros() {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let world = &mut self.world;
        let paths = world.paths;
        world.advance(TICK);
        while world.outstanding().0 < self.window {
            world.post_send(self.message).unwrap();
        }
        while world.outstanding().1 < self.window && !world.is_all_posted() {
            world.post_receive(0);
        }
        world.poll();
        for subflow in 0..paths {
            world.connect(subflow);
        }
        self.first += 1;
        world.ask();
        loop {
            let mut written = 0;
            for turn in 0..paths {
                let subflow = (self.first + turn) % paths;
                let room = UNSENT.saturating_sub(world.backlog(subflow));
                if room > 0 {
                    written += world.write(subflow, room);
                }
            }
            if written == 0 {
                break;
            }
        }
        for socket in world.live() {
            let subflow = world.subflow(socket);
            let before = world.acked(socket);
            world.carry(socket, self.rates[subflow], usize::MAX);
            self.carried[subflow] += world.acked(socket) - before;
        }
        world.accept();
        for stream in (0..MAX_STREAMS).rev() {
            while world.read(stream, usize::MAX) > 0 {}
        }
        for subflow in 0..paths {
            world.drain(subflow);
            world.ack(subflow, usize::MAX);
            world.hear(subflow, usize::MAX);
        }
        world.test_all();
        self.landed.push(world.landed);
    }

    /// Bytes landed in the last of so many ticks, as a part of what paths of these rates carry.
    fn part(&self, ticks: usize, rates: &[usize]) -> f64 {
        let last = self.landed.len() - 1;
        self.part_between(last - ticks, last, rates)
    }

    fn part_between(&self, from: usize, to: usize, rates: &[usize]) -> f64 {
        let possible: usize = rates.iter().map(|hundredths| 2500 * hundredths / 100).sum();
        (self.landed[to] - self.landed[from]) as f64 / (possible * (to - from)) as f64
    }

    /// Ticks after `since` from which on every `window` carries 0.9 of what these rates allow.
    fn recovered(&self, since: usize, window: usize, rates: &[usize]) -> usize {
        let last = self.landed.len() - 1 - window;
        let slow = (since..last).rev().find(|at| self.part_between(*at, at + window, rates) < 0.9);
        slow.map_or(0, |at| at + 1 - since)
    }

    fn now(&self) -> usize {
        self.landed.len() - 1
    }
}

#[test]
fn equal_paths_are_filled() {
    for paths in [1, 2, 4, 8] {
        let rates = vec![100; paths];
        let mut fabric = Fabric::new(&rates);
        fabric.run(Duration::from_millis(600));
        let part = fabric.part(5000, &rates);
        assert!(part > 0.97, "{paths} paths: {part}");
        assert!(fabric.world.actions.is_empty(), "{:?}", fabric.world.actions);
    }
}

#[test]
fn shares_follow_rates() {
    for rates in [[400, 100], [100, 400], [1000, 100]] {
        let mut fabric = Fabric::new(&rates);
        fabric.run(Duration::from_millis(600));
        let part = fabric.part(5000, &rates);
        assert!(part > 0.95, "{rates:?}: {part}");
        let share = fabric.carried[0] as f64 / fabric.carried[1] as f64;
        let wanted = rates[0] as f64 / rates[1] as f64;
        assert!((0.9..1.1).contains(&(share / wanted)), "{rates:?}: {share}");
    }
}

#[test]
fn one_path_at_a_quarter_of_the_rate_costs_little() {
    let rates = [100, 100, 25, 100];
    for message in [256 << 10, MESSAGE, 4 << 20] {
        let mut fabric = Fabric::new(&rates);
        fabric.message = message;
        fabric.run(Duration::from_millis(800));
        let part = fabric.part(5000, &rates);
        assert!(part > 0.95, "{message}: {part}");
    }
}

#[test]
fn a_path_that_becomes_ten_times_slower_stays_in_use() {
    let mut fabric = Fabric::new(&[100; 4]);
    fabric.run(Duration::from_millis(300));
    fabric.rates[1] = 250;
    let since = fabric.now();
    fabric.run(Duration::from_millis(700));
    let rates = [100, 10, 100, 100];
    let ticks = fabric.recovered(since, 200, &rates);
    assert!(ticks < 500, "{ticks} ticks");
    assert_ne!(fabric.world.health(1), Health::Down);
}

#[test]
fn a_dead_path_is_felt_for_less_than_30_ms_and_comes_back() {
    // The fewer messages on their way, the sooner all wait for the lost chunks.
    for (victim, window) in [(0, WINDOW), (1, 2), (2, 4), (3, WINDOW)] {
        let mut fabric = Fabric::new(&[100; 4]);
        fabric.window = window;
        fabric.message = MESSAGE * WINDOW / window;
        fabric.run(Duration::from_millis(300));
        fabric.world.up[victim] = false;
        let since = fabric.now();
        fabric.run(Duration::from_millis(700));
        let ticks = fabric.recovered(since, 100, &[100; 3]);
        assert!(ticks < 300, "path {victim}, window {window}: {ticks} ticks");
        assert_eq!(fabric.world.health(victim), Health::Down);
        let count = |wanted: Action| fabric.world.actions.iter().filter(|action| **action == wanted).count();
        assert_eq!(count(Action::Abort(victim)), 1);
        assert!(count(Action::Avoid(victim)) >= 1);

        fabric.world.up[victim] = true;
        let since = fabric.now();
        fabric.run(Duration::from_millis(1500));
        let ticks = fabric.recovered(since, 200, &[100; 4]);
        assert!(ticks < 6000, "path {victim} is back after {ticks} ticks");
    }
}

#[test]
fn a_path_that_stalls_again_and_again_carries_little_and_costs_little() {
    let mut fabric = Fabric::new(&[100; 4]);
    let since = fabric.now();
    // As TCP does at 5 % loss: it waits for its time-out several times a second.
    for _ in 0..10 {
        fabric.world.up[2] = false;
        fabric.run(Duration::from_millis(200));
        fabric.world.up[2] = true;
        fabric.run(Duration::from_millis(40));
    }
    let part = fabric.part_between(since, fabric.now(), &[100; 3]);
    assert!(part > 0.9, "{part}");
    fabric.run(Duration::from_secs(3));
    let part = fabric.part(5000, &[100; 4]);
    assert!(part > 0.95, "after a quiet time: {part}");
}

#[test]
fn weights_rule_shares() {
    let mut fabric = Fabric::new(&[100; 3]);
    let weights = [600, 300, 0, 0, 0, 0, 0, 0];
    fabric.world.set_shares(&Shares { weights, ..Shares::default() });
    fabric.run(Duration::from_millis(600));
    let [a, b, c, ..] = fabric.carried;
    assert_eq!(c, 0);
    let share = a as f64 / b as f64;
    assert!((1.8..2.2).contains(&share), "{share}");
    // The heavier one is full.
    let part = fabric.part(5000, &[100, 50]);
    assert!(part > 0.9, "{part}");

    // The last that is left is used whatever its weight.
    fabric.world.up[0] = false;
    fabric.world.up[1] = false;
    fabric.run(Duration::from_millis(600));
    let part = fabric.part(3000, &[100]);
    assert!(part > 0.9, "{part}");
}

#[test]
fn caps_hold() {
    let mut fabric = Fabric::new(&[100; 2]);
    let caps = [5_000_000, 0, 0, 0, 0, 0, 0, 0];
    fabric.world.set_shares(&Shares { caps, ..Shares::default() });
    fabric.run(Duration::from_secs(1));
    let [capped, free, ..] = fabric.carried;
    assert!((4_700_000..5_300_000).contains(&capped), "{capped}");
    assert!(free > 24_000_000, "{free}");
}
