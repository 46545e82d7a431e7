//! What the bench's process and a rank say to each other: one JSON document a line, over the rank's standard streams.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// From the bench to a rank.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// What all ranks said to the last [`Answer::Gather`], by rank.
    Gathered(Vec<Vec<u8>>),
    /// Connect. Answered by [`Answer::Connected`], after an exchange of handles.
    Connect {
        pattern: Pattern,
        /// Bytes of a message at most.
        slot_bytes: usize,
        memory: Memory,
    },
    /// Make data of this many bytes to reduce. Answered by [`Answer::Prepared`].
    Prepare { bytes: usize },
    /// Ring all-reduce of that data, several times without a pause. Answered by [`Answer::Reduced`].
    Reduce {
        repeats: u32,
        /// When to begin, in nanoseconds of CLOCK_MONOTONIC.
        start_at: u64,
        /// Say when each message came.
        record: bool,
    },
    /// Messages over all streams. Answered by [`Answer::Sent`].
    Send { bytes: usize, until: Until, start_at: u64, check: bool, record: bool },
    /// A message there and back, so many times; rank 0 asks. Answered by [`Answer::Bounced`].
    Bounce { bytes: usize, rounds: usize },
    /// Answered by [`Answer::Used`].
    Usage,
    /// Close all connections. Answered by [`Answer::Closed`].
    Close,
}

/// Who is connected to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// Every rank to the next.
    Ring,
    /// Sending and receiving rank of each stream.
    Streams(Vec<(usize, usize)>),
}

/// What a stream's messages lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Memory {
    /// Eight buffers, used in turn.
    Own,
    /// One block of a mebibyte at most, at either end: see [`srv6_netdrive::SlotMemory`].
    OneBlock,
}

impl Pattern {
    /// Streams, if that's what it is.
    pub(crate) fn pairs(&self) -> &[(usize, usize)] {
        match self {
            Self::Ring => &[],
            Self::Streams(pairs) => pairs,
        }
    }
}

/// How much is sent over each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Until {
    Messages(u64),
    Time(Duration),
}

/// From a rank to the bench.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The net is loaded.
    Ready {
        /// Its name and version.
        net: String,
    },
    /// Give this to all ranks.
    Gather(Vec<u8>),
    Connected {
        nanoseconds: u64,
    },
    Prepared,
    Reduced {
        /// When it was over, in nanoseconds of CLOCK_MONOTONIC.
        ended: u64,
        /// Bytes of the result that are not the sum.
        wrong: u64,
        /// When messages came, and their bytes.
        arrivals: Vec<(u64, u64)>,
        /// Processor time of this process meanwhile, in seconds.
        cpu: f64,
    },
    Sent {
        /// When it was over.
        ended: u64,
        /// Streams that end at this rank.
        flows: Vec<Flow>,
        /// As above.
        cpu: f64,
    },
    Bounced {
        /// Nanoseconds of each round; none on the rank that answers.
        rounds: Vec<u64>,
    },
    Used(Usage),
    Closed,
    /// What was ordered can't be done; the process ends.
    Failed(String),
}

/// What came over a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Position in the pattern.
    pub(crate) pair: usize,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Bytes that are not what was sent.
    pub(crate) wrong: u64,
    /// When messages came (nanoseconds), and their bytes: the first and the last, or all.
    pub(crate) arrivals: Vec<(u64, u64)>,
}

impl Flow {
    /// Bytes per second from `began` (nanoseconds) until the last message came; 0 if none did.
    ///
    /// From the beginning and not from the first message: several messages are under way at once, and those that come
    /// just after the first were mostly sent before it came.
    pub(crate) fn rate(&self, began: u64) -> f64 {
        match self.arrivals.last() {
            Some((last, _)) if *last > began => {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
                let bytes = self.bytes as f64;
                bytes / Duration::from_nanos(last - began).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Processor time of all threads, user and system, in seconds.
    pub(crate) cpu: f64,
    /// Memory that is really there, in bytes.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flows_rate_counts_from_the_beginning() {
        let flow = |bytes, arrivals: &[(u64, u64)]| Flow {
            pair: 0,
            messages: 0,
            bytes,
            wrong: 0,
            arrivals: arrivals.to_vec(),
        };
        // 3000 bytes in 6 ms.
        let three = flow(3000, &[(5_000_000, 1000), (9_000_000, 1000)]);
        assert!((three.rate(3_000_000) - 500_000.0).abs() < 1e-6);
        assert!(flow(0, &[]).rate(3).abs() < 1e-9);
    }
}
