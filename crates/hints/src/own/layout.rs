//! Where what is. All words have 64 bits, in host byte order; no reader is on another machine.
//!
//! | Word | Header, 16 words |
//! |---|---|
//! | 0 | magic, the bytes `SRV6HINT` |
//! | 1 | version, 1 |
//! | 2 | unit of the weights, [`Unit`] |
//! | 3 | slots |
//! | 4 | the writer's process id |
//! | 5 | heartbeat, nanoseconds of CLOCK_MONOTONIC, set at least once a second |
//! | 6 | generation, one more after every change |
//! | 7 | placement, one more after a slot was taken or freed |
//! | 8 | one more than the highest slot in use |
//! | 9–15 | zero |
//!
//! | Word | Slot, 8 words, one cache line |
//! |---|---|
//! | 0 | sequence; odd while the slot is written |
//! | 1 | inode of the network namespace; 0: free |
//! | 2–3 | source address, 16 bytes in network order, IPv4 mapped |
//! | 4–5 | destination address, likewise |
//! | 6–7 | eight weights of 16 bits, by path; 0xffff: none |

use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::Flow;

use super::{Key, Weights};

/// Version of the format that is written, and the only one that is read.
pub const HINTS_VERSION: u64 = 1;
/// Paths that a hint can speak of.
pub const MAX_WEIGHTS: usize = 8;
/// Most slots that a file can have: 64 MiB.
pub const MOST_SLOTS: u32 = 1 << 20;

/// `SRV6HINT`.
pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"SRV6HINT");

pub(super) const HEADER_WORDS: usize = 16;
pub(super) const SLOT_WORDS: usize = 8;

pub(super) const VERSION_AT: usize = 1;
pub(super) const UNIT_AT: usize = 2;
pub(super) const SLOTS_AT: usize = 3;
pub(super) const WRITER_AT: usize = 4;
pub(super) const HEARTBEAT_AT: usize = 5;
pub(super) const GENERATION_AT: usize = 6;
pub(super) const PLACEMENT_AT: usize = 7;
pub(super) const USED_AT: usize = 8;

/// What a weight means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Part of the traffic relative to the other paths' weights, 0 to 1000; 0: only if nothing else works.
    Relative,
}

impl Unit {
    pub(super) fn word(self) -> u64 {
        match self {
            Self::Relative => 1,
        }
    }
}

/// Bytes of a file with so many slots.
pub(super) fn bytes(slots: u32) -> usize {
    (HEADER_WORDS + slots as usize * SLOT_WORDS) * size_of::<u64>()
}

/// The words of a slot after the sequence; all zero: free.
pub(super) type Content = [u64; SLOT_WORDS - 1];

pub(super) fn encode(key: &Key, weights: &Weights) -> Content {
    let ([s0, s1], [d0, d1]) = (address(key.flow.src), address(key.flow.dst));
    let [w0, w1] = weights.words();
    [key.namespace, s0, s1, d0, d1, w0, w1]
}

/// What a slot says; `None` if it is free.
pub(super) fn decode(content: &Content) -> Option<(Key, Weights)> {
    let [namespace, s0, s1, d0, d1, w0, w1] = *content;
    let flow = Flow { src: ip([s0, s1]), dst: ip([d0, d1]) };
    (namespace != 0).then(|| (Key { namespace, flow }, Weights::from_words([w0, w1])))
}

fn address(address: IpAddr) -> [u64; 2] {
    let mapped = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    // In memory the bytes are in network order, whatever the host's is.
    let octets = mapped.octets();
    let word =
        |start: usize| octets.get(start..).and_then(|rest| rest.first_chunk().copied()).unwrap_or_default();
    [u64::from_ne_bytes(word(0)), u64::from_ne_bytes(word(8))]
}

fn ip([first, last]: [u64; 2]) -> IpAddr {
    let mut octets = [0; 16];
    for (place, word) in octets.as_chunks_mut::<8>().0.iter_mut().zip([first, last]) {
        *place = word.to_ne_bytes();
    }
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_cache_line_of_bytes_as_the_table_says() {
        let flow = Flow { src: "2001:db8::1".parse().unwrap(), dst: "10.0.1.2".parse().unwrap() };
        let key = Key { namespace: 0x0102, flow };
        let content = encode(&key, &"1000,0,-,7".parse().unwrap());
        let bytes: Vec<u8> = content.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes.len() + 8, 64);
        assert_eq!(bytes[..8], 0x0102_u64.to_ne_bytes());
        assert_eq!(bytes[8..24], "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(bytes[24..40], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 2]);
        let weights: Vec<u16> =
            bytes[40..].chunks(2).map(|two| u16::from_ne_bytes([two[0], two[1]])).collect();
        assert_eq!(weights, [1000, 0, 0xffff, 7, 0xffff, 0xffff, 0xffff, 0xffff]);
        assert_eq!(decode(&content), Some((key, "1000,0,-,7".parse().unwrap())));
        assert_eq!(decode(&[0; 7]), None);
    }

    #[test]
    fn slots_begin_after_two_cache_lines() {
        assert_eq!([bytes(0), bytes(1), bytes(16_384)], [128, 192, 128 + (1 << 20)]);
    }
}
