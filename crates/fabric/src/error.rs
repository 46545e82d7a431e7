//! What can be wrong with documents and carriers, and how errors are told.

use std::net::Ipv6Addr;

/// A topology document that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// The text is not JSON.
    #[error("{file}: not JSON: {reason}")]
    Json {
        /// File, or other name of the text.
        file: String,
        /// Parser's words, with line and column.
        reason: String,
    },
    /// The text is JSON, but none of the shapes that hold documents.
    #[error(
        "{file}: want an array of documents, an object of collections (name: [documents]), or \
         {{\"edges\": [...], \"vertices\": {{...}}}}; found {found}"
    )]
    Shape {
        /// File, or other name of the text.
        file: String,
        /// What was there instead.
        found: String,
    },
    /// One field of one document.
    #[error("{document}: field {field}: {found}; want {want}")]
    Field {
        /// `collection/key`, or `collection[index]` where the key itself is missing.
        document: String,
        /// Field's name, with dots and indexes for nested ones.
        field: String,
        /// The value found, or "missing".
        found: String,
        /// What would be right.
        want: &'static str,
    },
    /// Two documents with one id.
    #[error("{id}: two documents have this id")]
    Duplicate {
        /// The id.
        id: String,
    },
    /// Two hosts with one address.
    #[error("{first} and {second} both have address {address}")]
    SharedAddress {
        /// The address.
        address: String,
        /// Id of the one seen first.
        first: String,
        /// Id of the other.
        second: String,
    },
    /// An edge whose end is no vertex.
    #[error("{edge}: {end} {vertex} is no vertex of this topology")]
    Dangling {
        /// Edge's id.
        edge: String,
        /// `_from` or `_to`.
        end: &'static str,
        /// The id that leads nowhere.
        vertex: String,
    },
    /// A topology must have these to be of any use.
    #[error("the topology has no {what}")]
    Empty {
        /// `hosts`, `switches` or `edges`.
        what: &'static str,
    },
}

/// A path that no carrier can express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// Block or uSID length that doesn't fit an IPv6 address.
    #[error(
        "block of {block_len} bits with uSIDs of {usid_len} bits: want 1 to 112 and 8 to 32 bits, at least one uSID per carrier"
    )]
    Format {
        /// Bits of the block.
        block_len: u8,
        /// Bits of one uSID.
        usid_len: u8,
    },
    /// A uSID of 0 means "end of carrier" and can't be packed.
    #[error("uSID 0 is the end of a carrier (RFC 9800 section 4.1) and can't be a waypoint")]
    ZeroUsid,
    /// A uSID wider than the format has room for.
    #[error("uSID {usid:#x} does not fit {usid_len} bits")]
    WideUsid {
        /// The uSID.
        usid: u32,
        /// Bits of one uSID.
        usid_len: u8,
    },
    /// More uSIDs than one carrier holds.
    #[error("{count} uSIDs do not fit one carrier of {capacity}")]
    TooMany {
        /// How many were given.
        count: usize,
        /// How many fit.
        capacity: usize,
    },
    /// An empty segment list would be a route without encapsulation.
    #[error("a segment list can't be empty")]
    NoSegments,
    /// SIDs of one path in different blocks.
    #[error("SID {sid} of {vertex} is outside the path's block {block}")]
    MixedBlocks {
        /// Vertex id.
        vertex: String,
        /// Its SID.
        sid: Ipv6Addr,
        /// Block of the SIDs before it.
        block: String,
    },
    /// A switch on the path without a SID of the wanted algorithm.
    #[error("{vertex} has no SID of algorithm {algo}")]
    NoSid {
        /// Vertex id.
        vertex: String,
        /// Flex-Algo.
        algo: u8,
    },
    /// Nothing says how the last switch is to decapsulate.
    #[error("{vertex} has no decapsulation SID for {family}; give the topology one or set DEST_FUNCTION")]
    NoFunction {
        /// The last switch.
        vertex: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// A path that doesn't lead from a host over switches to a host.
    #[error("a path of {vertices} vertices has no switch to go through")]
    TooShort {
        /// Vertices, both hosts included.
        vertices: usize,
    },
}

/// An error with all its causes in one line, the outermost first, as logs and messages between processes have it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the route can't be set")]
    struct Outer(#[source] CarrierError);

    #[test]
    fn causes_follow_what_they_caused() {
        assert_eq!(chain(&CarrierError::NoSegments), "a segment list can't be empty");
        let outer = Outer(CarrierError::NoSegments);
        assert_eq!(chain(&outer), "the route can't be set: a segment list can't be empty");
    }
}
