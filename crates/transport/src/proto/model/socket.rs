//! A TCP connection between two kernels.

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
        self.out.len()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    pub(super) fn answer(&mut self, bytes: &[u8]) {
        self.back.extend(bytes);
    }

    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        self.peer.take(count)
    }

    pub(super) fn hear(&mut self, count: usize) -> Vec<u8> {
        self.home.take(count)
    }

    /// The path moves up to so many bytes; `shut`: the peer takes none any more.
    pub(super) fn carry(&mut self, there: usize, back: usize, shut: bool, now: Instant) {
        self.told |= self.refused;
        if !shut {
            let moved = self.out.take(there.min(WINDOW.saturating_sub(self.peer.len())));
            if !moved.is_empty() {
                self.acked += moved.len() as u64;
                self.last_ack = Some(now);
                self.peer.extend(&moved);
            }
        }
        self.home.extend(&self.back.take(back));
    }

    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Bytes that the sender's kernel still has.
    pub(super) fn held(&self) -> usize {
        self.out.len()
    }

    pub(super) fn is_refused(&self) -> bool {
        self.told
    }

    pub(super) fn is_read(&self) -> bool {
        self.peer.len() == 0
    }

    pub(super) fn observe(&self, now: Instant) -> Observation {
        let room = WINDOW.saturating_sub(self.peer.len());
        let on_the_wire = self.out.len().min(room);
        Observation {
            acked: self.acked,
            unacked: u32::try_from(on_the_wire.div_ceil(MSS as usize)).unwrap(),
            unsent: u32::try_from(self.out.len() - on_the_wire).unwrap(),
            last_ack: self.last_ack.map_or(Duration::from_secs(1), |last| now - last),
            rtt: Duration::from_micros(100),
            min_rtt: Duration::from_micros(100),
            mss: MSS,
        }
    }
}

/// Bytes in order; those taken are dropped now and then, since moving the rest each time is slow.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let end = self.taken + count.min(self.len());
        let taken = self.bytes[self.taken..end].to_vec();
        self.taken = end;
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        taken
    }
}
