//! The report: one page that needs no other file.

use std::fmt::Write;

use super::Report;
use crate::experiment::plot::{self, Line, Marks};
use crate::experiment::{Comparison, Trial, Workload};

/// The whole page.
pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let comparison = &report.comparison;
    let mut body = String::new();
    let topology = escaped(&report.topology);
    write!(
        body,
        "<h1>ECMP, steered, multipath</h1>\n<p>{topology}: {} hosts, every link at {} Mbit/s. {}</p>\n",
        report.hosts,
        comparison.rate_mbps,
        escaped(&possible(comparison)),
    )?;
    body.push_str(&table(comparison)?);

    body.push_str(
        "<h2>How trials lie</h2>\n<p>Each dot is a trial, each bar a median. Every trial has other ports, so \
                   ECMP hashes its flows to other links.</p>\n",
    );
    body.push_str(&plot::strips(plot::FRACTIONS, "fraction of the wire", &plot::fractions(comparison))?);

    body.push_str(
        "<h2>Throughput over time</h2>\n<p>A ring all-reduce, Mbit/s of payload for each host.</p>\n",
    );
    body.push_str(&throughput(report)?);

    body.push_str(
        "<h2>Load of each link</h2>\n<p>Of ECMP the worst trial, of the others the one in the middle.</p>\n",
    );
    for workload in Workload::ALL {
        for routing in &comparison.routings {
            if let Some(trial) = shown(comparison, workload, routing) {
                let title = format!("{}, {routing}: {:.2} of the wire", workload.name(), trial.fraction);
                body.push_str(&plot::heat(&title, &plot::fabric(trial))?);
            }
        }
    }
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>srv6ctl bench fabric</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    ))
}

const STYLE: &str = "\
body { font-family: sans-serif; max-width: 920px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 90%; display: block; overflow-x: auto; white-space: nowrap; }
th, td { padding: 0.25em 0.7em; text-align: right; border-bottom: 1px solid #ddd; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
svg { max-width: 100%; height: auto; }
";

/// What the fractions are of.
fn possible(comparison: &Comparison) -> String {
    let wire: Vec<String> =
        comparison.wire_mbps.iter().map(|(routing, mbps)| format!("{routing} {mbps:.1}")).collect();
    format!("After all headers a link carries, in Mbit/s of payload: {}.", wire.join(", "))
}

fn table(comparison: &Comparison) -> anyhow::Result<String> {
    let headings = [
        "workload",
        "routing",
        "trials",
        "worst",
        "median",
        "best",
        "Mbit/s",
        "seconds",
        "worst link",
        "mean link",
        "Jain of links",
    ];
    let mut html = String::from("<table>\n<tr>");
    for heading in headings {
        write!(html, "<th>{heading}</th>")?;
    }
    html.push_str("</tr>\n");
    let cell = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
    };
    for row in comparison.rows() {
        let cells = [
            row.workload.name().to_owned(),
            row.routing.to_owned(),
            row.trials.to_string(),
            cell(row.fraction_min, 3),
            cell(row.fraction_median, 3),
            cell(row.fraction_max, 3),
            cell(row.mbps, 1),
            cell(row.seconds, 2),
            cell(row.worst_link, 2),
            cell(row.mean_link, 2),
            cell(row.jain_links, 3),
        ];
        html.push_str("<tr>");
        for cell in cells {
            write!(html, "<td>{}</td>", escaped(&cell))?;
        }
        html.push_str("</tr>\n");
    }
    html.push_str(
        "</table>\n<p>Worst, median, best: payload of the slowest flow or of the collective over what the \
                   wire carries after all headers.</p>\n",
    );
    Ok(html)
}

fn throughput(report: &Report) -> anyhow::Result<String> {
    let step = report.trace_step_s;
    let points = |trace: &[f64]| -> Vec<(f64, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        trace.iter().enumerate().map(|(i, mbps)| ((i as f64 + 0.5) * step, *mbps)).collect()
    };
    let lines: Vec<Line> = report
        .comparison
        .routings
        .iter()
        .filter_map(|routing| Some(Line::bold(routing, points(report.throughput.get(routing)?))))
        .collect();
    plot::lines("Ring all-reduce", "seconds", "Mbit/s of payload for each host", &lines, &Marks::default())
}

/// The trial whose links are drawn.
fn shown<'a>(comparison: &'a Comparison, workload: Workload, routing: &str) -> Option<&'a Trial> {
    let mut trials: Vec<&Trial> = comparison.of(workload, routing).collect();
    trials.sort_by(|a, b| a.fraction.total_cmp(&b.fraction));
    let position = if routing == "ecmp" { 0 } else { trials.len() / 2 };
    trials.get(position).copied()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::experiment::LinkLoad;

    #[test]
    fn the_page_has_everything_in_it() {
        let trial = |routing, fraction| Trial {
            workload: Workload::Permutation,
            routing,
            seconds: 1.5,
            fraction,
            mean_fraction: fraction,
            mbps: 190.0 * fraction,
            jain: 0.9,
            links: vec![LinkLoad {
                from: "leaf00".into(),
                to: "spine00".into(),
                load: fraction,
                switches: true,
            }],
            wrong: 0,
            idle: 0.5,
        };
        let trials = vec![trial("ecmp", 0.75), trial("ecmp", 0.25), trial("spread", 0.97)];
        let report = Report {
            topology: "a<b>.json".into(),
            hosts: 8,
            comparison: Comparison {
                rate_mbps: 200,
                congestion_control: "cubic".into(),
                wire_mbps: BTreeMap::from([("ecmp", 188.6)]),
                routings: vec!["ecmp", "spread"],
                trials,
            },
            throughput: BTreeMap::from([("ecmp", vec![90.0, 91.0])]),
            trace_step_s: 0.02,
        };
        let page = page(&report).unwrap();
        assert!(page.contains("a&lt;b&gt;.json") && page.contains("188.6"), "{page}");
        // Distribution, throughput, a heat map for each kind of routing.
        assert_eq!(page.matches("<svg").count(), 4);
        assert!(page.contains("permutation, ecmp: 0.25 of the wire"), "the worst: {page}");
        assert!(page.contains("permutation, spread: 0.97 of the wire"));
        for outside in ["src=", "href=", "@import"] {
            assert!(!page.contains(outside), "{outside} needs another file");
        }
        let document = report.document();
        assert_eq!(document["rows"].as_array().unwrap().len(), 6);
        assert_eq!(document["rows"][2]["workload"], "permutation");
        assert_eq!(document["rows"][2]["fraction_min"], 0.25);
    }
}
