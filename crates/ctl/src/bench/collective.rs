//! The seven tests: what nccl-tests calls them, counts, and makes of a time.

use srv6_netdrive::Collective;

/// A test of nccl-tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    AllReduce,
    AllGather,
    ReduceScatter,
    Broadcast,
    Reduce,
    SendRecv,
    AllToAll,
}

impl Test {
    /// The program's name there.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce_perf",
            Self::AllGather => "all_gather_perf",
            Self::ReduceScatter => "reduce_scatter_perf",
            Self::Broadcast => "broadcast_perf",
            Self::Reduce => "reduce_perf",
            Self::SendRecv => "sendrecv_perf",
            Self::AllToAll => "alltoall_perf",
        }
    }

    pub(super) const fn collective(self, root: usize) -> Collective {
        match self {
            Self::AllReduce => Collective::AllReduce,
            Self::AllGather => Collective::AllGather,
            Self::ReduceScatter => Collective::ReduceScatter,
            Self::Broadcast => Collective::Broadcast { root },
            Self::Reduce => Collective::Reduce { root },
            Self::SendRecv => Collective::SendRecv,
            Self::AllToAll => Collective::AllToAll,
        }
    }

    /// Elements per rank of a size in bytes: what the column `count` shows.
    ///
    /// Where a rank's data has a part per rank, parts are whole 16 bytes; of small sizes nothing is left.
    pub(super) const fn count(self, size: u64, element: u64, world: u64) -> u64 {
        let count = size / element;
        match self {
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => {
                let granule = 16 / element;
                count / world / granule * granule
            }
            _ => count,
        }
    }

    /// Bytes that the longer of a rank's buffers has for `count` elements: what the column `size` shows.
    pub(super) const fn bytes(self, count: u64, element: u64, world: u64) -> u64 {
        match self {
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => count * element * world,
            _ => count * element,
        }
    }

    /// By what the bandwidth of the algorithm is multiplied to get what the busiest link carries.
    #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
    pub(super) const fn bus_factor(self, world: usize) -> f64 {
        let world = world as f64;
        match self {
            Self::AllReduce => 2.0 * (world - 1.0) / world,
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => (world - 1.0) / world,
            Self::Broadcast | Self::Reduce | Self::SendRecv => 1.0,
        }
    }

    /// Whether there is a table per reduction. Send-receive reduces nothing, but nccl-tests goes through them all.
    pub(super) const fn has_reductions(self) -> bool {
        matches!(self, Self::AllReduce | Self::ReduceScatter | Self::Reduce | Self::SendRecv)
    }

    /// Whether there is a table per root.
    pub(super) const fn has_root(self) -> bool {
        matches!(self, Self::Broadcast | Self::Reduce)
    }

    /// Whether what it leaves in place means anything; else the column `#wrong` has `N/A`.
    pub(super) const fn works_in_place(self) -> bool {
        !matches!(self, Self::SendRecv | Self::AllToAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_are_rounded_as_there() {
        // 1000 bytes of floats over 3 ranks: 250 elements, 83 each, of which 80 are whole 16 bytes.
        assert_eq!(Test::AllGather.count(1000, 4, 3), 80);
        assert_eq!(Test::AllGather.bytes(80, 4, 3), 960);
        assert_eq!(Test::AllReduce.count(1001, 4, 3), 250);
        assert_eq!(Test::AllReduce.bytes(250, 4, 3), 1000);
        assert_eq!(Test::AllToAll.count(1000, 8, 3), 40);
        assert_eq!(Test::ReduceScatter.count(1000, 1, 3), 320);
        // Small sizes show as rows of size 0.
        assert_eq!(Test::ReduceScatter.count(8, 4, 2), 0);
        assert_eq!(Test::SendRecv.count(7, 8, 2), 0);
    }

    #[test]
    fn factors_by_hand() {
        let near = |test: Test, world, wanted: f64| {
            assert!((test.bus_factor(world) - wanted).abs() < 1e-12, "{test:?} {world}");
        };
        near(Test::AllReduce, 4, 1.5);
        near(Test::AllReduce, 1, 0.0);
        near(Test::AllGather, 4, 0.75);
        near(Test::ReduceScatter, 2, 0.5);
        near(Test::AllToAll, 8, 0.875);
        near(Test::Broadcast, 8, 1.0);
        near(Test::Reduce, 8, 1.0);
        near(Test::SendRecv, 8, 1.0);
    }
}
