//! The protocol of a connection as two state machines: no sockets, no memory, no clock.
//!
//! A connection carries messages one way over 1 to [`MAX_PATHS`] byte streams, its *subflows*. Forward
//! go frames (`frame`): chunks of messages, each with a header, and pings. On the reverse direction of
//! each stream come state frames (`state`), small, cumulative, over whichever subflow is at hand. A
//! subflow may die and come back as another socket: its *incarnation* is the number of the socket.
//!
//! [`Sender`] cuts messages into chunks, which the subflows pull, keeps what the receiver may not have,
//! judges each subflow's health by what is acknowledged, and issues chunks again over other subflows.
//! [`Receiver`] says where bytes land. Both are told the time, allocate nothing once made, and never
//! touch payload: the caller moves bytes as it is told.
//!
//! # Calls of a sender
//!
//! ```text
//! post(total, now)                -> Posted { request, eager }: copy the message into eager slot, if some
//! retire(request), is_complete, is_waiting
//! first()                         the subflow to offer the next chunk to first
//! next(subflow, now)              -> Piece { header, payload }: write both in one call, then
//! pushed(subflow, count, given, now)      count bytes of it were written (0: no room, the chunk goes elsewhere)
//! inbox(subflow), heard(subflow, count, now)      read state frames into the one, tell it with the other
//! observe_due(subflow, now), observe(subflow, ..) ask the kernel when told so, tell what it said
//! doubtful(now), holds(subflow, count)            before writing: the same about bytes that it still holds
//! closed(subflow, how, now)       the socket ended or failed
//! opened(subflow, incarnation, now), open_failed(subflow, incarnation, now)   answers to Action::Reopen
//! poll_action(now) -> Action      until it has none: after reading and observing, before writing
//! next_timer(now)                 when poll_action has something to do at the latest
//! set_shares(shares), counters(subflow), port()
//! ```
//!
//! # Calls of a receiver
//!
//! A stream is named by its subflow's index, and by index + [`MAX_PATHS`] once another socket has
//! replaced it (*old* stream, to be read to its end). For each stream that may be readable:
//!
//! ```text
//! loop {
//!     while let Some(copy) = step(stream)? { copy copy.bytes to copy.offset of buffer copy.slot }
//!     match wants(stream) {
//!         None             => break: nothing may be read now
//!         Some(want)       => readv into [want.landing, want.inbox], or MSG_TRUNC where it is Discard
//!     }
//!     came(stream, count)         then once more: step sees what has come
//! }
//! ```
//!
//! `post`, `retire`, `is_complete`, `is_waiting` as for the sender; `ack_due(subflow, now)`, then
//! `ack(subflow)` gives bytes to write and `acked(subflow, count, now)` says how many were;
//! `replace(subflow, incarnation)` before the first byte of a replacement socket is read;
//! `closed(stream, how, now)`; `peer_gone(now)`; `poll_late(now)`; `set_port`, `say_goodbye`, `counters(subflow)`.
//!
//! # Closing
//!
//! A sender that closes a socket while state frames are on their way to it makes its kernel answer with
//! a reset, and what the kernel had not sent by then is lost. So a sender first ends its direction
//! (`shutdown`) and reads on until the receiver ends the other, which it does when all streams ended.

mod frame;
#[cfg(test)]
mod model;
mod receive;
mod send;
mod slow;
mod state;
mod violation;

pub(crate) use receive::{Landing, Late, Receiver, Refused, Want};
pub(crate) use send::{
    Action, FRAMES, Given, Health, Observation, Payload, Piece, Reason, Sender, Shares, Stuck,
};
pub use violation::Violation;

use crate::config::MAX_PATHS;
use std::time::Duration;

/// Streams that a receiver reads: one a subflow, and the one that it replaced.
pub(crate) const MAX_STREAMS: usize = 2 * MAX_PATHS;

/// Messages up to this length, bytes, are copied: their buffers are the caller's again before the receiver answers.
///
/// NCCL keeps eight messages outstanding. Eight of this length are what a path carries in a hundred microseconds,
/// about the time of an answer; of longer ones eight are enough, and copying would cost more than waiting (a tenth
/// of the throughput at 64 KiB).
pub(crate) const EAGER_LIMIT: usize = 32 << 10;

/// Places of [`EAGER_LIMIT`] bytes that the caller of a [`Sender`] has for copies.
///
/// Twice the messages that can be outstanding otherwise. Memory is taken from the kernel for places that are used,
/// and the first free one is used next.
pub(crate) const EAGER_SLOTS: usize = 64;

/// Length of the longest message, bytes: more can't be cut into chunks of 32-bit length.
pub(crate) const MAX_MESSAGE: usize = 1 << 41;

/// Length of a chunk on a slow path, bytes; down to half of it while other connections of the process are busy too.
pub(crate) const SLOW_CHUNK: u64 = 32 << 10;

/// How long after one subflow was closed by the peer the others may follow for it to be one event.
pub(crate) const CLOSING: Duration = Duration::from_millis(500);

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The peer ended it in order.
    End,
    /// The peer reset it.
    Reset,
    /// The socket failed otherwise: no route, timed out.
    Failed,
}
