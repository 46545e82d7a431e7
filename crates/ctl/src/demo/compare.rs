//! Part 2: where links are the limit, plain ECMP against steered and multipath.

use std::path::Path;

use anyhow::Context;
use srv6_lab::{Lab, Mbps, Options};

use super::ranks::{Job, Ranks};
use super::{Scene, heading};
use crate::experiment::{alternating, fabric};
use crate::progress::spinner;
use crate::table;

/// Slow enough that links and not two CPUs are the limit.
const RATE: u32 = 200;

/// Bytes reduced.
const SIZE: &str = "4M";

pub(super) fn play(scene: &Scene, file: &Path, trials: u32) -> anyhow::Result<()> {
    heading(&format!(
        "2 leaves, 4 spines, 4 hosts per leaf, every link at {RATE} Mbit/s: as many uplinks as hosts"
    ));
    let topology = fabric(file)?;
    let rate = Some(Mbps::new(RATE)?);
    let options = Options { rate_fabric: rate, rate_host: rate, ..Options::default() };
    let bar = spinner("raising the fabric");
    let lab = Lab::up(&topology, &options).context("raising the fabric")?;
    bar.finish_and_clear();

    let hosts: Vec<String> = lab.hosts().map(|h| h.name().to_owned()).collect();
    let hosts = alternating(&hosts);
    let file = file.to_str().context("the fabric's path is not text")?;
    println!("ring all-reduce of {SIZE} over 8 ranks that alternate between the leaves");

    let run = |name: &str, settings: &[(&str, &str)]| -> anyhow::Result<f64> {
        let arguments = ["-b", SIZE, "-e", SIZE, "-n", "3", "-w", "1"];
        let job = Job { name, hosts: &hosts, arguments: &arguments, settings };
        let bar = spinner(name);
        let rows = Ranks::start(scene, &lab, &job)?.finish(|| {})?;
        bar.finish_and_clear();
        rows.first().map(|row| row.time_us).context("no row")
    };
    let local = [("SRV6_MODE", "local"), ("SRV6_STRICT", "1"), ("SRV6_TOPOLOGY", file)];
    let (mut ecmp, mut steered, mut multipath) = (Vec::new(), Vec::new(), Vec::new());
    for trial in 1..=trials {
        ecmp.push(run(&format!("ecmp-{trial}"), &[("SRV6_MODE", "off"), ("SRV6_PATHS", "1")])?);
        steered.push(run(&format!("spread-{trial}"), &[&local[..], &[("SRV6_PATHS", "1")]].concat())?);
        multipath.push(run(&format!("multipath-{trial}"), &[&local[..], &[("SRV6_PATHS", "4")]].concat())?);
    }

    let mut table = table::new(&["", "best (ms)", "median (ms)", "worst (ms)"]);
    let rows = [
        ("plain ECMP", &mut ecmp),
        ("steered, one path", &mut steered),
        ("steered, 4 paths", &mut multipath),
    ];
    for (name, times) in rows {
        times.sort_by(f64::total_cmp);
        let cell = |t: Option<&f64>| format!("{:.0}", t.copied().unwrap_or(f64::NAN) / 1e3);
        table.add_row([
            name.to_owned(),
            cell(times.first()),
            cell(times.get(times.len() / 2)),
            cell(times.last()),
        ]);
    }
    println!("{table}");
    let median = |times: &[f64]| times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    println!(
        "steered is {:.2} times as fast over one path each, {:.2} over four (medians of {trials} runs each, alternating)",
        median(&ecmp) / median(&steered),
        median(&ecmp) / median(&multipath)
    );
    Ok(())
}
