//! The first bytes of every subflow: which connection it belongs to, in what place, over which path.
//!
//! ```text
//! hello    0 magic  8 version  10 paths  11 index      12 incarnation  14 name length  15 zero  16 connection id
//! refusal  0 magic  8 version  10 paths  11 objection  12 zero         14 name length  15 zero  16 connection id
//!          24 zero  32 path name, and zeros up to a multiple of 64
//! ```
//!
//! Big-endian. The connector sends a hello on each subflow and goes on with chunks at once. The
//! listener answers only to refuse: an answer to every hello could arrive after the sender has closed,
//! and TCP would then reset the connection with the last chunks still unsent.
//!
//! The first 11 bytes are those of every version, so that each can say what it is to the others.

use std::fmt;
use std::sync::Arc;

use crate::config::MAX_PATHS;
use crate::fields::{GRAIN, Reader, Writer};

/// Version of the protocol: hello, chunk headers and [`ListenAddress`](crate::ListenAddress).
pub const VERSION: u16 = 4;

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

/// What one side says a subflow is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it speaks.
    pub terms: Terms,
    /// The same on every subflow of a connection; random.
    pub connection: u64,
    /// The subflow's path: names of hops, empty where nobody knows. At most 255 bytes travel.
    pub path: Arc<str>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, connection {:016x}", self.terms, self.connection)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, ", path {}", self.path) }
    }
}

/// What a connector says first on a subflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) identity: Identity,
    /// Place of this subflow in its connection, from 0.
    pub(crate) index: u8,
    /// How often this subflow's socket has been replaced.
    pub(crate) incarnation: u16,
}

/// Bytes before the path's name, of a hello and of a refusal.
pub(crate) const HEAD: usize = 32;

/// Most bytes of a hello or a refusal.
pub(crate) const LONGEST: usize = (HEAD + NAME).next_multiple_of(GRAIN);

/// Most bytes of a path's name that travel.
const NAME: usize = 255;

/// Place of the name's length.
const NAME_LENGTH: usize = 14;

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Identity { terms, connection, path } = &self.identity;
        encode(MAGIC, *terms, self.index, self.incarnation, *connection, path)
    }

    /// The length of the hello or refusal that begins with `head`.
    pub(crate) fn len(head: &[u8; HEAD]) -> usize {
        (HEAD + name_length(head)).next_multiple_of(GRAIN)
    }

    /// Reads a hello and checks it against what the listener speaks.
    pub(crate) fn decode(bytes: &[u8], ours: Terms) -> Result<Hello, Unwelcome> {
        let Some((head, name)) = bytes.split_first_chunk::<HEAD>() else {
            return Err(Unwelcome::Foreign);
        };
        let mut fields = Reader::new(head);
        if fields.u64() != MAGIC {
            return Err(Unwelcome::Foreign);
        }
        let terms = Terms { version: fields.u16(), paths: fields.u8() };
        let (index, incarnation) = (fields.u8(), fields.u16());
        fields.bytes::<2>();
        let path = name_in(head, name);
        let hello =
            Hello { identity: Identity { terms, connection: fields.u64(), path }, index, incarnation };
        if terms.version != ours.version || !(1..=ours.paths).contains(&terms.paths) {
            return Err(Unwelcome::Hello { objection: Objection::Terms, hello });
        }
        if index >= terms.paths {
            return Err(Unwelcome::Hello { objection: Objection::Index, hello });
        }
        Ok(hello)
    }

    /// Says whether `bytes`, perhaps only the first few, can be the beginning of a hello.
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        MAGIC.to_be_bytes().iter().zip(bytes).all(|(a, b)| a == b)
    }

    /// Says whether `bytes` are long enough for the version's sake, which is always in the same place.
    pub(crate) fn is_whole(bytes: &[u8], ours: Terms) -> bool {
        match bytes.first_chunk::<HEAD>() {
            // Another version's hello may be of another length.
            Some(head) => {
                let mut fields = Reader::new(head);
                fields.bytes::<8>();
                fields.u16() != ours.version || bytes.len() >= Hello::len(head)
            }
            None => false,
        }
    }
}

/// Why a listener does not take a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    /// It isn't of this protocol.
    Foreign,
    /// It is, and doesn't fit.
    Hello { objection: Objection, hello: Hello },
}

/// Why a listener refuses a subflow of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Versions differ, or the connector has more subflows than the listener takes.
    #[error("it speaks something else")]
    Terms,
    /// The index isn't below the number of subflows.
    #[error("the subflow's index is not below the number of subflows")]
    Index,
    /// The place is taken.
    #[error("it has this subflow already")]
    Duplicate,
    /// Another subflow of the connection said another number of subflows.
    #[error("other subflows of this connection said another number of subflows")]
    Paths,
    /// A replacement for a connection that isn't this receiver's.
    #[error("the replacement is for another connection")]
    Connection,
    /// A replacement that isn't newer than what it would replace.
    #[error("the replacement is not newer than what it has")]
    Stale,
    /// A reason that this version doesn't know.
    #[error("it gave no reason that is known here")]
    Unknown,
}

/// What a listener says before it drops a subflow of this protocol.
pub(crate) struct Refusal;

impl Refusal {
    pub(crate) fn encode(objection: Objection, ours: &Identity) -> Vec<u8> {
        let code = CODES.iter().position(|known| *known == objection).unwrap_or(CODES.len());
        let code = u8::try_from(code).unwrap_or(u8::MAX);
        encode(REFUSAL_MAGIC, ours.terms, code, 0, ours.connection, &ours.path)
    }

    /// Says whether `bytes` begin as a refusal does.
    pub(crate) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&REFUSAL_MAGIC.to_be_bytes())
    }

    /// The listener's objection and what it has, as far as it said; none if this is no refusal.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Objection, Identity)> {
        // An older version's refusal ends after the number of paths.
        if !Self::begins(bytes) || bytes.len() < 11 {
            return None;
        }
        let mut head = [0; HEAD];
        let known = bytes.len().min(HEAD);
        head.get_mut(..known)?.copy_from_slice(bytes.get(..known)?);
        let mut fields = Reader::new(&head);
        fields.bytes::<8>();
        let terms = Terms { version: fields.u16(), paths: fields.u8() };
        let objection = match CODES.get(usize::from(fields.u8())) {
            Some(objection) if terms.version == VERSION => *objection,
            _ if terms.version == VERSION => Objection::Unknown,
            _ => Objection::Terms,
        };
        fields.bytes::<4>();
        let connection = fields.u64();
        let path = name_in(&head, bytes.get(HEAD..).unwrap_or_default());
        Some((objection, Identity { terms, connection, path }))
    }
}

/// The objections by their number on the wire.
const CODES: [Objection; 6] = [
    Objection::Terms,
    Objection::Index,
    Objection::Duplicate,
    Objection::Paths,
    Objection::Connection,
    Objection::Stale,
];

fn encode(magic: u64, terms: Terms, byte: u8, word: u16, connection: u64, path: &str) -> Vec<u8> {
    let name = bounded(path);
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let head: [u8; HEAD] = Writer::new()
        .put(magic.to_be_bytes())
        .put(terms.version.to_be_bytes())
        .put([terms.paths, byte])
        .put(word.to_be_bytes())
        .put([length, 0])
        .put(connection.to_be_bytes())
        .finish();
    let mut bytes = [&head[..], name.as_bytes()].concat();
    bytes.resize(Hello::len(&head), 0);
    bytes
}

fn name_length(head: &[u8; HEAD]) -> usize {
    usize::from(head.get(NAME_LENGTH).copied().unwrap_or_default())
}

/// The name at the beginning of what follows the head, as far as it has come.
fn name_in(head: &[u8; HEAD], behind: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(behind.get(..name_length(head)).unwrap_or(behind)).into()
}

/// The name in at most [`NAME`] bytes; one that was cut ends with an ellipsis.
fn bounded(path: &str) -> String {
    const MARK: &str = "…";
    if path.len() <= NAME {
        return path.to_owned();
    }
    let end = path.floor_char_boundary(NAME - MARK.len());
    format!("{}{MARK}", path.get(..end).unwrap_or_default())
}

const _: () = assert!(MAX_PATHS <= u8::MAX as usize, "paths travel in one byte");

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Terms = Terms { version: VERSION, paths: 4 };

    fn hello() -> Hello {
        let identity = Identity {
            terms: Terms { version: VERSION, paths: 3 },
            connection: 0x0123_4567_89ab_cdef,
            path: "leaf00 > spine01 > leaf01".into(),
        };
        Hello { identity, index: 2, incarnation: 7 }
    }

    #[test]
    fn a_hello_comes_back_as_it_was() {
        let bytes = hello().encode();
        assert_eq!(Hello::decode(&bytes, OURS), Ok(hello()));
        assert!((0..=bytes.len()).all(|n| Hello::may_begin(&bytes[..n])));
        assert!((0..bytes.len()).all(|n| !Hello::is_whole(&bytes[..n], OURS)));
        assert!(Hello::is_whole(&bytes, OURS));
        assert!(!Hello::may_begin(b"GET / HTTP/1.1"));
    }

    #[test]
    fn a_long_name_is_cut_with_a_mark_and_between_letters() {
        let mut hello = hello();
        hello.identity.path = "ü".repeat(200).into();
        let bytes = hello.encode();
        let name = usize::from(bytes[NAME_LENGTH]);
        assert!(bytes.len() <= LONGEST && name <= NAME && name > NAME - 4, "{name}");
        let said = Hello::decode(&bytes, OURS).unwrap().identity.path;
        assert!(said.starts_with("üüü") && said.ends_with("ü…"), "{said}");
        hello.identity.path = "x".repeat(NAME).into();
        assert_eq!(Hello::decode(&hello.encode(), OURS).unwrap(), hello, "just fits");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let decode = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            match Hello::decode(&hello.encode(), OURS).unwrap_err() {
                Unwelcome::Hello { objection, hello: said } if said == hello => objection,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(decode(|h| h.identity.terms.version = 9), Objection::Terms);
        assert_eq!(decode(|h| h.identity.terms.paths = 5), Objection::Terms);
        assert_eq!(decode(|h| h.identity.terms.paths = 0), Objection::Terms);
        assert_eq!(decode(|h| h.index = 3), Objection::Index);
        assert_eq!(Hello::decode(&[7; 32], OURS), Err(Unwelcome::Foreign));
        assert_eq!(Hello::decode(&[7; 3], OURS), Err(Unwelcome::Foreign));
    }

    #[test]
    fn a_refusal_carries_what_the_listener_has() {
        let ours = hello().identity;
        for objection in CODES {
            let bytes = Refusal::encode(objection, &ours);
            assert!(Refusal::begins(&bytes) && bytes.len() == Hello::len(bytes.first_chunk().unwrap()));
            assert_eq!(Refusal::decode(&bytes), Some((objection, ours.clone())));
        }
        assert_eq!(Refusal::decode(&[0; HEAD]), None);
        let text = ours.to_string();
        assert_eq!(
            text,
            "version 4 with 3 subflows, connection 0123456789abcdef, path leaf00 > spine01 > leaf01"
        );
    }

    #[test]
    fn other_versions_are_understood_as_such() {
        let old = [&REFUSAL_MAGIC.to_be_bytes()[..], &[0, 1, 4, 0, 0, 0, 0, 0]].concat();
        let (objection, theirs) = Refusal::decode(&old).unwrap();
        assert_eq!((objection, theirs.terms), (Objection::Terms, Terms { version: 1, paths: 4 }));
        let old = [&MAGIC.to_be_bytes()[..], &[0, 1, 4, 0], &[0; 20]].concat();
        assert!(Hello::is_whole(&old, OURS));
        let Err(Unwelcome::Hello { objection: Objection::Terms, hello }) = Hello::decode(&old, OURS) else {
            panic!("an old hello is one of other terms");
        };
        assert_eq!(hello.identity.terms.version, 1);
    }
}
