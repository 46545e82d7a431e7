//! The sending side: what goes out over which subflow, and what becomes of each subflow.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::state::State;
use super::violation::Violation;
use super::{Closing, frame::HEADER};
use crate::config::MAX_PATHS;
use crate::request::{RequestId, Requests, Transfer, UnknownRequest};

/// A message that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) request: RequestId,
    /// Copy the message to this place, below [`EAGER_SLOTS`](super::EAGER_SLOTS); it is complete then.
    /// None: the message stays where it is until its request is complete.
    pub(crate) eager: Option<usize>,
}

/// What a subflow is to write in one call: the rest of a header, then payload.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) payload: Payload,
}

/// Payload of a frame, or the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A range of an outstanding request's buffer.
    Buffer {
        /// Place of the buffer among the outstanding requests.
        slot: usize,
        /// May be empty.
        range: Range<usize>,
    },
    /// A range of the copy in an eager slot.
    Eager {
        /// The slot.
        slot: usize,
        /// May be empty.
        range: Range<usize>,
    },
    /// This many bytes of any content: the receiver drops them. The message is complete, its memory
    /// may be gone, and the frame has to come to its end. Any part of it may be written.
    Filler(usize),
}

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
    /// Smoothed round-trip time.
    pub(crate) rtt: Duration,
}

/// What a sender thinks of a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It takes chunks.
    Good,
    /// What was given to it doesn't arrive: its chunks go elsewhere, and it gets no new ones while
    /// there is another.
    Suspect,
    /// It has no socket, or one that is given up.
    Down,
    /// Its new socket is being tried with pings.
    Trial,
}

/// Why a subflow's health changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing was acknowledged for this long, although data was on its way.
    Silent(Duration),
    /// All that was on its way has been acknowledged, and the hold-down is over.
    Acknowledged,
    /// Its socket ended or failed.
    Closed(Closing),
    /// The receiver can't read on before data comes that another subflow has lost.
    Blocked,
    /// Its new socket is connected.
    Connected,
    /// Pings came through.
    Answered,
    /// A ping did not come through in this time.
    Unanswered(Duration),
}

/// What the caller is to do, or to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Give up the socket: reset it, forget what it was to send.
    Abort(usize),
    /// Connect a new socket over the same pin; answer with `opened` or `open_failed`.
    Reopen {
        subflow: usize,
        /// Goes into the hello of the new socket.
        incarnation: u16,
    },
    /// The path has been silent for a while: ask for another one for this subflow.
    Avoid(usize),
    /// A subflow's health has changed.
    Changed { subflow: usize, from: Health, to: Health, why: Reason },
    /// A message is outstanding for this long; repeated with doubling time.
    Slow {
        message: u64,
        /// The subflow that has its oldest outstanding chunk, if any has.
        subflow: Option<usize>,
        waited: Duration,
    },
    /// Nothing arrived over any subflow for so long that the connection is given up. Said once.
    Dead { waited: Duration },
    /// The receiver has closed all subflows. Said once.
    PeerClosed,
}

/// How much each subflow is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Relative to each other, 0 to 1000. All equal: each carries what it can. 0: only if no other can.
    pub(crate) weights: [u16; MAX_PATHS],
    /// Bytes per second at most; 0: no limit.
    pub(crate) caps: [u64; MAX_PATHS],
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

impl Default for Shares {
    fn default() -> Shares {
        Shares { weights: [1; MAX_PATHS], caps: [0; MAX_PATHS] }
    }
}

/// The sending side of a connection.
#[derive(Debug)]
pub(crate) struct Sender {
    requests: Requests<Outbound>,
    inbox: [[u8; 4 * State::LEN]; MAX_PATHS],
    header: [u8; HEADER],
}

#[derive(Clone, Copy, Debug)]
struct Outbound {
    total: usize,
}

impl Transfer for Outbound {
    fn is_complete(&self) -> bool {
        false
    }
    fn bytes(&self) -> usize {
        self.total
    }
}

impl Sender {
    /// A sender over `paths` subflows, 1 to [`MAX_PATHS`], all connected; it gives the connection up
    /// when nothing has arrived over any of them for `dead_after`.
    pub(crate) fn new(_paths: usize, _dead_after: Duration, _now: Instant) -> Sender {
        Sender { requests: Requests::new(), inbox: [[0; 4 * State::LEN]; MAX_PATHS], header: [0; HEADER] }
    }

    /// Adds a message of `total` bytes, at most [`MAX_MESSAGE`](super::MAX_MESSAGE), unless too many
    /// are outstanding.
    pub(crate) fn post(&mut self, total: usize, _now: Instant) -> Option<Posted> {
        let request = self.requests.post(Outbound { total })?;
        Some(Posted { request, eager: None })
    }

    /// Says whether the request's message is complete with all before it.
    pub(crate) fn is_complete(&self, request: RequestId) -> bool {
        request.message() < self.requests.complete()
    }

    /// The length of the message if it is complete; its request then ends.
    pub(crate) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        self.requests.retire(request)
    }

    /// Says whether the caller or the receiver waits for something: keep calling.
    pub(crate) fn is_waiting(&self) -> bool {
        self.requests.is_waiting()
    }

    /// The subflow to offer the next chunk to first.
    pub(crate) fn first(&self) -> usize {
        0
    }

    /// What the subflow is to write next; none: nothing for it now, whether or not it has room.
    ///
    /// Followed by [`Sender::pushed`] before anything else.
    pub(crate) fn next(&mut self, _subflow: usize, _now: Instant) -> Option<Piece<'_>> {
        let _ = &self.header;
        None
    }

    /// `count` bytes were written of what [`Sender::next`] gave; 0: the socket has no room.
    pub(crate) fn pushed(&mut self, _subflow: usize, _count: usize, _now: Instant) {}

    /// Where the reverse direction of the subflow is to be read into; never empty.
    pub(crate) fn inbox(&mut self, subflow: usize) -> &mut [u8] {
        self.inbox.get_mut(subflow).map(|inbox| &mut inbox[..]).unwrap_or_default()
    }

    /// `count` bytes were read into [`Sender::inbox`].
    ///
    /// # Errors
    ///
    /// The receiver claims what can't be true; the connection has failed.
    pub(crate) fn heard(&mut self, _subflow: usize, _count: usize, _now: Instant) -> Result<(), Violation> {
        Ok(())
    }

    /// Says whether the kernel is to be asked about the subflow's socket: it has been silent.
    ///
    /// Read what has come before asking this.
    pub(crate) fn observe_due(&self, _subflow: usize, _now: Instant) -> bool {
        false
    }

    /// The kernel's answer, also if it was asked for another reason, as before an abort.
    pub(crate) fn observe(&mut self, _subflow: usize, _observation: &Observation, _now: Instant) {}

    /// The subflow's socket ended or failed; the caller has closed it or does so now.
    pub(crate) fn closed(&mut self, _subflow: usize, _how: Closing, _now: Instant) {}

    /// The socket of [`Action::Reopen`] is connected and has sent its hello.
    pub(crate) fn opened(&mut self, _subflow: usize, _incarnation: u16, _now: Instant) {}

    /// The socket of [`Action::Reopen`] could not be connected; there will be another action.
    pub(crate) fn open_failed(&mut self, _subflow: usize, _incarnation: u16, _now: Instant) {}

    /// The next thing to do; call until there is none.
    pub(crate) fn poll_action(&mut self, _now: Instant) -> Option<Action> {
        None
    }

    /// When time alone will give [`Sender::poll_action`] or [`Sender::observe_due`] something to say,
    /// at the latest.
    pub(crate) fn next_timer(&self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Takes other shares from the next chunk on.
    pub(crate) fn set_shares(&mut self, _shares: &Shares) {}

    /// What the subflow has carried and how it fares.
    pub(crate) fn counters(&self, _subflow: usize) -> Option<&Counters> {
        None
    }

    /// The port on which the receiver takes replacement sockets, once it has said so.
    pub(crate) fn port(&self) -> Option<u16> {
        None
    }
}
