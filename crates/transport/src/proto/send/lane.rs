//! A subflow as its sender sees it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::action::{Health, Reason};
use super::allowance::Allowance;
use super::flight::Flights;
use super::outbox::Part;
use super::pace::Pace;
use crate::proto::frame::HEADER;
use crate::proto::state::State;

/// What the kernel says about a subflow's socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Bytes of frames that the peer's kernel has acknowledged on this incarnation: `tcpi_bytes_acked`
    /// less the SYN (1 on the connecting side) and what was sent before the first frame.
    pub(crate) acked: u64,
    /// Segments sent and not acknowledged.
    pub(crate) unacked: u32,
    /// Bytes in the send buffer that have not been sent once.
    pub(crate) unsent: u32,
    /// Time since the last acknowledgement of any kind came.
    pub(crate) last_ack: Duration,
    /// Smoothed round-trip time, and the smallest of the last minutes.
    pub(crate) rtt: Duration,
    pub(crate) min_rtt: Duration,
    /// Largest payload of one segment, bytes; 0: not known.
    pub(crate) mss: u32,
}

/// What a subflow has carried, over all its incarnations, and how it fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Payload bytes written, copies and filler too.
    pub(crate) bytes: u64,
    /// Chunks begun, copies too.
    pub(crate) chunks: u64,
    /// Chunks begun here because another subflow did not deliver them.
    pub(crate) reissued: u64,
    /// Chunks begun here because another subflow was slow with them.
    pub(crate) hedged: u64,
    pub(crate) health: Health,
    /// Times that the health has changed.
    pub(crate) changes: u64,
    /// When it was last suspected.
    pub(crate) suspected: Option<Instant>,
    /// Bytes per second at which it delivers when it has enough to do; 0: not known yet.
    pub(crate) rate: u64,
    /// Smoothed time from a chunk's first byte to its acknowledgement.
    pub(crate) ack_time: Duration,
    /// Sockets that have replaced the first.
    pub(crate) replaced: u64,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) health: Health,
    /// The health that the caller was told, and why it changed since.
    pub(super) reported: Health,
    pub(super) why: Reason,
    /// It has a socket.
    pub(super) connected: bool,
    pub(super) incarnation: u16,
    pub(super) flights: Flights,
    /// Frames that it is to write, in order. The first may be only offered; the others have begun.
    pub(super) writing: VecDeque<Outgoing>,
    pub(super) pace: Pace,
    pub(super) stream: Stream,
    /// The last write found no room.
    pub(super) blocked: bool,
    /// The last time that something was acknowledged, or that there began to be something to.
    pub(super) progress: Instant,
    /// The last time that something was acknowledged.
    pub(super) moved: Instant,
    /// TCP has nothing outstanding here, as far as is known.
    pub(super) drained: bool,
    pub(super) observed: Option<Instant>,
    /// Largest payload of one segment of its socket.
    pub(super) mss: u32,
    /// Observations in a row that found nothing outstanding.
    pub(super) quiet: u32,
    pub(super) trouble: Trouble,
    pub(super) inbox: [u8; INBOX],
    pub(super) heard: usize,
    pub(super) counters: Counters,
}

/// Byte positions of a subflow's stream, of this incarnation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// End of the last frame that was begun.
    pub(super) begun: u64,
    /// Bytes given to the kernel.
    pub(super) pushed: u64,
    /// Bytes that the peer's kernel has.
    pub(super) acked: u64,
    /// Bytes that our kernel no longer held when it was asked that alone: as `acked`, but no sign of health.
    pub(super) left: u64,
    /// End of the last frame that the receiver has.
    pub(super) finished: u64,
    /// End of the last question.
    pub(super) asked: u64,
    /// The newest message of which a chunk was begun here.
    pub(super) newest: u64,
}

/// What went wrong on a subflow and what is done about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) suspected: Option<Instant>,
    /// Suspicions within a time; each doubles the hold-down.
    pub(super) strikes: u32,
    /// Bytes of the stream that have to be acknowledged for the suspicion to end.
    pub(super) until: u64,
    /// Since when they are.
    pub(super) cleared: Option<Instant>,
    /// Another path has been asked for.
    pub(super) avoided: bool,
    /// The caller is to reset the socket.
    pub(super) abort: bool,
    /// When the next socket is to be opened.
    pub(super) reopen: Option<Instant>,
    pub(super) backoff: Duration,
    /// The ping that has not come to the peer's kernel, and when the last one had.
    pub(super) ping: Option<Ping>,
    pub(super) pinged: Option<Instant>,
    /// The peer closed the socket.
    pub(super) closed: Option<Instant>,
}

/// A ping on its way: when it was sent, and the bytes of the stream up to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ping {
    pub(super) sent: Instant,
    pub(super) end: u64,
}

/// A frame that a subflow is offered, or in the middle of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) part: Part,
    pub(super) header: [u8; HEADER],
    /// Bytes written of header and payload together.
    pub(super) sent: usize,
    pub(super) origin: Origin,
    /// It is on this subflow's stream; else it is only offered.
    pub(super) begun: bool,
    /// The outbox knows that it is not written to its end.
    pub(super) held: bool,
}

/// Most frames in one write.
pub(crate) const FRAMES: usize = 8;

/// Why a frame is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    New,
    /// Another subflow was given it and may not deliver.
    Again,
    /// Another subflow is slow with it: that one's flight by index, and how often that was hedged.
    Hedge {
        lane: usize,
        index: usize,
        hedges: u8,
    },
    Ping,
    /// The receiver is to say what it has.
    Question,
}

/// State frames that one read may bring.
const INBOX: usize = 4 * State::LEN;

/// Pings that a receiver has to answer on a new socket; see [`Lane::ping`].
pub(super) const PINGS: u64 = 3;

/// Stands for a segment of which nothing is known: no network's is longer.
const UNKNOWN_MSS: u32 = 9000;

/// How long a ping that has come to the receiver's kernel may be unanswered.
const PING_AGAIN: Duration = Duration::from_millis(500);

/// First wait between two attempts to open a socket.
pub(super) const BACKOFF: Duration = Duration::from_millis(25);

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        HEADER + self.part.length as usize
    }
}

impl Lane {
    pub(super) fn new(allowance: &Allowance, now: Instant) -> Lane {
        Lane {
            health: Health::Good,
            reported: Health::Good,
            why: Reason::Connected,
            connected: true,
            incarnation: 0,
            flights: Flights::new(),
            writing: VecDeque::with_capacity(FRAMES),
            pace: Pace::new(allowance, now),
            stream: Stream::default(),
            blocked: false,
            progress: now,
            moved: now,
            drained: true,
            observed: None,
            mss: UNKNOWN_MSS,
            quiet: 0,
            trouble: Trouble {
                suspected: None,
                strikes: 0,
                until: 0,
                cleared: None,
                avoided: true,
                abort: false,
                reopen: None,
                backoff: BACKOFF,
                ping: None,
                pinged: None,
                closed: None,
            },
            inbox: [0; INBOX],
            heard: 0,
            counters: Counters {
                bytes: 0,
                chunks: 0,
                reissued: 0,
                hedged: 0,
                health: Health::Good,
                changes: 0,
                suspected: None,
                rate: 0,
                ack_time: Duration::ZERO,
                replaced: 0,
            },
        }
    }

    /// Bytes of frames that were begun and that the receiver does not have.
    pub(super) fn in_flight(&self) -> u64 {
        self.stream.begun - self.stream.finished
    }

    /// Bytes of frames that were begun and that are not known to have arrived.
    pub(super) fn on_its_way(&self) -> u64 {
        self.stream.begun - self.arrived().max(self.stream.left)
    }

    /// As [`Lane::in_flight`], without headers.
    pub(super) fn payload_in_flight(&self) -> u64 {
        self.in_flight().saturating_sub((self.flights.len() * HEADER) as u64)
    }

    /// Says whether it would take a chunk, if it is good.
    pub(super) fn has_room(&self) -> bool {
        self.connected && !self.blocked && !self.flights.is_full() && self.in_flight() < self.pace.limit()
    }

    /// How long one more piece is expected to take; of a path of which nothing is known only the first goes at once.
    pub(super) fn expect(&self) -> Duration {
        match self.pace.rate() {
            0 if self.flights.len() > 0 => UNKNOWN,
            0 => Duration::ZERO,
            _ => self.pace.expect(self.in_flight() + PIECE),
        }
    }

    /// Says whether what is known about its pace is old, since nothing has used it.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.flights.len() == 0 && now.saturating_duration_since(self.pace.used()) >= FORGOTTEN
    }

    /// Bytes up to which the stream is known to have arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.stream.acked.max(self.stream.finished)
    }

    /// The receiver or its kernel has something that it did not have before.
    pub(super) fn progressed(&mut self, at: Instant, now: Instant) {
        if self.health == Health::Good {
            self.pace.gap(at.saturating_duration_since(self.progress), now);
        }
        self.progress = self.progress.max(at);
        self.moved = self.progress;
        self.quiet = 0;
    }

    /// Starts the stream of a new socket.
    pub(super) fn restart(&mut self, now: Instant) {
        self.flights.clear();
        self.writing.clear();
        self.stream = Stream::default();
        self.mss = UNKNOWN_MSS;
        (self.blocked, self.drained, self.quiet) = (false, true, 0);
        (self.progress, self.moved, self.observed, self.heard) = (now, now, None, 0);
    }

    /// Says whether it could carry chunks although it is not good.
    ///
    /// Not before the receiver itself has answered a ping: until then it may refuse the socket, and
    /// what only its kernel has would be lost.
    pub(super) fn is_usable(&self) -> bool {
        match self.health {
            Health::Good | Health::Suspect => self.connected,
            Health::Trial => self.connected && self.flights.finished() > 0,
            Health::Down => false,
        }
    }

    /// Says whether a ping is to be sent: the receiver has answered the one before, or is so slow that
    /// the path has to be tried again.
    pub(super) fn ping_due(&self, now: Instant) -> bool {
        self.health == Health::Trial
            && self.trouble.ping.is_none()
            && match self.trouble.pinged {
                Some(at) if self.flights.len() > 0 => now.saturating_duration_since(at) >= PING_AGAIN,
                _ => self.flights.begun() < PINGS,
            }
    }

    /// The next ping. The last that is asked for fills a segment: a path may carry short packets and no others.
    pub(super) fn ping(&self) -> Part {
        let length = if self.flights.begun() + 1 < PINGS { 0 } else { self.mss };
        Part::ping(length)
    }

    /// Says whether a chunk would go out at once.
    pub(super) fn is_free(&self) -> bool {
        self.connected && !self.blocked && self.flights.len() == 0
    }

    /// Says whether the receiver reads nothing here before it posts a receive for a message beyond
    /// `posted`.
    pub(super) fn is_parked(&self, posted: u64) -> bool {
        self.flights.front().is_some_and(|flight| flight.part.message >= posted)
    }

    /// Silence after which the path is suspect, with so many segments unacknowledged.
    ///
    /// A receiver's kernel may wait 40 ms before it acknowledges a single segment.
    pub(super) fn patience(&self, unacked: u32) -> Duration {
        let patience = self.pace.patience();
        if unacked < 2 { patience.max(DELAYED_ACK) } else { patience }
    }

    /// How long it gets no new chunks after a suspicion has ended.
    pub(super) fn hold_down(&self) -> Duration {
        (HOLD_DOWN * (1 << self.trouble.strikes.saturating_sub(1).min(16))).min(LONGEST_HOLD_DOWN)
    }

    /// The least time between two questions to the kernel.
    pub(super) fn interval(&self) -> Duration {
        (self.pace.patience() / 4 * (1 << self.quiet.min(5))).min(LONGEST_INTERVAL)
    }
}

/// A path that is suspected again and again carries next to nothing after a while.
const HOLD_DOWN: Duration = Duration::from_millis(20);
const LONGEST_HOLD_DOWN: Duration = Duration::from_secs(5);
/// What paths are compared by: the same for all, or each of two could wait for the other.
const PIECE: u64 = 64 << 10;
const UNKNOWN: Duration = Duration::from_secs(1);
/// A path that is slow indeed is lent a chunk of two milliseconds this often, and is seldom waited for.
const FORGOTTEN: Duration = Duration::from_millis(20);
const DELAYED_ACK: Duration = Duration::from_millis(50);
const LONGEST_INTERVAL: Duration = Duration::from_millis(100);
