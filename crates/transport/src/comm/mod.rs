//! Connections that carry messages: the state machines of `proto` joined to sockets and to memory.

mod busy;
mod copies;
mod door;
mod health;
mod receive;
mod receiving;
mod redial;
mod repin;
mod replacement;
mod rest;
mod send;
mod sending;
mod slow;
mod watch;
mod writing;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use receive::RecvComm;
pub(crate) use receiving::Welcomed;
pub use send::SendComm;
pub(crate) use watch::{Watch, lock as lock_watch};

use crate::config::Config;
use crate::hello::Terms;
use crate::keeper::PathKeeper;
use crate::pin::Lane;
use crate::shares::Shares;

/// All that a sender needs to open its subflows, the first time and again.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) target: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    /// One per subflow.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) terms: Terms,
    pub(crate) connection: u64,
    pub(crate) config: Config,
    pub(crate) shares: Option<Arc<Shares>>,
    pub(crate) keeper: Option<Arc<dyn PathKeeper>>,
}

/// Bytes that one call moves at most, give or take a chunk.
///
/// NCCL's progress thread serves many connections in turn; half a millisecond of copying is what one
/// of them may take from the others.
const BYTES_PER_CALL: usize = 1 << 20;

/// A set of subflows by index: those a pass still has to look at.
#[derive(Clone, Copy, Debug)]
struct Open(u32);

impl Open {
    fn all(count: usize) -> Open {
        Open((1 << count) - 1)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    fn remove(&mut self, index: usize) {
        self.0 &= !(1 << index);
    }
}

/// What an epoll event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// The socket of a subflow, or the older one that a receiver reads to its end.
    Stream(usize),
    /// A replacement under way.
    Dial(usize),
    /// The receiver's listening socket.
    Door,
}

impl Token {
    fn encode(self) -> u64 {
        match self {
            Token::Stream(stream) => stream as u64,
            Token::Dial(subflow) => 1 << 8 | subflow as u64,
            Token::Door => 1 << 9,
        }
    }

    fn decode(token: u64) -> Token {
        let index = usize::try_from(token & 0xff).unwrap_or_default();
        match token >> 8 {
            0 => Token::Stream(index),
            1 => Token::Dial(index),
            _ => Token::Door,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_PATHS;

    #[test]
    fn subflows_are_removed_one_by_one() {
        let mut open = Open::all(MAX_PATHS);
        for index in 0..MAX_PATHS {
            assert!(open.has(index) && !open.is_empty());
            open.remove(index);
            assert!(!open.has(index));
        }
        assert!(open.is_empty());
    }

    #[test]
    fn tokens_come_back_as_they_were() {
        for token in [Token::Stream(0), Token::Stream(15), Token::Dial(0), Token::Dial(7), Token::Door] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
