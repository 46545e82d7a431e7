//! Collectives by their names, and the memory that they work on.

use crate::{DataType, Error, Reduction};

/// What all ranks do together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collective {
    /// Every rank gets the reduction of all inputs.
    AllReduce,
    /// Every rank gets the inputs of all ranks, one behind the other.
    AllGather,
    /// Every rank gets its part of the reduction of all inputs.
    ReduceScatter,
    /// Every rank gets the input of one.
    Broadcast {
        /// That one.
        root: usize,
    },
    /// One rank gets the reduction of all inputs.
    Reduce {
        /// That one.
        root: usize,
    },
    /// Every rank gets the input of the previous one.
    SendRecv,
    /// Every rank gets its part of every rank's input, one behind the other.
    AllToAll,
}

/// A collective with everything that its ranks agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What is done.
    pub collective: Collective,
    /// To what.
    pub data_type: DataType,
    /// How elements are reduced, if they are.
    pub reduction: Reduction,
}

/// Where a rank's input is and where its output goes, in bytes: see [`Operation::lengths`].
#[derive(Debug)]
pub enum Buffers<'a> {
    /// Out of place.
    Apart {
        /// What the rank gives. Only a broadcast's root is asked for it.
        input: &'a [u8],
        /// What it gets. Only a reduce's root gets something.
        output: &'a mut [u8],
    },
    /// In place: one buffer as long as the longer of the two. An all-gather's input is at this rank's place in the
    /// output, a reduce-scatter's output at this rank's place in the input.
    ///
    /// Send-receive and all-to-all have no meaningful in-place form, in NCCL either: they run, and what they leave in
    /// the buffer is nobody's data.
    Same(&'a mut [u8]),
}

impl Operation {
    /// How many elements a rank's input and output have for `count` elements per rank, the count that NCCL's calls
    /// take.
    pub const fn lengths(&self, count: usize, world: usize) -> (usize, usize) {
        match self.collective {
            Collective::AllGather => (count, count * world),
            Collective::ReduceScatter => (count * world, count),
            Collective::AllToAll => (count * world, count * world),
            _ => (count, count),
        }
    }

    /// Whether elements are reduced at all.
    pub const fn reduces(&self) -> bool {
        matches!(
            self.collective,
            Collective::AllReduce | Collective::ReduceScatter | Collective::Reduce { .. }
        )
    }

    /// Looks whether the buffers are as long as `count` elements per rank need, and lends them to the threads.
    pub(crate) fn lend(
        &self,
        buffers: Buffers<'_>,
        count: usize,
        rank: usize,
        world: usize,
    ) -> Result<Data, Error> {
        let (input, output) = self.lengths(count, world);
        let size = self.data_type.bytes();
        let expect = |option, value: usize, wanted: usize| {
            if value == wanted { Ok(()) } else { Err(Error::BufferBytes { option, value, wanted }) }
        };
        match buffers {
            Buffers::Apart { input: from, output: to } => {
                expect("the input", from.len(), input * size)?;
                expect("the output", to.len(), output * size)?;
                Ok(Data {
                    input: from.as_ptr(),
                    input_bytes: from.len(),
                    output: to.as_mut_ptr(),
                    output_bytes: to.len(),
                })
            }
            Buffers::Same(both) => {
                expect("the buffer", both.len(), input.max(output) * size)?;
                let base = both.as_mut_ptr();
                let own = rank * count * size;
                let (from, to) = match self.collective {
                    Collective::AllGather => (own, 0),
                    Collective::ReduceScatter => (0, own),
                    _ => (0, 0),
                };
                Ok(Data {
                    input: base.wrapping_add(from),
                    input_bytes: input * size,
                    output: base.wrapping_add(to),
                    output_bytes: output * size,
                })
            }
        }
    }
}

/// The caller's buffers, borrowed while a collective runs; in place they overlap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    input: *const u8,
    input_bytes: usize,
    output: *mut u8,
    output_bytes: usize,
}

// SAFETY: the caller has lent the buffers for the time of the run and waits.
unsafe impl Send for Data {}

impl Data {
    /// A part of the input.
    ///
    /// # Panics
    /// If it isn't within the input: a schedule is wrong.
    pub(crate) fn input(&self, offset: usize, bytes: usize) -> &[u8] {
        assert!(offset + bytes <= self.input_bytes, "{offset} + {bytes} of {} bytes", self.input_bytes);
        // SAFETY: within the input: checked above.
        let start = unsafe { self.input.add(offset) };
        // SAFETY: as above; no slice of the output lives at the same time.
        unsafe { std::slice::from_raw_parts(start, bytes) }
    }

    /// A part of the output.
    ///
    /// # Panics
    /// As [`input`](Self::input).
    #[expect(clippy::mut_from_ref, reason = "the pointers stand for a borrow that the caller holds")]
    pub(crate) fn output(&self, offset: usize, bytes: usize) -> &mut [u8] {
        assert!(offset + bytes <= self.output_bytes, "{offset} + {bytes} of {} bytes", self.output_bytes);
        // SAFETY: within the output: checked above.
        let start = unsafe { self.output.add(offset) };
        // SAFETY: as above; no other slice of the buffers lives at the same time.
        unsafe { std::slice::from_raw_parts_mut(start, bytes) }
    }

    /// Copies a part of the input into the output; nothing happens where they are the same memory.
    ///
    /// # Panics
    /// As [`input`](Self::input).
    pub(crate) fn copy(&self, from: usize, to: usize, bytes: usize) {
        let from = self.input(from, bytes).as_ptr();
        let to = self.output(to, bytes).as_mut_ptr();
        // SAFETY: both are within the buffers; they may overlap.
        unsafe { to.copy_from(from, bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(collective: Collective) -> Operation {
        Operation { collective, data_type: DataType::Half, reduction: Reduction::Sum }
    }

    #[test]
    fn buffers_of_another_length_are_refused() {
        let gather = operation(Collective::AllGather);
        let (input, mut output) = ([0; 6], [0; 24]);
        assert!(gather.lend(Buffers::Apart { input: &input, output: &mut output }, 3, 1, 4).is_ok());
        let error = gather.lend(Buffers::Same(&mut output), 4, 1, 4).unwrap_err();
        assert_eq!(error.to_string(), "the buffer is 24 bytes long: wanted 32");
        let error = gather.lend(Buffers::Apart { input: &input, output: &mut output }, 2, 1, 4).unwrap_err();
        assert_eq!(error.to_string(), "the input is 6 bytes long: wanted 4");
    }

    #[test]
    fn in_place_the_own_part_is_where_nccl_wants_it() {
        let mut buffer: Vec<u8> = (0..24).collect();
        let data = operation(Collective::AllGather).lend(Buffers::Same(&mut buffer), 3, 2, 4).unwrap();
        assert_eq!((data.input(0, 2), data.output(0, 1)[0]), (&[12, 13][..], 0));
        let data = operation(Collective::ReduceScatter).lend(Buffers::Same(&mut buffer), 3, 2, 4).unwrap();
        assert_eq!((data.input(0, 1), data.output(0, 2)[0]), (&[0][..], 12));
        data.copy(12, 0, 6);
        assert_eq!(buffer, (0..24).collect::<Vec<u8>>());
    }

    #[test]
    #[should_panic(expected = "20 + 8 of 24 bytes")]
    fn nothing_beyond_the_buffers_is_touched() {
        let mut buffer = vec![0; 24];
        let data = operation(Collective::AllToAll).lend(Buffers::Same(&mut buffer), 3, 0, 4).unwrap();
        data.copy(0, 20, 8);
    }
}
