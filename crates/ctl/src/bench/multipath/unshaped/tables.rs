//! What is printed of two hosts and a cable.

use std::fmt;

use comfy_table::Table;

use super::{Latency, Run, SOCKET_SETTINGS, STREAMS, Sender, Unshaped, WITH_IPERF3, WITH_NETS};
use crate::bench::multipath::cell;
use crate::experiment::{Memory, statistics};
use crate::table;

impl Unshaped {
    fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.runs.iter().map(|run| run.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Two senders with as many streams each, for every size and number of streams.
    fn beside(&self, other: &str, memory: Memory, of: fn(u32) -> Sender) -> Table {
        let columns =
            ["SIZE", "STREAMS", "MULTIPATH", other, "RATIO", "CPU S/GB", other, "SOFTIRQ S/GB", other];
        let mut shown = table::new(&columns);
        for size in self.sizes() {
            for streams in STREAMS {
                let (ours, theirs) = ((Sender::Multipath { streams }, memory), (of(streams), memory));
                let both = |value: fn(&Run) -> f64| {
                    [ours, theirs].map(|side| cell(self.median(size, side, value), 2))
                };
                let row = [format!("{} KiB", size >> 10), streams.to_string()].into_iter();
                let row = row.chain(both(|run| run.gbit_s)).chain([cell(self.ratio(size, ours, theirs), 2)]);
                shown
                    .add_row(row.chain(both(|run| run.cpu_s_per_gb)).chain(both(|run| run.softirq_s_per_gb)));
            }
        }
        shown
    }

    /// Beside NCCL's Socket with the setting that is best for each size; none if it took no part.
    fn beside_socket(&self) -> Option<Table> {
        let mut shown =
            table::new(&["SIZE", "NCCL'S SOCKET", "THREADS x SOCKETS", "1 PATH /SOCKET", "4 PATHS /SOCKET"]);
        for size in self.sizes() {
            let settings = SOCKET_SETTINGS.into_iter().filter_map(|(threads, sockets_per_thread)| {
                let sender = Sender::Socket { threads, sockets_per_thread };
                Some((
                    self.median(size, (sender, WITH_NETS), |run| run.gbit_s)?,
                    sender,
                    format!("{threads} x {sockets_per_thread}"),
                ))
            });
            let (gbit_s, best, setting) = settings.max_by(|a, b| a.0.total_cmp(&b.0))?;
            let ours = |streams| (Sender::Multipath { streams }, WITH_NETS);
            let ratios = STREAMS.map(|streams| self.ratio(size, ours(streams), (best, WITH_NETS)));
            let [one, four] = ratios.map(|ratio| cell(ratio, 2));
            shown.add_row([format!("{} KiB", size >> 10), cell(Some(gbit_s), 2), setting, one, four]);
        }
        Some(shown)
    }

    fn latency(&self) -> Table {
        let mut shown = table::new(&["8 BYTES", "P50 (us)", "P99 (us)"]);
        let mut seen: Vec<Sender> = Vec::new();
        for Latency { sender, .. } in &self.latencies {
            if seen.contains(sender) {
                continue;
            }
            seen.push(*sender);
            let of = |value: fn(&Latency) -> f64| -> Vec<f64> {
                self.latencies.iter().filter(|latency| latency.sender == *sender).map(value).collect()
            };
            let [p50, p99] = [of(|latency| latency.p50_us), of(|latency| latency.p99_us)];
            let [p50, p99] = [p50, p99].map(|values| cell(statistics::median(&values), 1));
            shown.add_row([sender.to_string(), p50, p99]);
        }
        shown
    }

    fn has_previous(&self) -> bool {
        self.runs.iter().any(|run| matches!(run.sender, Sender::Previous { .. }))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multipath { streams } => write!(f, "multipath, {streams}"),
            Self::Previous { streams } => write!(f, "previous, {streams}"),
            Self::Iperf3 { streams } => write!(f, "iperf3, {streams}"),
            Self::Socket { threads, sockets_per_thread } => {
                write!(f, "socket, {threads} x {sockets_per_thread}")
            }
        }
    }
}

impl fmt::Display for Unshaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.beside("IPERF3", WITH_IPERF3, |streams| Sender::Iperf3 { streams }))?;
        writeln!(
            f,
            "Gbit/s, medians of all runs; ratios: medians of those within a turn or round. CPU: processes of both ends; soft interrupts \
             are the machine's. {} sends one block of 1 MiB at most again and again, and so does the transport. \
             Congestion control: {}.",
            self.iperf3_version, self.congestion_control
        )?;
        let nets = "Each of eight messages under way in memory of its own:";
        if self.has_previous() {
            let shown = self.beside("PREVIOUS", WITH_NETS, |streams| Sender::Previous { streams });
            writeln!(f, "\n{nets}\n{shown}")?;
        }
        if let Some(shown) = self.beside_socket() {
            writeln!(f, "\n{nets}\n{shown}")?;
        }
        write!(f, "\n{}", self.latency())
    }
}
