//! What the NIXL script prints: layout that scripts parse.

use std::io::{self, Write};

use super::metrics::Figures;
use super::sizes;

/// How wide the bandwidth column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// As the script prints it: cells three wider than their heading.
    Script,
    /// Cells below their headings.
    Aligned,
}

/// Everything above the first size.
pub(super) fn header(out: &mut impl Write, target: &str, iterations: u32, warmup: u32) -> io::Result<()> {
    let rule = "=".repeat(WIDTH);
    writeln!(out, "\n{rule}\nsrv6ctl Point-to-Point Benchmark (Initiator)\n{rule}")?;
    writeln!(out, "Memory: CPU (DRAM)\nTarget: {target}")?;
    writeln!(out, "Iterations: {iterations} (warmup: {warmup})\n{rule}")
}

/// Before a size is measured.
pub(super) fn testing(out: &mut impl Write, size: u64) -> io::Result<()> {
    writeln!(out, "\nTesting {}...", sizes::text(size))?;
    out.flush()
}

/// After it was.
pub(super) fn tested(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    writeln!(out, "  ✓ {:.2} GB/s, {:.1} μs (mean)", figures.bandwidth_gb_s, figures.mean_us)?;
    out.flush()
}

/// The table of all sizes.
pub(super) fn summary(out: &mut impl Write, rows: &[Figures], columns: Columns) -> io::Result<()> {
    let rule = "=".repeat(WIDTH);
    writeln!(out, "\n{rule}\nRESULTS SUMMARY\n{rule}")?;
    let bandwidth = match columns {
        Columns::Script => 12,
        Columns::Aligned => 15,
    };
    writeln!(
        out,
        "{:<10} | {:<bandwidth$} | {:<10} | {:<10} | {:<10} | {:<10}",
        "Size", "Bandwidth", "Mean (μs)", "P50 (μs)", "P95 (μs)", "P99 (μs)"
    )?;
    writeln!(out, "{}", "-".repeat(WIDTH))?;
    for row in rows {
        writeln!(
            out,
            "{:<10} | {:>10.2} GB/s | {:>10.1} | {:>10.1} | {:>10.1} | {:>10.1}",
            sizes::text(row.size),
            row.bandwidth_gb_s,
            row.mean_us,
            row.p50_us,
            row.p95_us,
            row.p99_us
        )?;
    }
    writeln!(out, "{rule}")
}

const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(size: u64, bandwidth: f64, [mean, p50, p95, p99]: [f64; 4]) -> Figures {
        Figures {
            size,
            transfers: 100,
            bandwidth_gb_s: bandwidth,
            gbit_s: bandwidth * 8.0,
            mean_us: mean,
            p50_us: p50,
            p95_us: p95,
            p99_us: p99,
        }
    }

    /// The script's own layout with numbers made up; the trailing spaces are its.
    const GOLDEN: &str = "
================================================================================
srv6ctl Point-to-Point Benchmark (Initiator)
================================================================================
Memory: CPU (DRAM)
Target: 172.31.42.78:5555
Iterations: 100 (warmup: 10)
================================================================================

Testing 1.0 MB...
  ✓ 8.45 GB/s, 118.3 μs (mean)

================================================================================
RESULTS SUMMARY
================================================================================
Size       | Bandwidth    | Mean (μs)  | P50 (μs)   | P95 (μs)   | P99 (μs)  
--------------------------------------------------------------------------------
1.0 MB     |       8.45 GB/s |      118.3 |      115.2 |      125.8 |      132.1
16.0 MB    |       9.23 GB/s |     1734.2 |     1720.5 |     1850.3 |     1920.7
================================================================================
";

    #[test]
    fn the_layout_is_the_script_s() {
        let rows = [
            figures(1 << 20, 8.45, [118.3, 115.2, 125.8, 132.1]),
            figures(16 << 20, 9.23, [1734.2, 1720.5, 1850.3, 1920.7]),
        ];
        let mut out = Vec::new();
        header(&mut out, "172.31.42.78:5555", 100, 10).unwrap();
        testing(&mut out, 1 << 20).unwrap();
        tested(&mut out, &rows[0]).unwrap();
        summary(&mut out, &rows, Columns::Script).unwrap();
        let text = String::from_utf8(out).unwrap();
        for (got, wanted) in text.lines().zip(GOLDEN.lines()) {
            assert_eq!(got, wanted);
        }
        assert_eq!(text, GOLDEN);
    }

    #[test]
    fn aligned_columns_stand_below_their_headings() {
        let mut out = Vec::new();
        let rows = [figures(1024, 0.01, [1.0; 4])];
        summary(&mut out, &rows, Columns::Aligned).unwrap();
        let text = String::from_utf8(out).unwrap();
        let bars = |line: &str| -> Vec<usize> {
            line.chars().enumerate().filter(|(_, c)| *c == '|').map(|(at, _)| at).collect()
        };
        let lines: Vec<&str> = text.lines().filter(|line| line.contains('|')).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(bars(lines[0]), bars(lines[1]), "{text}");
    }
}
