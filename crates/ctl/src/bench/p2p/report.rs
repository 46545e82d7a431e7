//! What stands below the script's table, and the JSON document.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use serde_json::{Value, json};

use super::carried::{Carried, Taken};
use super::initiator::Run;
use super::sizes;
use super::wire::{Op, Terms};
use crate::table;

/// The block of our own: gigabits per size, and what each connection carried.
pub(super) fn block(out: &mut impl Write, run: &Run) -> io::Result<()> {
    writeln!(out, "\nPATHS ({}; timed transfers, counted where the data is sent)", run.net)?;
    let mut gigabits = table::new(&["size", "Gbit/s"]);
    for row in &run.rows {
        gigabits.add_row([sizes::text(row.size), format!("{:.2}", row.gbit_s)]);
    }
    writeln!(out, "{gigabits}\n")?;
    let connections = match &run.carried {
        Err(reason) => return writeln!(out, "what each path carried is not known: {reason}"),
        Ok(connections) if connections.is_empty() => {
            return writeln!(out, "no TCP connection between the two processes: the net uses something else");
        }
        Ok(connections) => connections,
    };
    let total: u64 = connections.iter().map(|one| one.bytes).sum();
    let mut rows = table::new(&[
        "from",
        "to",
        "path",
        "carrier",
        "connections",
        "bytes",
        "share",
        "Gbit/s",
        "RTT (us)",
        "retransmits",
    ]);
    let mut row = |from: &str, to: &str, path: &str, carrier: &str, sum: &Sum| {
        rows.add_row([
            from,
            to,
            path,
            carrier,
            &sum.connections.to_string(),
            &sum.bytes.to_string(),
            &percent(sum.bytes, total),
            &format!("{:.2}", gbit_s(sum.bytes, run.seconds)),
            &sum.rtt_us().to_string(),
            &sum.retransmits.to_string(),
        ]);
    };
    let (data, rest) = split(connections, total);
    for (key, sum) in &by_path(&data) {
        let (path, carrier) = match key.path {
            None => ("not steered".to_owned(), "-"),
            Some(Taken { segments, hops: None }) => ("-".to_owned(), segments.as_str()),
            Some(Taken { segments, hops: Some(hops) }) => (hops.join(" > "), segments.as_str()),
        };
        row(&key.from.to_string(), &key.to.to_string(), &path, carrier, sum);
    }
    row("all", "", "", "", &data.iter().copied().collect());
    writeln!(out, "{rows}\n")?;
    let mut rows = table::new(&["connection", "bytes", "share", "RTT (us)", "retransmits"]);
    for one in &data {
        rows.add_row([
            format!("{} > {}", one.from, one.to),
            one.bytes.to_string(),
            percent(one.bytes, total),
            one.rtt_us.to_string(),
            one.retransmits.to_string(),
        ]);
    }
    writeln!(out, "{rows}")?;
    if !rest.is_empty() {
        let bytes: u64 = rest.iter().map(|one| one.bytes).sum();
        writeln!(out, "{} more connections without data of the transfers: {bytes} bytes", rest.len())?;
    }
    out.flush()
}

/// A path between two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PathKey<'a> {
    from: IpAddr,
    to: IpAddr,
    path: Option<&'a Taken>,
}

/// What several connections carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    connections: u64,
    bytes: u64,
    retransmits: u64,
    /// Round-trip times, weighted by bytes: what a byte saw.
    rtt_bytes: u128,
    rtt_us: u64,
}

impl Sum {
    fn rtt_us(&self) -> u64 {
        let mean = self.rtt_bytes.checked_div(self.bytes.into());
        mean.map_or(self.rtt_us, |mean| u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

impl<'a> FromIterator<&'a Carried> for Sum {
    fn from_iter<I: IntoIterator<Item = &'a Carried>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            connections: sum.connections + 1,
            bytes: sum.bytes + one.bytes,
            retransmits: sum.retransmits + one.retransmits,
            rtt_bytes: sum.rtt_bytes + u128::from(one.rtt_us) * u128::from(one.bytes),
            rtt_us: one.rtt_us,
        })
    }
}

fn by_path<'a>(connections: &[&'a Carried]) -> BTreeMap<PathKey<'a>, Sum> {
    let mut paths: BTreeMap<PathKey<'a>, Vec<&Carried>> = BTreeMap::new();
    for &one in connections {
        let key = PathKey { from: one.from.ip(), to: one.to.ip(), path: one.path.as_ref() };
        paths.entry(key).or_default().push(one);
    }
    paths.into_iter().map(|(key, all)| (key, all.into_iter().collect())).collect()
}

/// Everything as one object.
pub(super) fn document(terms: &Terms, runs: &[Run], error: Option<&str>) -> Value {
    let op = match terms.op {
        Op::Read => "READ",
        Op::Write => "WRITE",
    };
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            let total = run.carried.iter().flatten().map(|one| one.bytes).sum();
            let known = run.carried.as_ref().ok();
            let connections: Option<Vec<Value>> =
                known.map(|all| all.iter().map(|one| connection(one, total)).collect());
            let paths: Option<Vec<Value>> = known.map(|all| {
                let all: Vec<&Carried> = all.iter().collect();
                by_path(&all).iter().map(|(key, sum)| path(key, sum, total, run.seconds)).collect()
            });
            json!({
                "target": run.target,
                "name": run.name,
                "net": run.net,
                "results": run.rows,
                "verification_failed": run.failed,
                "paths": paths,
                "connections": connections,
                "connections_error": run.carried.as_ref().err(),
            })
        })
        .collect();
    json!({
        "version": 1,
        "srv6ctl": env!("CARGO_PKG_VERSION"),
        "op": op,
        "iterations": terms.iterations,
        "warmup": terms.warmup,
        "runs": runs,
        "error": error,
    })
}

fn path(key: &PathKey<'_>, sum: &Sum, total: u64, seconds: f64) -> Value {
    json!({
        "from": key.from,
        "to": key.to,
        "path": key.path.and_then(|path| path.hops.as_ref()),
        "segments": key.path.map(|path| &path.segments),
        "connections": sum.connections,
        "bytes": sum.bytes,
        "share": share(sum.bytes, total),
        "gbit_s": gbit_s(sum.bytes, seconds),
        "rtt_us": sum.rtt_us(),
        "retransmits": sum.retransmits,
    })
}

fn connection(one: &Carried, total: u64) -> Value {
    json!({
        "from": one.from,
        "to": one.to,
        "path": one.path.as_ref().and_then(|path| path.hops.as_ref()),
        "segments": one.path.as_ref().map(|path| &path.segments),
        "bytes": one.bytes,
        "share": share(one.bytes, total),
        "rtt_us": one.rtt_us,
        "retransmits": one.retransmits,
    })
}

/// Those that carried data, and those that only carried what the net says to itself: less than a thousandth.
fn split(connections: &[Carried], total: u64) -> (Vec<&Carried>, Vec<&Carried>) {
    connections.iter().partition(|one| one.bytes.saturating_mul(1000) > total)
}

fn percent(bytes: u64, total: u64) -> String {
    format!("{:.1}%", share(bytes, total) * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a share, printed with one decimal")]
fn share(bytes: u64, total: u64) -> f64 {
    bytes as f64 / total.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "printed with two decimals")]
fn gbit_s(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / 1e9 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::metrics::Figures;
    use super::*;

    fn run(carried: Result<Vec<Carried>, String>) -> Run {
        let row = Figures::of(1 << 20, &[Duration::from_millis(1)], Duration::from_millis(1));
        Run {
            target: "10.0.0.2:5555".into(),
            name: Some("b".into()),
            net: "SRv6 v12 eth1".into(),
            rows: row.into_iter().collect(),
            carried,
            seconds: 0.5,
            failed: Vec::new(),
        }
    }

    fn carried(port: u16, path: Option<&Taken>, bytes: u64) -> Carried {
        Carried {
            from: ([10, 0, 0, 2], port).into(),
            to: ([10, 0, 0, 1], 9).into(),
            path: path.cloned(),
            bytes,
            retransmits: 3,
            rtt_us: 250,
        }
    }

    fn text(run: &Run) -> String {
        let mut out = Vec::new();
        block(&mut out, run).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_path_and_connection_has_a_row_and_nothing_looks_like_a_row_of_the_script() {
        let hops = Some(["a", "s1", "b"].map(str::to_owned).to_vec());
        let named = Taken { segments: "fc00:0:1001:fe06::".into(), hops };
        let unnamed = Taken { hops: None, ..named.clone() };
        let connections = vec![
            carried(1, Some(&named), 45_000_000),
            Carried { rtt_us: 550, ..carried(2, Some(&named), 30_000_000) },
            carried(3, None, 20_000_000),
            carried(5, Some(&unnamed), 5_000_000),
            carried(4, None, 99),
        ];
        let text = text(&run(Ok(connections)));
        let words = |line: usize| {
            text.lines().nth(line).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(
            text.starts_with("\nPATHS (SRv6 v12 eth1; timed transfers, counted where the data is sent)\n")
        );
        assert_eq!(words(3), ["1.0", "MB", "8.39"]);
        let row = |line: usize| words(line)[2..].join(" ");
        assert_eq!(row(6), "not steered - 1 20000000 20.0% 0.32 250 3");
        assert_eq!(row(7), "- fc00:0:1001:fe06:: 1 5000000 5.0% 0.08 250 3");
        assert_eq!(row(8), "a > s1 > b fc00:0:1001:fe06:: 2 75000000 75.0% 1.20 370 6");
        assert_eq!(words(8)[..2], ["10.0.0.2", "10.0.0.1"]);
        assert_eq!(words(9), ["all", "4", "100000000", "100.0%", "1.60", "340", "12"]);
        assert_eq!(words(12), ["10.0.0.2:1", ">", "10.0.0.1:9", "45000000", "45.0%", "250", "3"]);
        assert!(text.ends_with("\n1 more connections without data of the transfers: 99 bytes\n"), "{text}");
        assert!(!text.contains('|') && !text.contains(" GB/s"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert!(text(&run(Err("sock_diag: denied".into()))).contains("is not known: sock_diag: denied\n"));
        assert!(text(&run(Ok(Vec::new()))).contains("no TCP connection between the two processes"));
    }

    #[test]
    fn the_document_has_what_the_text_has() {
        let terms = Terms { sizes: vec![1 << 20], iterations: 1, warmup: 0, op: Op::Write, comm_id: 1 };
        let runs = [run(Ok(vec![carried(1, None, 10)])), run(Err("why".into()))];
        let document = document(&terms, &runs, Some("bad"));
        assert_eq!(document["op"], "WRITE");
        assert_eq!(document["runs"][0]["results"][0]["size"], 1 << 20);
        assert_eq!(document["runs"][0]["connections"][0]["share"], 1.0);
        assert_eq!(document["runs"][0]["paths"][0]["connections"], 1);
        assert_eq!(document["runs"][1]["connections"], Value::Null);
        assert_eq!(document["runs"][1]["connections_error"], "why");
        assert_eq!(document["error"], "bad");
    }
}
