//! What stands below the script's table, and the JSON document.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::carried::Carried;
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
    let mut rows = table::new(&["from", "to", "path", "bytes", "share", "Gbit/s", "RTT (us)", "retransmits"]);
    let (data, rest) = split(connections, total);
    for one in data {
        rows.add_row([
            one.from.to_string(),
            one.to.to_string(),
            one.path.clone().unwrap_or_else(|| "not steered".to_owned()),
            one.bytes.to_string(),
            format!("{:.1}%", share(one.bytes, total) * 100.0),
            format!("{:.2}", gbit_s(one.bytes, run.seconds)),
            one.rtt_us.to_string(),
            one.retransmits.to_string(),
        ]);
    }
    rows.add_row([
        "all".to_owned(),
        String::new(),
        String::new(),
        total.to_string(),
        "100.0%".to_owned(),
        format!("{:.2}", gbit_s(total, run.seconds)),
        String::new(),
        connections.iter().map(|one| one.retransmits).sum::<u64>().to_string(),
    ]);
    writeln!(out, "{rows}")?;
    if !rest.is_empty() {
        let bytes: u64 = rest.iter().map(|one| one.bytes).sum();
        writeln!(out, "{} more connections without data of the transfers: {bytes} bytes", rest.len())?;
    }
    out.flush()
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
            let connections: Option<Vec<Value>> =
                run.carried.as_ref().ok().map(|all| all.iter().map(|one| connection(one, total)).collect());
            json!({
                "target": run.target,
                "name": run.name,
                "net": run.net,
                "results": run.rows,
                "verification_failed": run.failed,
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

fn connection(one: &Carried, total: u64) -> Value {
    json!({
        "from": one.from,
        "to": one.to,
        "path": one.path,
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

    fn carried(port: u16, path: Option<&str>, bytes: u64) -> Carried {
        Carried {
            from: ([10, 0, 0, 2], port).into(),
            to: ([10, 0, 0, 1], 9).into(),
            path: path.map(str::to_owned),
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
    fn each_connection_has_a_row_and_nothing_looks_like_a_row_of_the_script() {
        let connections = vec![
            carried(1, Some("fc00:0:1001:fe06::"), 75_000_000),
            carried(2, None, 25_000_000),
            carried(3, None, 99),
        ];
        let text = text(&run(Ok(connections)));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "PATHS (SRv6 v12 eth1; timed transfers, counted where the data is sent)");
        assert_eq!(words(lines[3]), ["1.0", "MB", "8.39"]);
        let first =
            ["10.0.0.2:1", "10.0.0.1:9", "fc00:0:1001:fe06::", "75000000", "75.0%", "1.20", "250", "3"];
        assert_eq!(words(lines[6]), first);
        assert!(lines[7].contains("not steered") && lines[7].contains("25.0%"), "{text}");
        assert_eq!(words(lines[8]), ["all", "100000099", "100.0%", "1.60", "9"]);
        assert_eq!(lines[9], "1 more connections without data of the transfers: 99 bytes");
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
        assert_eq!(document["runs"][1]["connections"], Value::Null);
        assert_eq!(document["runs"][1]["connections_error"], "why");
        assert_eq!(document["error"], "bad");
    }
}
