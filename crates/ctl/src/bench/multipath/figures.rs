//! Plots of what was measured, each with its data beside it.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use super::Results;
use super::failure::TRACE_STEP;
use super::failures::{Failures, Kind};
use crate::experiment::Comparison;
use crate::experiment::plot::{self, Line, Marks};

/// Draws whatever was measured into a folder, which is made if it isn't there.
pub(super) fn draw(folder: &Path, results: &Results) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    if let Some(shaped) = &results.shaped {
        distribution(folder, shaped)?;
    }
    if let Some(unequal) = &results.unequal {
        let strips = unequal.strips();
        let svg = plot::strips("Share of each path, one at a quarter of the rate", "share", &strips)?;
        save(folder, "unequal-shares", &svg, &strips)?;
    }
    if let Some(failures) = &results.failures {
        for kind in &failures.kinds {
            failure(folder, failures, kind)?;
        }
    }
    Ok(())
}

/// How ECMP's trials lie, beside the steered ones.
fn distribution(folder: &Path, shaped: &Comparison) -> anyhow::Result<()> {
    let strips = plot::fractions(shaped);
    let svg = plot::strips(plot::FRACTIONS, "fraction of the wire", &strips)?;
    save(folder, "shaped-distribution", &svg, &strips)
}

/// Throughput of the job and of each path over time, of the run in the middle.
fn failure(folder: &Path, failures: &Failures, kind: &Kind) -> anyhow::Result<()> {
    let Some(typical) = kind.typical().filter(|typical| typical.died.is_none()) else { return Ok(()) };
    let name = kind.kind.name().replace(" %", "").replace(' ', "-");
    let events = vec![(typical.failed_s, "failure".to_owned()), (typical.healed_s, "repair".to_owned())];

    let step = TRACE_STEP.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let throughput: Vec<(f64, f64)> =
        typical.trace.iter().enumerate().map(|(i, mbps)| ((i as f64 + 0.5) * step, *mbps)).collect();
    let lines = [
        Line::thin("each 5 ms", throughput.clone()),
        Line::bold("mean of 40 ms", plot::smoothed(&throughput, 8)),
    ];
    let levels = vec![
        (failures.capacity_mbps, "all paths".to_owned()),
        (failures.remaining_mbps, "three of four".to_owned()),
    ];
    let marks = Marks { events: events.clone(), levels };
    let title = format!("Ring all-reduce over 8 ranks: {}", kind.kind.name());
    let svg = plot::lines(&title, "seconds", "Mbit/s of payload for each host", &lines, &marks)?;
    save(folder, &format!("failure-{name}-throughput"), &svg, &json!({"lines": &lines, "marks": &marks}))?;

    let spines = typical.paths.first().map_or(0, |(_, rates)| rates.len());
    let lines: Vec<Line> = (0..spines)
        .map(|spine| {
            let points = typical.paths.iter();
            let points = points.map(|(at, rates)| (*at, rates.get(spine).copied().unwrap_or(0.0)));
            Line::bold(&format!("spine{spine:02}"), points.collect())
        })
        .collect();
    let marks = Marks { events, levels: Vec::new() };
    let title = format!("What leaf00 sends up each path: {}", kind.kind.name());
    let svg = plot::lines(&title, "seconds", "Mbit/s, means of 50 ms", &lines, &marks)?;
    save(folder, &format!("failure-{name}-paths"), &svg, &json!({"lines": &lines, "marks": &marks}))
}

fn save(folder: &Path, name: &str, svg: &str, data: &impl Serialize) -> anyhow::Result<()> {
    let write = |extension: &str, text: &str| {
        let file = folder.join(format!("{name}.{extension}"));
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
    };
    write("svg", svg)?;
    write("json", &(serde_json::to_string(data)? + "\n"))
}
