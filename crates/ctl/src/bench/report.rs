//! The text table of nccl-tests 2.19: what is not ours to change, since parsers read it.

use std::io::{self, Write};

use super::all_reduce::Flags;
use super::numbers::{column, general};

/// The release whose format this is.
const FORMAT: &str = "2.19.6";

/// What one rank is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RankLine {
    pub(super) pid: u32,
    pub(super) host: String,
    pub(super) device: usize,
    /// Behind `host memory`.
    pub(super) info: String,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Timing {
    pub(super) time_us: f64,
    /// GB/s: size / time.
    pub(super) alg_bw: f64,
    /// GB/s on each link: comparable between numbers of ranks.
    pub(super) bus_bw: f64,
    /// Wrong elements on all ranks; `None` if nobody looked.
    pub(super) wrong: Option<u64>,
}

/// One size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub(super) size: u64,
    pub(super) count: u64,
    pub(super) out_of_place: Timing,
    pub(super) in_place: Timing,
}

/// What stands under the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub(super) wrong: u64,
    pub(super) average_bus_bw: f64,
    /// Whether the average is enough; `None` if nobody asked.
    pub(super) enough: Option<bool>,
    pub(super) error: Option<String>,
}

impl Timing {
    /// An all-reduce of `size` bytes over `world` ranks.
    pub(super) fn all_reduce(size: u64, world: usize, seconds: f64, wrong: Option<u64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "sizes and ranks are far below 2^53")]
        let (size, world) = (size as f64, world as f64);
        let alg_bw = if seconds > 0.0 { size / 1e9 / seconds } else { 0.0 };
        Self { time_us: seconds * 1e6, alg_bw, bus_bw: alg_bw * 2.0 * (world - 1.0) / world, wrong }
    }
}

/// Everything above the rows. `notes` are lines of our own.
pub(super) fn header(
    out: &mut impl Write,
    flags: &Flags,
    ranks: &[RankLine],
    notes: &[String],
) -> io::Result<()> {
    writeln!(out, "# srv6ctl version {} (format of nccl-tests version {FORMAT})", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "# Collective test starting: all_reduce_perf")?;
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
    writeln!(out, "#\n# Using devices")?;
    for (index, rank) in ranks.iter().enumerate() {
        let RankLine { pid, host, device, info } = rank;
        writeln!(
            out,
            "#  Rank {index:2} Group  0 Pid {pid:6} on {host:>10} device {device:2} [host memory] {info}"
        )?;
    }
    for note in notes {
        writeln!(out, "# {note}")?;
    }
    writeln!(out, "#")?;
    let empty = "";
    writeln!(
        out,
        "# {empty:10}  {empty:12}  {empty:8}  {empty:6}  {empty:6}           out-of-place                       \
         in-place          "
    )?;
    columns(out, &["size", "count", "type", "redop", "root"], ["time", "algbw", "busbw", "#wrong"])?;
    columns(out, &["(B)", "(elements)", "", "", ""], ["(us)", "(GB/s)", "(GB/s)", ""])
}

fn columns(out: &mut impl Write, left: &[&str; 5], right: [&str; 4]) -> io::Result<()> {
    let [size, count, kind, operation, root] = left;
    write!(out, "# {size:>10}  {count:>12}  {kind:>8}  {operation:>6}  {root:>6}")?;
    for _ in 0..2 {
        let [time, alg_bw, bus_bw, wrong] = right;
        write!(out, "  {time:>7}  {alg_bw:>6}  {bus_bw:>6}  {wrong:>6}")?;
    }
    writeln!(out, " ")
}

pub(super) fn row(out: &mut impl Write, row: &Row) -> io::Result<()> {
    write!(out, "{:>12}  {:>12}  {:>8}  {:>6}  {:>6}", row.size, row.count, "float", "sum", -1)?;
    for timing in [&row.out_of_place, &row.in_place] {
        let Timing { time_us, alg_bw, bus_bw, wrong } = *timing;
        write!(out, "  {}  {}  {}", column(time_us, 7), column(alg_bw, 6), column(bus_bw, 6))?;
        match wrong {
            #[expect(clippy::cast_precision_loss, reason = "printed with six digits")]
            Some(wrong) => write!(out, "  {:>6}", general(wrong as f64))?,
            None => write!(out, "  {:>6}", "N/A")?,
        }
    }
    writeln!(out)?;
    out.flush()
}

pub(super) fn footer(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let verdict = |good| if good { "OK" } else { "FAILED" };
    writeln!(out, "# {:<20} : {} {}", "Out of bounds values", summary.wrong, verdict(summary.wrong == 0))?;
    let enough = summary.enough.map_or("", verdict);
    writeln!(out, "# {:<20} : {} {enough}", "Avg bus bandwidth", general(summary.average_bus_bw))?;
    writeln!(out, "#\n# Collective test concluded: all_reduce_perf")?;
    if let Some(error) = &summary.error {
        writeln!(out, "# error: {error}")?;
    }
    writeln!(out, "#\n")
}

#[cfg(test)]
mod tests {
    use super::super::sizes::Sizes;
    use super::*;

    /// The sample of nccl-tests' own layout, but for the lines that name program and devices.
    const GOLDEN: &str = "\
# srv6ctl version 0.1.0 (format of nccl-tests version 2.19.6)
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 8 maxBytes 134217728 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0 unalign: 0
#
# Using devices
#  Rank  0 Group  0 Pid  12345 on     host00 device  0 [host memory] SRv6 v12 eth1
#  Rank  1 Group  0 Pid  12346 on     host01 device  0 [host memory] SRv6 v12 eth1
# 1 channel
#
#                                                              out-of-place                       in-place          
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong 
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)         
           8             2     float     sum      -1    28.31    0.00    0.00       0    28.31    0.00    0.00       0
     1048576        262144     float     sum      -1   412.70    2.54    2.54       0   412.70    2.54    2.54     N/A
   134217728      33554432     float     sum      -1  48231.9    2.78    2.78       3  48231.9    2.78    2.78       0
# Out of bounds values : 3 FAILED
# Avg bus bandwidth    : 1.77468 
#
# Collective test concluded: all_reduce_perf
#

";

    #[test]
    fn the_layout_is_that_of_nccl_tests() {
        let flags = Flags {
            sizes: Sizes { min: 8, max: 134_217_728, step: 1 << 20, factor: 2 },
            iters: 20,
            warmup_iters: 1,
            agg_iters: 1,
            check: 1,
            cycles: 1,
        };
        let rank =
            |pid, host: &str| RankLine { pid, host: host.into(), device: 0, info: "SRv6 v12 eth1".into() };
        let mut out = Vec::new();
        header(&mut out, &flags, &[rank(12345, "host00"), rank(12346, "host01")], &["1 channel".into()])
            .unwrap();
        for (size, time, wrong) in [
            (8, 28.31e-6, [Some(0), Some(0)]),
            (1_048_576, 412.7e-6, [Some(0), None]),
            (134_217_728, 48231.9e-6, [Some(3), Some(0)]),
        ] {
            let [out_of_place, in_place] = wrong.map(|wrong| Timing::all_reduce(size, 2, time, wrong));
            row(&mut out, &Row { size, count: size / 4, out_of_place, in_place }).unwrap();
        }
        let summary = Summary { wrong: 3, average_bus_bw: 1.774_678_9, enough: None, error: None };
        footer(&mut out, &summary).unwrap();
        let text = String::from_utf8(out).unwrap();
        for (got, wanted) in text.lines().zip(GOLDEN.lines()) {
            assert_eq!(got, wanted);
        }
        assert_eq!(text, GOLDEN);
    }

    #[test]
    fn bus_bandwidth_counts_what_each_link_carries() {
        let timing = Timing::all_reduce(4_000_000_000, 4, 2.0, None);
        assert!((timing.alg_bw - 2.0).abs() < 1e-12 && (timing.bus_bw - 3.0).abs() < 1e-12, "{timing:?}");
        assert!(Timing::all_reduce(8, 1, 1.0, None).bus_bw.abs() < 1e-12);
    }

    #[test]
    fn an_error_is_said_at_the_end() {
        let mut out = Vec::new();
        let error = Some("rank 1 is gone".to_owned());
        footer(&mut out, &Summary { wrong: 0, average_bus_bw: 2.0, enough: Some(false), error }).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("# Avg bus bandwidth    : 2 FAILED\n"), "{text}");
        assert!(text.ends_with("all_reduce_perf\n# error: rank 1 is gone\n#\n\n"), "{text}");
    }
}
