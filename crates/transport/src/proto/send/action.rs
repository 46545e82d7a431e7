//! What a sender thinks of its subflows, and what it wants done about them.

use std::time::Duration;

use crate::proto::Closing;

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
