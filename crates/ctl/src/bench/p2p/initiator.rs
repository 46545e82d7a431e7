//! The initiator: decides, measures, prints.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::carried::Carried;
use super::control::Control;
use super::format::{self, Columns};
use super::meeting::Address;
use super::metrics::Figures;
use super::pair::{NetOptions, Pair};
use super::wire::{Agent, Frame, Terms};
use super::{meeting, report, say, sizes};
use crate::progress;

/// What an initiator does with every target.
#[derive(Debug)]
pub(super) struct Initiator {
    pub(super) agent: Agent,
    pub(super) terms: Terms,
    pub(super) net: NetOptions,
    pub(super) columns: Columns,
}

/// What one target gave.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) target: String,
    /// The target's name, if it was found by name.
    pub(super) name: Option<String>,
    pub(super) net: String,
    pub(super) rows: Vec<Figures>,
    pub(super) carried: Result<Vec<Carried>, String>,
    /// Time of all timed transfers.
    pub(super) seconds: f64,
    /// Sizes whose data was wrong.
    pub(super) failed: Vec<u64>,
}

impl Initiator {
    /// Runs against the target at an address. `still` says whether it is worth while to wait for it any longer.
    ///
    /// # Errors
    /// If the target can't be reached, refuses or fails, or the net does. Wrong data is no error here.
    pub(super) fn run(
        &self,
        address: &Address,
        name: Option<&str>,
        deadline: Instant,
        still: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Run> {
        say(&format!("Connecting to target at {address}"));
        say(&format!("Checking TCP connectivity to {address}"));
        let stream = address.connect(deadline, still)?;
        say(&format!("✓ TCP connection to {address} successful"));
        say("Waiting for metadata exchange...");
        let (control, abort) =
            meeting::introduce(stream, address, &self.agent, &self.terms, deadline, self.net.patience)?;
        let result = Pair::connect(&self.net, &self.terms, &control, &abort, true)
            .and_then(|pair| self.measure(pair, address, name, &control));
        result.map_err(|error| control.explain(error))
    }

    fn measure(
        &self,
        mut pair: Pair<'_>,
        address: &Address,
        name: Option<&str>,
        control: &Control,
    ) -> anyhow::Result<Run> {
        say("✓ Connected to target");
        let Terms { iterations, warmup, .. } = self.terms;
        let mut out = io::stdout();
        let target = address.to_string();
        format::header(&mut out, &target, iterations, warmup)?;
        let (mut rows, mut failed, mut wall) = (Vec::new(), Vec::new(), Duration::ZERO);
        for &size in &self.terms.sizes {
            format::testing(&mut out, size)?;
            let bar = progress::bar(&sizes::text(size), u64::from(warmup) + u64::from(iterations) + 1);
            let measured = pair.measure(size, || bar.inc(1));
            bar.finish_and_clear();
            let measured = measured?;
            wall += measured.wall;
            if measured.wrong > 0 {
                let text = verification_failed(size, measured.wrong);
                writeln!(out, "  {text}")?;
                say(&text);
                failed.push(size);
                continue;
            }
            let row = Figures::of(size, &measured.times, measured.wall).context("nothing was transferred")?;
            format::tested(&mut out, &row)?;
            rows.push(row);
        }
        let run = Run {
            target,
            name: name.map(str::to_owned),
            net: pair.net().to_owned(),
            rows,
            carried: pair.carried()?,
            seconds: wall.as_secs_f64(),
            failed,
        };
        format::summary(&mut out, &run.rows, self.columns)?;
        report::block(&mut out, &run)?;
        control.send(&Frame::Bye)?;
        pair.close()?;
        Ok(run)
    }
}

/// As the script says it, and how much is wrong.
pub(super) fn verification_failed(size: u64, wrong_bytes: u64) -> String {
    format!("✗ Data verification failed for {}: {wrong_bytes} wrong bytes", sizes::text(size))
}
