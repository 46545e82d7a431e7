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
    /// A message is on its way for this long; repeated with doubling time while the connection is slow.
    Slow { message: u64, waited: Duration, stuck: Stuck },
    /// Nothing arrived over any subflow for so long that the connection is given up. Said once.
    Dead { waited: Duration },
    /// The receiver has closed all subflows. Said once.
    PeerClosed,
}

/// What a slow message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The oldest part that neither the receiver nor its kernel has, as far as is known, was given to this subflow so
    /// long ago.
    OnWay { subflow: usize, since: Duration },
    /// Its oldest part was given to this subflow last, which can't deliver it, and no other takes it.
    Lost { subflow: usize },
    /// No subflow works.
    NoPath,
    /// The receiver has no receive for it, as far as it said so long ago, and no room.
    NoReceive { heard: Duration },
    /// The receiver has a receive for it, and its kernel all that it has room for. It last said something so long ago.
    NotTaken { heard: Duration },
}
