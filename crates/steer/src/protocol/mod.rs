//! What a process and the host's agent say to each other over a unix stream socket. Pure: bytes in, messages out.
//!
//! docs/PROTOCOL.md has the tables. A frame is a length, a type and a payload; [`Frames`] cuts a stream into frames,
//! [`Request`] is what a process says and [`Event`] what the agent says.

mod bytes;
mod event;
mod frames;
#[cfg(test)]
mod golden;
mod request;
#[cfg(test)]
mod tests;

pub use event::Event;
pub use frames::{Frames, MAX_FRAME};
pub use request::{Abilities, Hello, Request};

use crate::Pinning;

/// First bytes of every hello: "SRV6".
pub const MAGIC: u32 = 0x5352_5636;

/// What this program speaks. An agent answers a hello of any version that it knows, and refuses others.
pub const VERSION: u16 = 1;

/// What came isn't the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A length that no frame has.
    #[error("a frame of {length} bytes; want 1 to {MAX_FRAME}")]
    Length {
        /// What the frame's head says.
        length: usize,
    },
    /// A type that this side isn't sent.
    #[error("message type {kind:#04x} is unknown")]
    Kind {
        /// The type.
        kind: u8,
    },
    /// A payload that ends too early.
    #[error("message type {kind:#04x} ends {missing} bytes too early")]
    Short {
        /// The type.
        kind: u8,
        /// How much is missing at least.
        missing: usize,
    },
    /// A field that no such message has.
    #[error("message type {kind:#04x}: {field} is {value}, want {wanted}")]
    Value {
        /// The type.
        kind: u8,
        /// Which field.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        wanted: &'static str,
    },
    /// A text that is no UTF-8.
    #[error("message type {kind:#04x}: a text is no UTF-8")]
    Text {
        /// The type.
        kind: u8,
    },
}

/// Codes of [`Pinning`]; 0 is "any".
const PINNINGS: [(u8, Pinning); 3] = [(1, Pinning::Mark), (2, Pinning::Ports), (3, Pinning::RoutingHeader)];

fn pinning_code(pinning: Option<Pinning>) -> u8 {
    PINNINGS.iter().find(|&&(_, p)| Some(p) == pinning).map_or(0, |&(code, _)| code)
}

fn pinning_of(code: u8) -> Option<Pinning> {
    PINNINGS.iter().find(|&&(c, _)| c == code).map(|&(_, p)| p)
}
