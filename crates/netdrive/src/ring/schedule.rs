//! Which piece of the data a rank receives, adds, stores and sends at each step of a ring all-reduce.
//!
//! NCCL's order (`runRing` in its `all_reduce.h`): the data is walked in loops; in each, every channel handles one chunk per
//! rank. A chunk makes n - 1 hops on which each rank adds its part, and n - 1 more on which the sum is handed round.
//! A chunk travels in several messages, so that a rank sends one while it receives the next.

/// What all ranks must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) world: usize,
    pub(crate) channels: usize,
    /// Most elements of one message.
    pub(crate) message: usize,
    /// Most messages of one chunk.
    pub(crate) chunk_messages: usize,
    /// Elements to reduce.
    pub(crate) count: usize,
}

/// One step of one channel: at most one message in and one out, of the same elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Waits for a message.
    pub(crate) receive: bool,
    /// The rank's own input is part of the result: alone, or added to what was received.
    pub(crate) add: bool,
    /// The result belongs in the output.
    pub(crate) store: bool,
    /// The result goes on to the next rank.
    pub(crate) send: bool,
    /// First element.
    pub(crate) offset: usize,
    /// Elements; may be 0: every channel sends as many messages as any other.
    pub(crate) len: usize,
}

/// Where one channel of one rank is in the schedule.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    shape: Shape,
    rank: usize,
    channel: usize,
    start: usize,
    hop: usize,
    message: usize,
}

impl Cursor {
    pub(crate) fn new(shape: Shape, rank: usize, channel: usize) -> Self {
        Self { shape, rank, channel, start: 0, hop: 0, message: 0 }
    }

    /// The step to do now; `None` at the end.
    pub(crate) fn step(&self) -> Option<Step> {
        let Shape { world, count, .. } = self.shape;
        if self.start >= count {
            return None;
        }
        let chunk = self.shape.chunk(self.start);
        // The chunk at hop h is the one that began h hops ago at the rank h places back.
        let index = (self.rank + 2 * world - 1 - self.hop) % world;
        let begin = self.start + (self.channel * world + index) * chunk;
        let end = (begin + chunk).min(count);
        let offset = (begin + self.message * self.shape.message).min(end).min(count);
        Some(Step {
            receive: self.hop > 0,
            add: self.hop < world,
            store: self.hop + 1 >= world,
            send: self.hop + 2 < 2 * world,
            offset,
            len: end.saturating_sub(offset).min(self.shape.message),
        })
    }

    /// Goes on to the next step.
    pub(crate) fn advance(&mut self) {
        self.message += 1;
        if self.message < self.shape.messages(self.start) {
            return;
        }
        self.message = 0;
        self.hop += 1;
        if self.hop < self.shape.hops() {
            return;
        }
        self.hop = 0;
        self.start += self.shape.span(self.start);
    }
}

impl Shape {
    /// How many messages each channel of each rank receives.
    pub(crate) fn rounds(&self) -> u64 {
        let mut rounds = 0;
        let mut start = 0;
        while start < self.count {
            rounds += (self.hops() - 1) as u64 * self.messages(start) as u64;
            start += self.span(start);
        }
        rounds
    }

    /// Steps of a chunk: n - 1 hops to add, n - 1 to hand round, and the one that only sends.
    const fn hops(&self) -> usize {
        2 * self.world - 1
    }

    /// Elements of a chunk in the loop that begins at `start`: the rest in equal parts of whole 16 bytes, up to the most.
    fn chunk(&self, start: usize) -> usize {
        let rest = (self.count - start).div_ceil(self.world * self.channels);
        rest.next_multiple_of(4).min(self.message * self.chunk_messages)
    }

    fn messages(&self, start: usize) -> usize {
        self.chunk(start).div_ceil(self.message)
    }

    fn span(&self, start: usize) -> usize {
        self.chunk(start) * self.world * self.channels
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Runs the schedule of all ranks over queues; exact sums of powers of two show who was added, and how often.
    fn all_reduce(shape: Shape) {
        let inputs: Vec<Vec<u64>> = (0..shape.world)
            .map(|rank| (0..shape.count as u64).map(|at| (at << 20) + (1 << rank)).collect())
            .collect();
        let mut outputs = vec![vec![0; shape.count]; shape.world];
        let mut wires = vec![VecDeque::<Vec<u64>>::new(); shape.world * shape.channels];
        let mut cursors: Vec<(usize, usize, Cursor)> = (0..shape.world)
            .flat_map(|rank| {
                (0..shape.channels).map(move |channel| (rank, channel, Cursor::new(shape, rank, channel)))
            })
            .collect();
        let mut received = 0;
        loop {
            let mut moved = false;
            for (rank, channel, cursor) in &mut cursors {
                let Some(step) = cursor.step() else { continue };
                let mut value = if step.receive {
                    let Some(value) = wires[*rank * shape.channels + *channel].pop_front() else { continue };
                    received += 1;
                    assert_eq!(value.len(), step.len, "{step:?}");
                    value
                } else {
                    vec![0; step.len]
                };
                let range = step.offset..step.offset + step.len;
                if step.add {
                    value.iter_mut().zip(&inputs[*rank][range.clone()]).for_each(|(sum, part)| *sum += part);
                }
                if step.store {
                    outputs[*rank][range].copy_from_slice(&value);
                }
                if step.send {
                    wires[(*rank + 1) % shape.world * shape.channels + *channel].push_back(value);
                }
                cursor.advance();
                moved = true;
            }
            if !moved {
                break;
            }
        }
        assert!(cursors.iter().all(|(.., cursor)| cursor.step().is_none()), "{shape:?} got stuck");
        assert_eq!(received, shape.rounds() * (shape.world * shape.channels) as u64);
        for output in outputs {
            for (at, &sum) in output.iter().enumerate() {
                assert_eq!(
                    sum,
                    ((at as u64) << 20) * shape.world as u64 + (1 << shape.world) - 1,
                    "{shape:?} at {at}"
                );
            }
        }
    }

    #[test]
    fn every_element_is_summed_once_from_every_rank() {
        for world in 1..=7 {
            for channels in 1..=3 {
                for count in [0, 1, 2, 3, 5, 16, 17, 99, 256, 1000] {
                    for (message, chunk_messages) in [(4, 1), (8, 2), (16, 4)] {
                        all_reduce(Shape { world, channels, message, chunk_messages, count });
                    }
                }
            }
        }
    }

    #[test]
    fn two_ranks_by_hand() {
        let shape = Shape { world: 2, channels: 1, message: 4, chunk_messages: 1, count: 8 };
        let mut cursor = Cursor::new(shape, 0, 0);
        let mut steps = Vec::new();
        while let Some(step) = cursor.step() {
            steps.push(step);
            cursor.advance();
        }
        let step = |receive, add, store, send, offset| Step { receive, add, store, send, offset, len: 4 };
        assert_eq!(
            steps,
            [
                step(false, true, false, true, 4),
                step(true, true, true, true, 0),
                step(true, false, true, false, 4)
            ]
        );
    }

    #[test]
    fn channels_keep_to_their_own_elements_in_every_repetition() {
        // Repetitions follow each other per channel without a barrier: no channel may read what another writes.
        let shape = Shape { world: 3, channels: 2, message: 4, chunk_messages: 2, count: 100 };
        let mut owner = vec![None; shape.count];
        for channel in 0..shape.channels {
            let mut cursor = Cursor::new(shape, 1, channel);
            while let Some(step) = cursor.step() {
                for element in &mut owner[step.offset..step.offset + step.len] {
                    assert_eq!(*element.get_or_insert(channel), channel);
                }
                cursor.advance();
            }
        }
        assert!(owner.iter().all(Option::is_some));
    }
}
