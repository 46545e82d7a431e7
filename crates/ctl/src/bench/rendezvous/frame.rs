//! What ranks and hub say to each other: a length in four bytes, then JSON.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::bench::framed;

/// Sent first by whoever connects; other programs that knock are told apart by it.
pub(super) const GREETING: &[u8; 24] = b"srv6ctl bench ranks v1\r\n";

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frame {
    /// A rank presents itself.
    Hello { rank: usize, world: usize, host: String, pid: u32 },
    /// All ranks are there.
    Welcome,
    /// This rank can't take part, or not all came.
    Refused(String),
    /// A rank's part of a gather.
    Share(Vec<u8>),
    /// All parts, by rank.
    All(Vec<Vec<u8>>),
    /// Still alive.
    Beat,
    /// A rank can't go on.
    Failed(String),
    /// Nobody can go on, because of a rank.
    Gone(String),
    /// A rank has finished.
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

/// Far above what thousands of ranks with many channels need.
const LONGEST: u32 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back() {
        let frames = [
            Frame::Hello { rank: 1, world: 2, host: "a".into(), pid: 7 },
            Frame::Welcome,
            Frame::Refused("no".into()),
            Frame::Share(vec![0, 255]),
            Frame::All(vec![vec![], vec![1]]),
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
