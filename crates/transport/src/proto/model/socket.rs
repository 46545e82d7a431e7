//! A TCP connection between two kernels.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::proto::Observation;

/// Payload of a segment.
pub(super) const MSS: u32 = 1400;

/// Receive buffer of the peer's kernel.
const WINDOW: usize = 300_000;

pub(super) struct Socket {
    subflow: usize,
    incarnation: u16,
    /// In our kernel or on the wire; in the peer's kernel.
    out: Queue,
    peer: Queue,
    /// The same on the way back.
    back: Queue,
    home: Queue,
    acked: u64,
    last_ack: Option<Instant>,
    /// The peer has closed it, and we have heard of that.
    refused: bool,
    told: bool,
}

impl Socket {
    pub(super) fn new(subflow: usize, incarnation: u16) -> Socket {
        Socket {
            subflow,
            incarnation,
            out: Queue::default(),
            peer: Queue::default(),
            back: Queue::default(),
            home: Queue::default(),
            acked: 0,
            last_ack: None,
            refused: false,
            told: false,
        }
    }

    pub(super) fn subflow(&self) -> usize {
        self.subflow
    }

    pub(super) fn incarnation(&self) -> u16 {
        self.incarnation
    }

    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn out(&self) -> usize {
        self.out.len
    }

    /// Takes the first `room` bytes.
    pub(super) fn write(&mut self, runs: Vec<Run>, room: usize) -> usize {
        let mut all = Queue::default();
        all.extend(runs);
        let taken = all.take(room);
        let before = self.out.len;
        self.out.extend(taken);
        self.out.len - before
    }

    pub(super) fn answer(&mut self, bytes: &[u8]) {
        self.back.extend(vec![Run::Copied(bytes.to_vec())]);
    }

    pub(super) fn read(&mut self, count: usize) -> Vec<Run> {
        self.peer.take(count)
    }

    pub(super) fn hear(&mut self, count: usize) -> Vec<u8> {
        let bytes = |run| match run {
            Run::Copied(bytes) => bytes,
            Run::Lent { .. } => unreachable!("receivers lend nothing"),
        };
        self.home.take(count).into_iter().flat_map(bytes).collect()
    }

    /// The path moves up to so many bytes; `shut`: the peer takes none any more.
    pub(super) fn carry(&mut self, there: usize, back: usize, shut: bool, now: Instant) {
        self.told |= self.refused;
        if !shut {
            let moved = self.out.take(there.min(WINDOW.saturating_sub(self.peer.len)));
            if !moved.is_empty() {
                let before = self.peer.len;
                self.peer.extend(moved);
                self.acked += (self.peer.len - before) as u64;
                self.last_ack = Some(now);
            }
        }
        let answers = self.back.take(back);
        self.home.extend(answers);
    }

    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Bytes that the sender's kernel still has.
    pub(super) fn held(&self) -> usize {
        self.out.len
    }

    pub(super) fn is_refused(&self) -> bool {
        self.told
    }

    pub(super) fn is_read(&self) -> bool {
        self.peer.len == 0
    }

    pub(super) fn observe(&self, now: Instant) -> Observation {
        let room = WINDOW.saturating_sub(self.peer.len);
        let on_the_wire = self.out.len.min(room);
        Observation {
            acked: self.acked,
            unacked: u32::try_from(on_the_wire.div_ceil(MSS as usize)).unwrap(),
            unsent: u32::try_from(self.out.len - on_the_wire).unwrap(),
            last_ack: self.last_ack.map_or(Duration::from_secs(1), |last| now - last),
            rtt: Duration::from_micros(100),
            min_rtt: Duration::from_micros(100),
            mss: MSS,
        }
    }
}

/// Bytes on their way.
#[derive(Clone, Debug)]
pub(super) enum Run {
    Copied(Vec<u8>),
    /// What is in the caller's memory when it is read.
    Lent {
        message: usize,
        range: Range<usize>,
    },
}

impl Run {
    fn len(&self) -> usize {
        match self {
            Run::Copied(bytes) => bytes.len(),
            Run::Lent { range, .. } => range.len(),
        }
    }

    /// Keeps so many bytes, and gives the rest.
    fn split_off(&mut self, at: usize) -> Run {
        match self {
            Run::Copied(bytes) => Run::Copied(bytes.split_off(at)),
            Run::Lent { message, range } => {
                let rest = range.start + at..range.end;
                range.end = rest.start;
                Run::Lent { message: *message, range: rest }
            }
        }
    }
}

/// Bytes in order.
#[derive(Default)]
struct Queue {
    runs: VecDeque<Run>,
    len: usize,
}

impl Queue {
    fn extend(&mut self, runs: Vec<Run>) {
        let runs = runs.into_iter().filter(|run| run.len() > 0);
        self.runs.extend(runs.inspect(|run| self.len += run.len()));
    }

    fn take(&mut self, count: usize) -> Vec<Run> {
        let mut left = count.min(self.len);
        self.len -= left;
        let mut taken = Vec::new();
        while left > 0
            && let Some(mut run) = self.runs.pop_front()
        {
            if run.len() > left {
                self.runs.push_front(run.split_off(left));
            }
            left -= run.len();
            taken.push(run);
        }
        taken
    }
}
