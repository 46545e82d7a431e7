//! The registration socket's messages: one request, one reply.
//!
//! | Offset | Size | All messages |
//! |---|---|---|
//! | 0 | 4 | magic 0x4d504952 |
//! | 4 | 2 | length with this header |
//! | 6 | 1 | kind: 1 register, 2 deregister, 128 reply |
//! | 7 | 1 | zero |
//!
//! Register, 28 bytes: connection, SOUT source and destination, SUP source and destination, 4 bytes each.
//! Deregister, 12 bytes: connection. The reply to the first has 16 bytes, status, three zeros, slot; to the second 12,
//! status and three zeros.

use std::net::Ipv4Addr;

/// The header's length.
pub const HEADER_BYTES: usize = 8;
/// The longest request's length.
pub const LONGEST_REQUEST: usize = 28;

/// First word of every message.
const MAGIC: u32 = 0x4d50_4952;
const REPLY: u8 = 128;
/// The slot of a reply that gives none.
const NO_SLOT: u32 = u32::MAX;

/// What a request is, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connection wants its flow's slot.
    Register,
    /// A connection doesn't want it any more.
    Deregister,
}

/// A header that begins no request. Such a client gets no reply, as it would get none from MPIB's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Another protocol.
    #[error("magic {found:#010x}; want {MAGIC:#010x}")]
    Magic {
        /// The first word.
        found: u32,
    },
    /// Neither register nor deregister.
    #[error("message of type {found}; want 1 or 2")]
    Kind {
        /// The type.
        found: u8,
    },
}

/// A flow as MPIB's clients name it: IPv4 addresses whose byte order they aren't agreed on, so opaque.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// `sout_src`.
    pub src: u32,
    /// `sout_dst`.
    pub dst: u32,
}

/// A request. Connection numbers are the clients' own: two processes may use the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A connection wants its flow's slot.
    Register {
        /// The connection.
        connection: u32,
        /// Its flow on the scale-out network, which the slot is of.
        scale_out: Pair,
        /// Its flow on the scale-up network, for people.
        scale_up: Pair,
    },
    /// A connection doesn't want it any more.
    Deregister {
        /// The connection.
        connection: u32,
    },
    /// Its header gives another length than its type has.
    Malformed(Kind),
}

/// An answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The slot to read.
    Slot(u32),
    /// No slot is free.
    Full,
    /// Deregistered, or never was registered.
    Gone,
    /// What was asked makes no sense.
    Invalid(Kind),
}

impl Kind {
    /// The kind of the request that begins so.
    ///
    /// # Errors
    /// The header is none of a request.
    pub fn of(header: [u8; HEADER_BYTES]) -> Result<Self, MessageError> {
        let [m0, m1, m2, m3, _, _, kind, _] = header;
        match (u32::from_ne_bytes([m0, m1, m2, m3]), kind) {
            (MAGIC, 1) => Ok(Self::Register),
            (MAGIC, 2) => Ok(Self::Deregister),
            (MAGIC, found) => Err(MessageError::Kind { found }),
            (found, _) => Err(MessageError::Magic { found }),
        }
    }

    /// Bytes of the whole request.
    pub fn length(self) -> usize {
        match self {
            Self::Register => LONGEST_REQUEST,
            Self::Deregister => 12,
        }
    }
}

impl Request {
    /// The request in these bytes; `None` unless they are one whole request.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let kind = Kind::of(*bytes.first_chunk()?).ok().filter(|kind| kind.length() == bytes.len())?;
        let (words, []) = bytes.as_chunks::<4>() else { return None };
        let mut words = words.iter().map(|word| u32::from_ne_bytes(*word)).skip(HEADER_BYTES / 4);
        let [_, _, _, _, l0, l1, ..] = *bytes else { return None };
        if usize::from(u16::from_ne_bytes([l0, l1])) != kind.length() {
            return Some(Self::Malformed(kind));
        }
        let connection = words.next()?;
        if kind == Kind::Deregister {
            return Some(Self::Deregister { connection });
        }
        let mut pair = || Some(Pair { src: words.next()?, dst: words.next()? });
        Some(Self::Register { connection, scale_out: pair()?, scale_up: pair()? })
    }
}

impl Reply {
    /// Its bytes.
    pub fn encode(self) -> Vec<u8> {
        let (length, status, slot): (u16, u8, Option<u32>) = match self {
            Self::Slot(slot) => (16, 0, Some(slot)),
            Self::Full => (16, 1, Some(NO_SLOT)),
            Self::Gone => (12, 0, None),
            Self::Invalid(Kind::Register) => (16, 2, Some(NO_SLOT)),
            Self::Invalid(Kind::Deregister) => (12, 2, None),
        };
        let mut bytes = Vec::with_capacity(length.into());
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend(length.to_ne_bytes());
        bytes.extend([REPLY, 0, status, 0, 0, 0]);
        bytes.extend(slot.into_iter().flat_map(u32::to_ne_bytes));
        bytes
    }
}

impl std::fmt::Display for Pair {
    /// As IPv4 addresses, in the order in which MPIB's plugin makes them: host integers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", Ipv4Addr::from_bits(self.src), Ipv4Addr::from_bits(self.dst))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A request's bytes as the table says.
    fn bytes(length: u16, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut bytes = [&0x4d50_4952_u32.to_ne_bytes()[..], &length.to_ne_bytes(), &[kind, 0]].concat();
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn requests_are_what_the_table_says() {
        let register = bytes(28, 1, &[9, 0x0a00_0101, 0x0a00_0201, 3, 4]);
        let scale_out = Pair { src: 0x0a00_0101, dst: 0x0a00_0201 };
        let scale_up = Pair { src: 3, dst: 4 };
        assert_eq!(
            Request::decode(&register),
            Some(Request::Register { connection: 9, scale_out, scale_up })
        );
        assert_eq!(scale_out.to_string(), "10.0.1.1 -> 10.0.2.1");
        assert_eq!(Request::decode(&bytes(12, 2, &[9])), Some(Request::Deregister { connection: 9 }));
        assert_eq!(Request::decode(&bytes(13, 2, &[9])), Some(Request::Malformed(Kind::Deregister)));
        assert_eq!(
            Request::decode(&bytes(12, 1, &[9, 1, 2, 3, 4])),
            Some(Request::Malformed(Kind::Register))
        );
        for wrong in [&bytes(12, 2, &[9, 9]), &register[..24], &bytes(12, 3, &[9]), &[][..]] {
            assert_eq!(Request::decode(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn headers_of_others_are_named() {
        let header = |kind| *bytes(12, kind, &[]).first_chunk().unwrap();
        assert_eq!((Kind::of(header(1)), Kind::of(header(2))), (Ok(Kind::Register), Ok(Kind::Deregister)));
        assert_eq!(Kind::of(header(128)).unwrap_err().to_string(), "message of type 128; want 1 or 2");
        let error = Kind::of([0; 8]).unwrap_err();
        assert_eq!(error.to_string(), "magic 0x00000000; want 0x4d504952");
    }

    #[test]
    fn replies_are_what_the_table_says() {
        let reply = |length, rest: &[u8]| [&bytes(length, 128, &[])[..], rest].concat();
        let slot = |slot: u32| slot.to_ne_bytes();
        assert_eq!(Reply::Slot(258).encode(), reply(16, &[&[0; 4][..], &slot(258)].concat()));
        assert_eq!(Reply::Full.encode(), reply(16, &[&[1, 0, 0, 0][..], &slot(u32::MAX)].concat()));
        assert_eq!(Reply::Gone.encode(), reply(12, &[0; 4]));
        assert_eq!(Reply::Invalid(Kind::Deregister).encode(), reply(12, &[2, 0, 0, 0]));
        assert_eq!(
            Reply::Invalid(Kind::Register).encode(),
            reply(16, &[&[2, 0, 0, 0][..], &slot(u32::MAX)].concat())
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), magic: bool, kind in 0_u8..4) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 8 {
                bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
                bytes[6] = kind;
            }
            if let Some(request) = Request::decode(&bytes) {
                let kind = Kind::of(*bytes.first_chunk().unwrap()).unwrap();
                prop_assert_eq!(bytes.len(), kind.length());
                prop_assert_eq!(matches!(request, Request::Deregister { .. } | Request::Malformed(Kind::Deregister)), kind == Kind::Deregister);
            }
        }
    }
}
