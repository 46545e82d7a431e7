//! Connections that carry messages: the queues of `message` joined to sockets and to memory.

mod receive;
mod send;

pub use receive::RecvComm;
pub use send::SendComm;

/// Bytes that one call moves at most, give or take a chunk.
///
/// NCCL's progress thread serves many connections in turn; half a millisecond of copying is what one
/// of them may take from the others.
const BYTES_PER_CALL: usize = 1 << 20;

/// A set of subflows by index: those a pass still has to look at.
#[derive(Clone, Copy, Debug)]
struct Lanes(u32);

impl Lanes {
    fn all(count: usize) -> Lanes {
        Lanes((1 << count) - 1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_PATHS;

    #[test]
    fn lanes_are_removed_one_by_one() {
        let mut lanes = Lanes::all(MAX_PATHS);
        for index in 0..MAX_PATHS {
            assert!(lanes.has(index) && !lanes.is_empty());
            lanes.remove(index);
            assert!(!lanes.has(index));
        }
        assert!(lanes.is_empty());
    }
}
