//! What initiator and target say to each other beside the data: a greeting, then frames of JSON behind their length.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::carried::Carried;
use crate::bench::framed;

/// Sent first, both ways: other programs that knock, and other releases of this one, are told apart by it.
pub(super) const GREETING: &[u8; 22] = b"srv6ctl bench p2p v1\r\n";

/// The part of the greeting that all versions have.
pub(super) const GREETING_START: &[u8; 19] = b"srv6ctl bench p2p v";

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Op {
    /// The initiator asks for the data and receives it.
    Read,
    /// The initiator sends the data, and the target confirms that it is there.
    Write,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) pid: u32,
}

/// What the initiator decides for both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) sizes: Vec<u64>,
    pub(super) iterations: u32,
    pub(super) warmup: u32,
    pub(super) op: Op,
    /// The communicator's hash.
    pub(super) comm_id: u64,
}

/// Both ends of a TCP connection, seen from this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frame {
    /// The initiator presents itself.
    Hello { agent: Agent, terms: Terms },
    /// The target takes part.
    Welcome { agent: Agent },
    /// The target doesn't.
    Refused(String),
    /// Where this side's net listens.
    Handles(Vec<u8>),
    /// This side has come to this step; these are its TCP connections.
    Here { step: String, connections: Vec<Ends> },
    /// What the receiving side found wrong in the transfers of a size.
    Verdict { wrong_bytes: u64 },
    /// What each connection carried, counted by the sending side; or why it can't be told.
    Carried(Result<Vec<Carried>, String>),
    /// Still alive.
    Beat,
    /// This side can't go on.
    Failed(String),
    /// This side has finished.
    Bye,
}

impl Frame {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        framed::write(self, to)
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        framed::read(from, LONGEST)
    }
}

/// Far above what a process with thousands of connections has to say.
const LONGEST: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back() {
        let agent = Agent { name: "a".into(), host: "h".into(), pid: 7 };
        let terms = Terms { sizes: vec![1, 2], iterations: 3, warmup: 0, op: Op::Write, comm_id: u64::MAX };
        let ends = Ends { local: "[2001:db8::1]:5".parse().unwrap(), remote: "10.0.0.1:6".parse().unwrap() };
        let frames = [
            Frame::Hello { agent: agent.clone(), terms },
            Frame::Welcome { agent },
            Frame::Handles(vec![0, 255]),
            Frame::Here { step: "1".into(), connections: vec![ends] },
            Frame::Verdict { wrong_bytes: 1 },
            Frame::Carried(Err("no".into())),
            Frame::Beat,
            Frame::Bye,
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        for frame in frames {
            assert_eq!(Frame::read(&mut rest).unwrap(), frame);
        }
        assert_eq!(Frame::read(&mut rest).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nonsense_is_refused_before_it_is_stored() {
        let error = Frame::read(&mut &b"GET / HTTP/1.1"[..]).unwrap_err();
        assert_eq!(error.to_string(), "a message of 1195725856 bytes");
    }
}
