//! Which piece of the data a rank receives, reduces, stores and sends at each step of a collective over a ring.
//!
//! NCCL's orders (`runRing` in its device code): the data is walked in loops; in each, every channel handles one chunk,
//! of an all-reduce one per rank. A chunk travels in several messages, so that a rank sends one while it receives the
//! next.
//!
//! - all-reduce: a chunk makes n - 1 hops on which each rank adds its part, and n - 1 more on which the sum is handed round.
//! - reduce-scatter: the first half of that; all-gather: the second.
//! - broadcast and reduce: a chain that begins or ends at the root.
//! - send-receive: a message to the next rank, then one from the previous.

use crate::Collective;

/// What all ranks must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) collective: Collective,
    pub(crate) world: usize,
    /// Channels that take part.
    pub(crate) channels: usize,
    /// Bytes of an element.
    pub(crate) element: usize,
    /// Most elements of one message.
    pub(crate) message: usize,
    /// Elements per rank, as NCCL's calls count them.
    pub(crate) count: usize,
}

/// One step of one channel: at most one message in and one out. Offsets are in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Waits for a message.
    pub(crate) receive: bool,
    /// The rank's own input from here is part of the result: alone, or reduced with what was received.
    pub(crate) input: Option<usize>,
    /// The result belongs in the output, here.
    pub(crate) output: Option<usize>,
    /// The result goes on to the next rank.
    pub(crate) send: bool,
    /// With this step every rank's input is in the result.
    pub(crate) complete: bool,
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
        let (shape, hop, rank) = (&self.shape, self.hop, self.rank);
        let Shape { world, count, .. } = *shape;
        if self.start >= count {
            return None;
        }
        let chunk = shape.chunk(self.start);
        // The chunk at hop h is the one that began h hops ago at the rank h places back.
        let block = (rank + 2 * world - 1 - hop) % world;
        let index = match shape.collective {
            Collective::AllReduce => self.channel * world + block,
            _ => self.channel,
        };
        let begin = self.start + index * chunk;
        let end = (begin + chunk).min(count);
        let at = (begin + self.message * shape.message).min(end).min(count);
        let len = end.saturating_sub(at).min(shape.message);
        let (input, output) = (Some(at), Some(at));
        let nothing = Step { receive: false, input: None, output: None, send: false, complete: false, len };
        Some(match shape.collective {
            Collective::AllReduce => Step {
                receive: hop > 0,
                input: input.filter(|_| hop < world),
                output: output.filter(|_| hop + 1 >= world),
                send: hop + 2 < 2 * world,
                complete: hop + 1 == world,
                len,
            },
            Collective::ReduceScatter => {
                let last = hop + 1 == world;
                let input = Some(block * count + at);
                Step {
                    receive: hop > 0,
                    input,
                    output: output.filter(|_| last),
                    send: !last,
                    complete: last,
                    len,
                }
            }
            Collective::AllGather => {
                let own = (rank + world - hop) % world;
                let output = Some(own * count + at);
                let input = input.filter(|_| hop == 0);
                Step { receive: hop > 0, input, output, send: hop + 1 < world, ..nothing }
            }
            Collective::Broadcast { root } => {
                let input = input.filter(|_| rank == root);
                Step { receive: rank != root, input, output, send: (rank + 1) % world != root, ..nothing }
            }
            Collective::Reduce { root } => {
                let last = rank == root;
                let output = output.filter(|_| last);
                let receive = rank != (root + 1) % world;
                Step { receive, input, output, send: !last, complete: last, ..nothing }
            }
            Collective::SendRecv | Collective::AllToAll if hop == 0 => Step { input, send: true, ..nothing },
            Collective::SendRecv | Collective::AllToAll => Step { receive: true, output, ..nothing },
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
    /// How many messages each channel of a rank receives.
    pub(crate) fn rounds(&self, rank: usize) -> u64 {
        let hops = match self.collective {
            Collective::Broadcast { root } => usize::from(rank != root),
            Collective::Reduce { root } => usize::from(rank != (root + 1) % self.world),
            Collective::SendRecv => 1,
            _ => self.hops() - 1,
        };
        let mut rounds = 0;
        let mut start = 0;
        while start < self.count {
            rounds += hops as u64 * self.messages(start) as u64;
            start += self.span(start);
        }
        rounds
    }

    /// Steps that a rank has for each message of a chunk.
    const fn hops(&self) -> usize {
        match self.collective {
            // n - 1 hops to reduce, n - 1 to hand round, and the one that only sends.
            Collective::AllReduce => 2 * self.world - 1,
            Collective::ReduceScatter | Collective::AllGather => self.world,
            Collective::SendRecv | Collective::AllToAll => 2,
            Collective::Broadcast { .. } | Collective::Reduce { .. } => 1,
        }
    }

    /// Messages of a chunk at most: NCCL's `*_CHUNKSTEPS`.
    const fn chunk_messages(&self) -> usize {
        match self.collective {
            Collective::AllReduce | Collective::ReduceScatter | Collective::AllGather => 4,
            _ => 1,
        }
    }

    /// Chunks of one loop.
    const fn parts(&self) -> usize {
        match self.collective {
            Collective::AllReduce => self.world * self.channels,
            _ => self.channels,
        }
    }

    /// Elements of a chunk in the loop that begins at `start`: the rest in equal parts of whole 16 bytes, up to the most.
    fn chunk(&self, start: usize) -> usize {
        let rest = (self.count - start).div_ceil(self.parts());
        rest.next_multiple_of(16 / self.element).min(self.message * self.chunk_messages())
    }

    fn messages(&self, start: usize) -> usize {
        self.chunk(start).div_ceil(self.message)
    }

    fn span(&self, start: usize) -> usize {
        self.chunk(start) * self.parts()
    }
}

#[cfg(test)]
mod tests;
