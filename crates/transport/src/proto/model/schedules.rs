//! Random schedules of everything that can happen.

use std::time::Duration;

use proptest::prelude::*;

use super::World;
use crate::config::MAX_PATHS;
use crate::proto::{Closing, MAX_STREAMS, Shares};

/// Reads what happens next out of a random number.
///
/// A strategy for each choice would cost more time than what it chooses.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> usize {
        let side = self.0 % sides;
        self.0 /= sides;
        usize::try_from(side).unwrap()
    }

    fn length(&mut self) -> usize {
        match self.below(26) {
            0..4 => 0,
            4..8 => 1,
            8..16 => self.below(200),
            16..20 => 1000 + self.below(100),
            20..22 => 8190 + self.below(6),
            22..25 => 9000 + self.below(61_000),
            _ => 65_536 + self.below(340_000),
        }
    }

    fn room(&mut self) -> usize {
        match self.below(4) {
            0 => 40,
            1 => 1 + self.below(90),
            2 => 1000 + self.below(4000),
            _ => 1 << 20,
        }
    }

    fn time(&mut self) -> Duration {
        let micros = match self.below(9) {
            0..4 => self.below(2000),
            4..8 => 2000 + self.below(58_000),
            _ => 100_000 + self.below(2_000_000),
        };
        Duration::from_micros(micros as u64)
    }
}

impl World {
    fn step(&mut self, number: u64) {
        let mut dice = Dice(number);
        let kind = dice.below(256);
        let subflow = dice.below(self.paths as u64);
        match kind {
            0..16 => {
                self.post_send(dice.length());
            }
            16..32 => self.post_receive(dice.below(50)),
            32..72 => {
                self.write(subflow, dice.room());
            }
            72..112 => {
                let live = self.live();
                if !live.is_empty() {
                    self.carry(live[dice.below(live.len() as u64)], dice.room(), dice.room());
                }
            }
            112..152 => {
                self.read(dice.below(MAX_STREAMS as u64), dice.room());
            }
            152..172 => self.ack(subflow, dice.room()),
            172..192 => self.hear(subflow, dice.room()),
            192..198 => self.observe(subflow),
            198..199 => self.ask(),
            199..200 => {
                let [busy, more] = [40, 9].map(|most| u32::try_from(dice.below(most)).unwrap());
                self.send.beside(busy, busy + more, self.now);
            }
            200..203 => self.up[subflow] = false,
            203..208 => self.up[subflow] = true,
            208..210 => self.close(subflow, Closing::Failed),
            210..216 => self.connect(subflow),
            216..220 => self.accept(),
            220..224 => self.drain(subflow),
            224..232 => self.poll(),
            232..246 => self.advance(dice.time()),
            246..247 => self.round(),
            247..248 => self.lends = dice.below(2) == 0,
            248..249 => {
                let weights = std::array::from_fn(|_| [0, 1, 1000][dice.below(3)]);
                let caps = std::array::from_fn(|_| [0, 0, 10_000_000][dice.below(3)]);
                self.set_shares(&Shares { weights, caps });
            }
            249..252 => self.test_send(dice.below(32)),
            _ => self.test_receive(dice.below(32)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_byte_is_delivered_exactly_once(
        paths in 1..=MAX_PATHS,
        lends in any::<bool>(),
        steps in proptest::collection::vec(any::<u64>(), 0..400),
    ) {
        let mut world = World::new(paths);
        world.lends = lends;
        for step in steps {
            world.step(step);
        }
        world.finish();
    }
}
