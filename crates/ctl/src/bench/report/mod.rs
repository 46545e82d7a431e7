//! The text table of nccl-tests 2.19: what is not ours to change, since parsers read it.

use std::io::{self, Write};

use super::collective::Test;
use super::flags::Flags;
use super::iterations::Iterations;
use super::numbers::{column, general};

/// The release whose format this is.
const FORMAT: &str = "2.19.6";

/// What one rank is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RankLine {
    /// Number of its group, where `NCCL_TESTS_SPLIT` makes several.
    pub(super) group: u64,
    pub(super) pid: u32,
    pub(super) host: String,
    pub(super) device: usize,
    /// Behind `host memory`.
    pub(super) info: String,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timing {
    pub(super) time_us: f64,
    /// GB/s: size / time.
    pub(super) alg_bw: f64,
    /// GB/s on each link: comparable between numbers of ranks.
    pub(super) bus_bw: f64,
    /// Wrong elements on all ranks; `None` if nobody looked.
    pub(super) wrong: Option<u64>,
    pub(super) iterations: Option<Iterations>,
}

/// One size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) size: u64,
    pub(super) count: u64,
    pub(super) data_type: &'static str,
    pub(super) redop: &'static str,
    pub(super) root: i64,
    pub(super) out_of_place: Timing,
    pub(super) in_place: Timing,
}

/// What stands under the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    /// Checks of a rank's output that found wrong elements.
    pub(super) failed_checks: u64,
    pub(super) average_bus_bw: f64,
    /// Whether the average is enough; `None` if nobody asked.
    pub(super) enough: Option<bool>,
    pub(super) error: Option<String>,
}

impl Timing {
    /// An operation on `size` bytes over `world` ranks.
    pub(super) fn new(test: Test, size: u64, world: usize, seconds: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let alg_bw = size as f64 / 1e9 / seconds;
        Self {
            time_us: seconds * 1e6,
            alg_bw,
            bus_bw: alg_bw * test.bus_factor(world),
            wrong: None,
            iterations: None,
        }
    }
}

/// Everything above the rows. `notes` are lines of our own.
pub(super) fn header(
    out: &mut impl Write,
    test: Test,
    flags: &Flags,
    ranks: &[RankLine],
    notes: &[String],
) -> io::Result<()> {
    writeln!(out, "# srv6ctl version {} (format of nccl-tests version {FORMAT})", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "# Collective test starting: {}", test.program())?;
    writeln!(
        out,
        "# nThread 1 nGpus 1 minBytes {} maxBytes {} step: {} warmup iters: {} iters: {} agg iters: {} \
         validation: {} graph: 0 unalign: 0",
        flags.sizes.min,
        flags.sizes.max,
        flags.sizes.step_text(),
        flags.warmup_iters,
        flags.iters,
        flags.agg_iters,
        flags.check
    )?;
    if flags.per_iteration {
        // There it says how GPUs are timed; the rest is the same.
        write!(out, "# Per-Iteration Report: host clock; i_* uses max over process rows")?;
        if flags.skip > 0 {
            write!(out, "; summary skips first {} iterations", flags.skip)?;
        }
        writeln!(out, " ")?;
    }
    writeln!(out, "#\n# Using devices")?;
    for (index, rank) in ranks.iter().enumerate() {
        let RankLine { group, pid, host, device, info } = rank;
        writeln!(
            out,
            "#  Rank {index:2} Group {group:2} Pid {pid:6} on {host:>10} device {device:2} [host memory] {info}"
        )?;
    }
    for note in notes {
        writeln!(out, "# {note}")?;
    }
    Ok(())
}

/// That sizes don't fit into memory.
pub(super) fn reduced(out: &mut impl Write, max: u64) -> io::Result<()> {
    writeln!(out, "#\n# Reducing maxBytes to {max} due to memory limitation")
}

/// The headings of the columns.
pub(super) fn headings(out: &mut impl Write, flags: &Flags) -> io::Result<()> {
    writeln!(out, "#")?;
    let empty = "";
    write!(out, "# {empty:10}  {empty:12}  {empty:8}  {empty:6}  {empty:6}")?;
    if flags.per_iteration {
        writeln!(
            out,
            "              out-of-place (+ per-iteration)                                in-place (+ per-iteration)"
        )?;
    } else {
        writeln!(out, "           out-of-place                       in-place          ")?;
    }
    let right = ["time", "algbw", "busbw", "#wrong"];
    columns(
        out,
        flags,
        &["size", "count", "type", "redop", "root"],
        right,
        ["i_min", "i_max", "i_p99", "i_cv%"],
        "timestamp",
    )?;
    let right = ["(us)", "(GB/s)", "(GB/s)", ""];
    columns(
        out,
        flags,
        &["(B)", "(elements)", "", "", ""],
        right,
        ["(us)", "(us)", "(us)", "(%)"],
        "%Y-%m-%d %H:%M:%S",
    )
}

fn columns(
    out: &mut impl Write,
    flags: &Flags,
    left: &[&str; 5],
    right: [&str; 4],
    iterations: [&str; 4],
    timestamp: &str,
) -> io::Result<()> {
    let [size, count, kind, operation, root] = left;
    write!(out, "# {size:>10}  {count:>12}  {kind:>8}  {operation:>6}  {root:>6}")?;
    for _ in 0..2 {
        let [time, alg_bw, bus_bw, wrong] = right;
        write!(out, "  {time:>7}  {alg_bw:>6}  {bus_bw:>6}  {wrong:>6}")?;
        if flags.per_iteration {
            iterations.iter().try_for_each(|name| write!(out, "  {name:>7}"))?;
        }
    }
    if flags.timestamps { writeln!(out, " {timestamp:>19}") } else { writeln!(out, " ") }
}

/// A row; `now` is what `-S` shows.
pub(super) fn row(out: &mut impl Write, row: &Row, now: Option<&str>) -> io::Result<()> {
    let Row { size, count, data_type, redop, root, .. } = row;
    write!(out, "{size:>12}  {count:>12}  {data_type:>8}  {redop:>6}  {root:>6}")?;
    for timing in [&row.out_of_place, &row.in_place] {
        let &Timing { time_us, alg_bw, bus_bw, wrong, .. } = timing;
        write!(out, "  {}  {}  {}", column(time_us, 7), column(alg_bw, 6), column(bus_bw, 6))?;
        match wrong {
            #[expect(clippy::cast_precision_loss, reason = "printed with six digits")]
            Some(wrong) => write!(out, "  {:>6}", general(wrong as f64))?,
            None => write!(out, "    N/A")?,
        }
        if let Some(all) = &timing.iterations {
            for value in [all.min * 1e6, all.max * 1e6, all.p99 * 1e6, all.variation()] {
                write!(out, "  {}", column(value, 7))?;
            }
        }
    }
    if let Some(now) = now {
        write!(out, "{now:>21}")?;
    }
    writeln!(out)?;
    out.flush()
}

pub(super) fn footer(out: &mut impl Write, test: Test, summary: &Summary) -> io::Result<()> {
    let verdict = |good| if good { "OK" } else { "FAILED" };
    let failed = summary.failed_checks;
    writeln!(out, "# {:<20} : {failed} {}", "Out of bounds values", verdict(failed == 0))?;
    let enough = summary.enough.map_or("", verdict);
    writeln!(out, "# {:<20} : {} {enough}", "Avg bus bandwidth", general(summary.average_bus_bw))?;
    writeln!(out, "#\n# Collective test concluded: {}\n#", test.program())?;
    match &summary.error {
        Some(error) => writeln!(out, "# error: {error}"),
        None => writeln!(out),
    }
}

#[cfg(test)]
mod tests;
