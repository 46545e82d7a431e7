//! The first 32 bytes of every subflow: which connection it belongs to, and in what place.
//!
//! ```text
//! hello    0 magic  8 version  10 paths  11 index  12 zero  16 connection id  24 zero  32
//! refusal  0 magic  8 version  10 paths  11 zero                                       16
//! ```
//!
//! Big-endian. The connector sends a hello on each subflow and goes on with chunks at once. The
//! listener answers only to refuse: an answer to every hello could arrive after the sender has closed,
//! and TCP would then reset the connection with the last chunks still unsent.

use std::fmt;

use crate::config::MAX_PATHS;
use crate::fields::{Reader, Writer};

/// Version of the protocol: hello, chunk headers and [`ListenAddress`](crate::ListenAddress).
pub const VERSION: u16 = 1;

const MAGIC: u64 = 0x5352_7636_4e65_7401;
const REFUSAL_MAGIC: u64 = 0x5352_7636_4e6f_2101;

/// What one side of a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Protocol version.
    pub version: u16,
    /// Subflows per connection.
    pub paths: u8,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} with {} subflows", self.version, self.paths)
    }
}

/// What a connector says first on a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) terms: Terms,
    /// Place of this subflow in its connection, from 0.
    pub(crate) index: u8,
    /// The same on every subflow of a connection; random.
    pub(crate) connection: u64,
}

impl Hello {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn encode(&self) -> [u8; Hello::LEN] {
        Writer::new()
            .put(MAGIC.to_be_bytes())
            .put(self.terms.version.to_be_bytes())
            .put([self.terms.paths, self.index])
            .put([0; 4])
            .put(self.connection.to_be_bytes())
            .finish()
    }

    /// Reads a hello and checks it against what the listener speaks.
    pub(crate) fn decode(bytes: &[u8; Hello::LEN], ours: Terms) -> Result<Hello, Unwelcome> {
        let mut fields = Reader::new(bytes);
        if fields.u64() != MAGIC {
            return Err(Unwelcome::Foreign);
        }
        let terms = Terms { version: fields.u16(), paths: fields.u8() };
        let index = fields.u8();
        if terms.version != ours.version || !(1..=ours.paths).contains(&terms.paths) {
            return Err(Unwelcome::Terms { ours, theirs: terms });
        }
        if index >= terms.paths {
            return Err(Unwelcome::Index { index, paths: terms.paths });
        }
        fields.bytes::<4>();
        Ok(Hello { terms, index, connection: fields.u64() })
    }

    /// Says whether `bytes`, perhaps only the first few, can be the beginning of a hello.
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        MAGIC.to_be_bytes().iter().zip(bytes).all(|(a, b)| a == b)
    }
}

/// Why a listener does not take a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwelcome {
    #[error("it is not of this protocol")]
    Foreign,
    #[error("it speaks {theirs}, wanted at most {ours}")]
    Terms { ours: Terms, theirs: Terms },
    #[error("it says it is subflow {index} of {paths}, wanted an index below the number")]
    Index { index: u8, paths: u8 },
    #[error("its connection has a subflow {index} already")]
    Duplicate { index: u8 },
    #[error("it says its connection has {paths} subflows, another subflow said {others}")]
    Paths { paths: u8, others: u8 },
}

/// What a listener says before it drops a subflow of this protocol.
pub(crate) struct Refusal;

impl Refusal {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn encode(ours: Terms) -> [u8; Refusal::LEN] {
        Writer::new()
            .put(REFUSAL_MAGIC.to_be_bytes())
            .put(ours.version.to_be_bytes())
            .put([ours.paths])
            .finish()
    }

    /// The listener's terms, or none if this is no refusal.
    pub(crate) fn decode(bytes: &[u8; Refusal::LEN]) -> Option<Terms> {
        let mut fields = Reader::new(bytes);
        (fields.u64() == REFUSAL_MAGIC).then(|| Terms { version: fields.u16(), paths: fields.u8() })
    }
}

const _: () = assert!(MAX_PATHS <= u8::MAX as usize, "paths travel in one byte");

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Terms = Terms { version: VERSION, paths: 4 };

    fn hello() -> Hello {
        Hello { terms: Terms { version: VERSION, paths: 3 }, index: 2, connection: 0x0123_4567_89ab_cdef }
    }

    #[test]
    fn a_hello_comes_back_as_it_was() {
        let bytes = hello().encode();
        assert_eq!(Hello::decode(&bytes, OURS), Ok(hello()));
        assert!((0..=Hello::LEN).all(|n| Hello::may_begin(&bytes[..n])));
        assert!(!Hello::may_begin(b"GET / HTTP/1.1"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let decode = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            Hello::decode(&hello.encode(), OURS).unwrap_err()
        };
        assert_eq!(
            decode(|h| h.terms.version = 9).to_string(),
            "it speaks version 9 with 3 subflows, wanted at most version 1 with 4 subflows"
        );
        assert!(matches!(decode(|h| h.terms.paths = 5), Unwelcome::Terms { .. }));
        assert!(matches!(decode(|h| h.terms.paths = 0), Unwelcome::Terms { .. }));
        assert_eq!(decode(|h| h.index = 3), Unwelcome::Index { index: 3, paths: 3 });
        assert_eq!(Hello::decode(&[7; 32], OURS), Err(Unwelcome::Foreign));
    }

    #[test]
    fn a_refusal_carries_the_listener_s_terms() {
        assert_eq!(Refusal::decode(&Refusal::encode(OURS)), Some(OURS));
        assert_eq!(Refusal::decode(&[0; Refusal::LEN]), None);
    }
}
