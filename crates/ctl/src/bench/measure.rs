//! The measurement on one rank: warm up, time, check, as nccl-tests does.

use std::io::Write;
use std::time::Instant;

use anyhow::Context;
use srv6_netdrive::{Buffers, Operation};

use super::collective::Test;
use super::data::{Content, factor};
use super::flags::Flags;
use super::iterations::{self, Iterations};
use super::job::Job;
use super::report::{self, Row, Timing};
use super::tables::{Table, tables};

/// One rank's buffers and results.
#[derive(Debug)]
pub(super) struct Bench<W> {
    pub(super) test: Test,
    pub(super) flags: Flags,
    /// Where rows are printed; `None` on all ranks but the first.
    pub(super) out: Option<W>,
    pub(super) rows: Vec<Row>,
    /// Checks of a rank's output that found wrong elements, on all ranks.
    pub(super) failed_checks: u64,
}

/// Whether input and output are the same memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    OutOfPlace,
    InPlace,
}

/// One size of one table.
#[derive(Debug, Clone, Copy)]
struct Piece {
    table: Table,
    operation: Operation,
    /// Elements per rank.
    count: usize,
    /// Bytes of the longer buffer.
    size: u64,
}

/// What a rank has to send from and receive into.
#[derive(Debug)]
struct Memory {
    send: Vec<u8>,
    receive: Vec<u8>,
}

/// The pass that what is timed comes from, so that no check meets data that is there already.
const TIMED_PASS: u32 = 99;

impl<W: Write> Bench<W> {
    /// Makes all tables.
    pub(super) fn measure(&mut self, job: &mut Job<'_>) -> anyhow::Result<()> {
        let flags = &self.flags;
        let tables = tables(self.test, flags.types, flags.operations, flags.root, job.group.world())?;
        let most = usize::try_from(flags.sizes.max).context("sizes")?;
        let mut memory = Memory { send: vec![0; most], receive: vec![0; most] };
        // Memory that nobody has written is one page of zeros to the kernel, faster than what programs work on.
        for (buffer, pass) in [(&mut memory.send, 1), (&mut memory.receive, 2)] {
            let content =
                Content { data_type: srv6_netdrive::DataType::Uint64, reduction: None, world: 1, pass };
            content.write(buffer, job.place.rank, 0);
        }
        for table in tables {
            self.table(job, table, &mut memory)?;
        }
        Ok(())
    }

    fn table(&mut self, job: &mut Job<'_>, table: Table, memory: &mut Memory) -> anyhow::Result<()> {
        job.gather(&())?;
        for size in self.flags.sizes.warm_up() {
            let piece = self.piece(job, table, size)?;
            let what = format!("warming up {} with {} bytes", self.test.program(), piece.size);
            let buffers = memory.buffers(&piece, job, Mode::OutOfPlace)?;
            job.operate(&what, &piece.operation, piece.count, buffers, self.flags.warmup_iters)?;
        }
        let mut cycle = 0;
        while self.flags.cycles == 0 || cycle < self.flags.cycles {
            cycle += 1;
            for size in self.flags.sizes.iter() {
                let piece = self.piece(job, table, size)?;
                let row = Row {
                    size: piece.size,
                    count: piece.count as u64,
                    data_type: table.data_type.name(),
                    redop: if self.test.has_reductions() { table.redop.name() } else { "none" },
                    root: if self.test.has_root() { i64::try_from(table.root).unwrap_or(-1) } else { -1 },
                    out_of_place: self.timing(job, &piece, memory, Mode::OutOfPlace)?,
                    in_place: self.timing(job, &piece, memory, Mode::InPlace)?,
                };
                if let Some(out) = &mut self.out {
                    let now = self.flags.timestamps.then(super::now);
                    report::row(out, &row, now.as_deref())?;
                }
                self.rows.push(row);
            }
        }
        Ok(())
    }

    fn piece(&self, job: &Job<'_>, table: Table, size: u64) -> anyhow::Result<Piece> {
        let (element, world) = (table.data_type.bytes() as u64, job.group.world() as u64);
        let count = self.test.count(size, element, world);
        let operation = Operation {
            collective: self.test.collective(table.root),
            data_type: table.data_type,
            reduction: table.redop.reduction(factor(job.group.rank)),
        };
        let size = self.test.bytes(count, element, world);
        Ok(Piece { table, operation, count: usize::try_from(count).context("sizes")?, size })
    }

    /// Times one size one way, then checks its data in operations of their own.
    fn timing(
        &mut self,
        job: &mut Job<'_>,
        piece: &Piece,
        memory: &mut Memory,
        mode: Mode,
    ) -> anyhow::Result<Timing> {
        let what = format!("{} of {} bytes", self.test.program(), piece.size);
        let Flags { iters, agg_iters, check, average, skip, per_iteration, .. } = self.flags;
        if check > 0 {
            memory.fill(piece, job, mode, TIMED_PASS)?;
        }
        let run = |job: &mut Job<'_>, memory: &mut Memory, repeats| {
            let buffers = memory.buffers(piece, job, mode)?;
            job.operate(&what, &piece.operation, piece.count, buffers, repeats)
        };
        run(job, memory, 1)?;
        job.gather(&())?;
        let repeats = iters.saturating_mul(agg_iters);
        let began = Instant::now();
        let done = run(job, memory, repeats)?;
        let mine = began.elapsed().as_secs_f64() / f64::from(repeats);
        let all = job.gather(&mine)?;
        let mut timing = Timing::new(self.test, piece.size, job.group.world(), average.of(&all));
        if per_iteration {
            let by_rank = job.gather(&iterations::seconds(&done, agg_iters))?;
            timing.iterations = Iterations::new(by_rank, skip as usize);
        }

        let checked = check > 0 && (mode == Mode::OutOfPlace || self.test.works_in_place());
        for pass in 1..=check {
            memory.fill(piece, job, mode, pass)?;
            run(job, memory, 1)?;
            let wrong = if checked { memory.wrong(piece, job, mode, pass)? } else { 0 };
            let all: Vec<u64> = job.gather(&wrong)?;
            self.failed_checks += all.iter().filter(|&&wrong| wrong > 0).count() as u64;
            let wrong = all.iter().sum();
            timing.wrong = checked.then_some(wrong);
            if wrong > 0 {
                break;
            }
        }
        Ok(timing)
    }
}

impl Memory {
    /// The buffers of an operation, as NCCL's calls get them.
    fn buffers(&mut self, piece: &Piece, job: &Job<'_>, mode: Mode) -> anyhow::Result<Buffers<'_>> {
        let (input, output) = piece.lengths(job);
        let beyond = || format!("a size of {} bytes above the last one", piece.size);
        Ok(match mode {
            Mode::OutOfPlace => Buffers::Apart {
                input: self.send.get(..input).with_context(beyond)?,
                output: self.receive.get_mut(..output).with_context(beyond)?,
            },
            Mode::InPlace => Buffers::Same(self.receive.get_mut(..input.max(output)).with_context(beyond)?),
        })
    }

    /// Writes the rank's input; what is there of an output before is zeros.
    fn fill(&mut self, piece: &Piece, job: &Job<'_>, mode: Mode, pass: u32) -> anyhow::Result<()> {
        let (input, output) = piece.lengths(job);
        let most = input.max(output);
        self.receive.get_mut(..most).context("a size above the last one")?.fill(0);
        let (buffer, start) = match (mode, piece.operation.collective) {
            (Mode::OutOfPlace, _) => (&mut self.send, 0),
            // In place the input is at the rank's own place in the output.
            (Mode::InPlace, srv6_netdrive::Collective::AllGather) => {
                (&mut self.receive, job.group.rank * input)
            }
            (Mode::InPlace, _) => (&mut self.receive, 0),
        };
        let input = buffer.get_mut(start..start + input).context("a size above the last one")?;
        piece.content(job, pass).write(input, job.group.rank, 0);
        Ok(())
    }

    /// How many elements of the rank's output are not what they should be.
    fn wrong(&self, piece: &Piece, job: &Job<'_>, mode: Mode, pass: u32) -> anyhow::Result<u64> {
        use srv6_netdrive::Collective;
        let (rank, world, count) = (job.group.rank, job.group.world(), piece.count);
        let (_, output) = piece.lengths(job);
        let start = match (mode, piece.operation.collective) {
            (Mode::InPlace, Collective::ReduceScatter) => rank * output,
            _ => 0,
        };
        let output = self.receive.get(start..start + output).context("a size above the last one")?;
        let content = piece.content(job, pass);
        let block = count * piece.table.data_type.bytes();
        let by_rank = |first: usize| {
            let blocks = output.chunks(block.max(1)).enumerate();
            blocks.map(|(rank, block)| content.not_given(block, rank, first)).sum()
        };
        Ok(match piece.operation.collective {
            Collective::AllReduce => content.not_reduced(output, 0),
            Collective::ReduceScatter => content.not_reduced(output, rank * count),
            Collective::Reduce { root } if rank == root => content.not_reduced(output, 0),
            // The others are given nothing: in place they keep what is theirs, which nobody promised.
            Collective::Reduce { .. } => 0,
            Collective::AllGather => by_rank(0),
            Collective::AllToAll => by_rank(rank * count),
            Collective::Broadcast { root } => content.not_given(output, root, 0),
            Collective::SendRecv => content.not_given(output, (rank + world - 1) % world, 0),
        })
    }
}

impl Piece {
    /// Bytes of a rank's input and output.
    fn lengths(&self, job: &Job<'_>) -> (usize, usize) {
        let (input, output) = self.operation.lengths(self.count, job.group.world());
        let size = self.table.data_type.bytes();
        (input * size, output * size)
    }

    fn content(&self, job: &Job<'_>, pass: u32) -> Content {
        Content {
            data_type: self.table.data_type,
            reduction: self.operation.reduces().then_some(self.operation.reduction),
            world: job.group.world(),
            pass,
        }
    }
}
