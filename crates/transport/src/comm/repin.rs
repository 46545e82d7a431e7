//! What becomes of sockets when somebody moves their lanes to other paths.
//!
//! A mark or a port stays: the route behind it is another one. A routing header is part of the socket, which has to be
//! told. The receiver is told in each case.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::receiving::Receiving;
use super::redial::{Redial, Redialled};
use super::sending::Sending;
use crate::keeper::PathKeeper;
use crate::pin::{Lane, Pin};
use crate::subflow::Subflow;

/// When the keeper was last asked whether something has changed, and what it said.
#[derive(Debug)]
pub(super) struct Asked {
    at: Instant,
    generation: u64,
}

impl Asked {
    pub(super) fn new(now: Instant) -> Asked {
        // The first time everything counts as changed: something may have between the lanes' making and the comm's.
        Asked { at: now, generation: u64::MAX }
    }

    /// The keeper, if lanes have changed since this was last asked. Most calls don't ask.
    fn changed(&mut self, keeper: Option<&Arc<dyn PathKeeper>>, now: Instant) -> Option<Arc<dyn PathKeeper>> {
        let keeper = keeper?;
        if now.saturating_duration_since(self.at) < EVERY {
            return None;
        }
        self.at = now;
        let generation = keeper.generation();
        (std::mem::replace(&mut self.generation, generation) != generation).then(|| Arc::clone(keeper))
    }
}

impl Sending {
    /// Lets the sockets follow their lanes.
    pub(super) fn follow_lanes(&mut self, now: Instant) {
        let Some(keeper) = self.asked.changed(self.origin.keeper.as_ref(), now) else { return };
        for index in 0..self.lines.len() {
            let path = self.path(index);
            if let Some(place) = self.published.place(index)
                && place.path != path
            {
                log::info!(
                    "conn={:016x} peer={} subflow={index} moves from path=\"{}\" to path=\"{path}\"",
                    self.origin.connection,
                    place.peer,
                    place.path
                );
                self.published.move_to(index, place.on(path));
            }
            self.say_path(index, now);
            let Some(lane) = self.origin.lanes.get_mut(index) else { continue };
            let before = mtu(&lane.pin);
            let subflow = self.lines.get(index).and_then(|line| line.subflow.as_ref());
            let failed = match repin(lane, index, subflow, &*keeper) {
                Ok(false) => continue,
                // A socket's largest segment is fixed when it connects.
                Ok(true) if mtu(&lane.pin) < before => io::Error::other("its new path has a smaller MTU"),
                Ok(true) => continue,
                Err(error) => error,
            };
            self.closed(index, Some(failed), now);
        }
    }

    /// Begins to tell the receiver which path a living socket takes, if it knows another: what it sends back is to meet
    /// the same switches.
    ///
    /// A hello over a socket of its own says so, with the incarnation that the receiver has. A frame could wait behind
    /// everything that is on its way over the old path.
    pub(super) fn say_path(&mut self, index: usize, now: Instant) {
        let (Some(port), Some(lane)) = (self.core.port(), self.lane(index)) else { return };
        let Some(line) = self.lines.get_mut(index) else { return };
        if line.subflow.is_none() || line.told == lane.path {
            line.notice = None;
            return;
        }
        let begun = Redial::begin(&self.origin, &lane, index, line.incarnation, port, &self.poller, now);
        line.notice = begun
            .inspect_err(|error| log::debug!("telling that subflow={index} takes {}: {error}", lane.path))
            .ok();
    }

    /// Goes on telling the receiver where a socket goes, until it is told.
    pub(super) fn advance_notice(&mut self, index: usize, now: Instant) {
        let Some(line) = self.lines.get_mut(index) else { return };
        let Some(notice) = line.notice.take_if(|notice| notice.is_due(now)) else { return };
        let (notice, told) = Redial::advance(notice, &self.poller, now);
        line.notice = notice;
        match told {
            Redialled::Waiting => {}
            Redialled::Connected { path, .. } => line.told = path,
            Redialled::Failed { error: None, .. } => self.say_path(index, now),
            Redialled::Failed { error: Some(error), .. } => {
                log::debug!("telling where subflow={index} goes: {error}");
            }
        }
    }
}

impl Receiving {
    /// Lets the sockets follow their lanes.
    pub(super) fn follow_lanes(&mut self, now: Instant) {
        let Some(keeper) = self.asked.changed(self.keeper.as_ref(), now) else { return };
        for (index, (lane, line)) in self.lanes.iter_mut().zip(&self.lines).enumerate() {
            if let Err(error) = repin(lane, index, line.subflow.as_ref(), &*keeper) {
                // The sender notices when its subflow gets no acknowledgements.
                let refused = lane.refused(index, error);
                log::warn!("conn={:016x} {refused}", self.connection);
            }
        }
    }
}

/// Ties a lane, and its socket if it has one, to where the lane leads now; false if that has not changed.
fn repin(
    lane: &mut Lane,
    index: usize,
    subflow: Option<&Subflow>,
    keeper: &dyn PathKeeper,
) -> io::Result<bool> {
    let Some(pin) = keeper.pin(index).filter(|pin| *pin != lane.pin) else { return Ok(false) };
    lane.pin = pin;
    subflow.map_or(Ok(()), |subflow| lane.pin.apply(subflow.socket()))?;
    Ok(true)
}

/// The largest packet that fits where a pin leads, where the pin has to know.
fn mtu(pin: &Pin) -> u32 {
    match pin {
        Pin::RoutingHeader { mtu: Some(mtu), .. } => *mtu,
        _ => u32::MAX,
    }
}

/// A path is suspected after some ten milliseconds; nobody moves a lane sooner.
const EVERY: Duration = Duration::from_millis(1);
