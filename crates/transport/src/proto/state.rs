//! State frames: what the receiver says on the way back.
//!
//! ```text
//! 0 kind (4)  2 port  4 flags  6 zero  8 complete  16 posted  24 eight times (incarnation, finished)  88 zero  128
//! ```
//!
//! Big-endian; an entry is a u16 and a 48-bit number. Every frame says all, cumulatively, so one that
//! is lost, late, repeated or comes over another subflow than the last does no harm.

use super::violation::Violation;
use crate::config::MAX_PATHS;
use crate::fields::{GRAIN, Reader, Writer};

/// What the receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Port on which the receiver takes replacement sockets; 0: none.
    pub(crate) port: u16,
    /// The receiver closes on purpose: its streams end without a failure.
    pub(crate) goodbye: bool,
    /// Messages that are complete, with all before them.
    pub(crate) complete: u64,
    /// Receives that have been posted.
    pub(crate) posted: u64,
    /// Per subflow: the newest incarnation that came, and how many of its frames have come whole.
    pub(crate) subflows: [(u16, u64); MAX_PATHS],
}

impl State {
    pub(crate) const LEN: usize = (24 + 8 * MAX_PATHS).next_multiple_of(GRAIN);

    pub(crate) fn encode(&self) -> [u8; State::LEN] {
        let mut frame = Writer::new()
            .put(KIND.to_be_bytes())
            .put(self.port.to_be_bytes())
            .put(u16::from(self.goodbye).to_be_bytes())
            .put([0; 2])
            .put(self.complete.to_be_bytes())
            .put(self.posted.to_be_bytes());
        for (incarnation, finished) in self.subflows {
            frame = frame.put((u64::from(incarnation) << 48 | (finished & COUNT)).to_be_bytes());
        }
        frame.finish()
    }

    pub(crate) fn decode(frame: &[u8; State::LEN]) -> Result<State, Violation> {
        let mut fields = Reader::new(frame);
        let kind = fields.u16();
        if kind != KIND {
            return Err(Violation::Kind { kind, wanted: "state (4)" });
        }
        let (port, flags) = (fields.u16(), fields.u16());
        fields.bytes::<2>();
        let (complete, posted) = (fields.u64(), fields.u64());
        let subflows = std::array::from_fn(|_| {
            let entry = fields.u64();
            let [high, low, ..] = entry.to_be_bytes();
            (u16::from_be_bytes([high, low]), entry & COUNT)
        });
        Ok(State { port, goodbye: flags & GOODBYE != 0, complete, posted, subflows })
    }
}

const KIND: u16 = 4;
const GOODBYE: u16 = 1;
/// The 48 bits of a frame count: enough for a million frames a second over nine years.
const COUNT: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let subflows = [(u16::MAX, COUNT); 8];
        for goodbye in [false, true] {
            let state = State { port: 4791, goodbye, complete: u64::MAX, posted: 7, subflows };
            assert_eq!(State::decode(&state.encode()), Ok(state));
        }
    }

    #[test]
    fn another_kind_is_refused() {
        let refused = State::decode(&[9; State::LEN]).unwrap_err();
        assert!(matches!(refused, Violation::Kind { kind: 0x0909, .. }), "{refused}");
    }
}
