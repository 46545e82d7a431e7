//! Initiator and target, connected: both go through the same steps, each from its side.

use std::time::{Duration, Instant};

use anyhow::Context;
use srv6_netdrive::{Abort, Driver, DriverOptions, NetSource};

use super::carried::{Carried, Ledger};
use super::control::Control;
use super::transfers::{Lane, Outcome, Series};
use super::wire::{Frame, Terms};
use crate::bench::watchdog::Watchdog;
use crate::path_source::PathSettings;

/// What both sides need to connect.
#[derive(Debug)]
pub(super) struct NetOptions {
    pub(super) source: NetSource,
    pub(super) device: usize,
    /// How long a connect, a step of the other side, or a single transfer may take.
    pub(super) patience: Duration,
    /// Who knows the names of the hops on a path; `None` if nobody is named.
    pub(super) names: Option<PathSettings>,
}

/// This process and the other, connected through the net.
pub(super) struct Pair<'a> {
    control: &'a Control,
    terms: &'a Terms,
    lane: Lane,
    ledger: Ledger,
    watchdog: Watchdog,
    options: &'a NetOptions,
    net: String,
}

/// What one size gave.
#[derive(Debug)]
pub(super) struct Measured {
    /// Of the timed transfers.
    pub(super) times: Vec<Duration>,
    pub(super) wall: Duration,
    /// Wrong bytes that the receiving side found, in all transfers.
    pub(super) wrong: u64,
}

impl<'a> Pair<'a> {
    /// Loads the net and connects. `abort` ends whatever is under way.
    ///
    /// # Errors
    /// If the net can't be loaded or refuses, or the other side is gone.
    pub(super) fn connect(
        options: &'a NetOptions,
        terms: &'a Terms,
        control: &'a Control,
        abort: &Abort,
        initiator: bool,
    ) -> anyhow::Result<Self> {
        let ledger = Ledger::open();
        let watchdog = Watchdog::start(abort, options.patience)?;
        let driver_options = DriverOptions {
            comm_id: terms.comm_id,
            connect_timeout: options.patience,
            abort: abort.clone(),
            ..DriverOptions::default()
        };
        let driver = Driver::load(&options.source, &driver_options).context("loading the net")?;
        let device = driver.devices().get(options.device);
        let device = device.map_or_else(|| "?".to_owned(), srv6_netdrive::Device::name);
        let net = format!("{} {} {device}", driver.name(), driver.version());
        let lane = Lane::connect(&driver, options.device, initiator, terms.op, control)
            .context("connecting through the net")?;
        Ok(Self { control, terms, lane, ledger, watchdog, options, net })
    }

    /// The net's name, version and device.
    pub(super) fn net(&self) -> &str {
        &self.net
    }

    /// Transfers one size as often as agreed, and checks the data. `each` is called after every transfer.
    ///
    /// # Errors
    /// What the net says, or the other side.
    pub(super) fn measure(&mut self, size: u64, mut each: impl FnMut()) -> anyhow::Result<Measured> {
        let Terms { iterations, warmup, .. } = *self.terms;
        let mut wrong = self.series(size, warmup, true, &mut each)?.wrong;
        self.control.meet(&format!("warmed up with {size} bytes"), Vec::new())?;
        // Only now is everything with the receiver: a net may be done with a message when the kernel has taken it.
        if self.lane.is_sending() {
            self.ledger.begin();
        }
        self.control.meet(&format!("ready for {size} bytes"), Vec::new())?;
        let timed = self.series(size, iterations, false, &mut each)?;
        wrong += timed.wrong;
        let ours = self.ledger.connections();
        let theirs = self.control.meet(&format!("timed {size} bytes"), ours)?;
        if self.lane.is_sending() {
            self.ledger.end(&theirs);
        }
        // Comparing every byte takes time of its own, so it has a transfer of its own.
        wrong += self.series(size, 1, true, &mut each)?.wrong;
        Ok(Measured { times: timed.times, wall: timed.wall, wrong: self.verdict(wrong)? })
    }

    /// What each connection carried, as the sending side counted it.
    ///
    /// # Errors
    /// If the other side is gone; inside, why it can't be told.
    pub(super) fn carried(&mut self) -> anyhow::Result<Result<Vec<Carried>, String>> {
        if self.lane.is_sending() {
            let carried = self.ledger.close(self.options.names.as_ref());
            self.control.send(&Frame::Carried(carried.clone()))?;
            return Ok(carried);
        }
        match self.control.receive()? {
            Frame::Carried(carried) => Ok(carried),
            other => Err(self.control.out_of_turn(&other)),
        }
    }

    /// Closes the connections.
    ///
    /// # Errors
    /// What the net says.
    pub(super) fn close(self) -> anyhow::Result<()> {
        self.lane.close()
    }

    fn series(
        &mut self,
        size: u64,
        count: u32,
        thorough: bool,
        mut each: impl FnMut(),
    ) -> anyhow::Result<Outcome> {
        let series = Series { size, count, thorough };
        let what = || format!("a transfer of {size} bytes");
        let (mut watched, mut since) = (Some(self.watchdog.watch(what())), Instant::now());
        self.lane.run(series, || {
            // Each time would wake the watchdog, and be measured with small transfers.
            if since.elapsed() > self.options.patience / 8 {
                // One after the other: the end of the last would end the next.
                drop(watched.take());
                (watched, since) = (Some(self.watchdog.watch(what())), Instant::now());
            }
            each();
        })
    }

    /// Both sides know what the receiving one found.
    fn verdict(&self, wrong_bytes: u64) -> anyhow::Result<u64> {
        if !self.lane.is_sending() {
            self.control.send(&Frame::Verdict { wrong_bytes })?;
            return Ok(wrong_bytes);
        }
        match self.control.receive()? {
            Frame::Verdict { wrong_bytes } => Ok(wrong_bytes),
            other => Err(self.control.out_of_turn(&other)),
        }
    }
}
