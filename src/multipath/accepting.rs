//! An accept of the multipath transport: acknowledgements get lanes too, over the switches that the data crosses.

use std::sync::Arc;
use std::time::Instant;

use nccl_net_abi::Code;
use srv6_fabric::Flow;
use srv6_steer::LanesWanted;
use srv6_transport::{Listener, RecvComm};

use super::code;
use super::dialing::is_on_this_host;
use super::lanes::{ARROW, Asking, Connected, Keeper, LaneSource, Pinned, Terms};
use crate::connect::Progress;

/// A listener, and the connections that have arrived on it and wait for lanes.
///
/// An acknowledgement that rides another switch than its data ties two paths to each other: either one's death stops
/// both. So the accepting side pins as well, before NCCL gets the comm.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Listener,
    waiting: Vec<(Asking, RecvComm)>,
}

impl Listening {
    pub(super) fn new(listener: Listener) -> Self {
        Self { listener, waiting: Vec::new() }
    }

    /// One call of NCCL's: a connection, if one is ready, and the claim on its lanes.
    ///
    /// Lanes that can't be had only cost a line of log, even if strict: what strict asks for is the data's path, and that
    /// is the sender's affair.
    ///
    /// # Errors
    /// What the transport says.
    pub(super) fn poll(
        &mut self,
        source: Option<&dyn LaneSource>,
        terms: Terms,
        now: Instant,
    ) -> Result<Option<Connected<RecvComm>>, Code> {
        if let Some(comm) = self.listener.accept().map_err(|error| code(&error))? {
            match source.and_then(|source| ask(source, &comm, terms, now)) {
                Some(asking) => self.waiting.push((asking, comm)),
                None => return Ok(Some(Connected { comm, held: None })),
            }
        }
        for at in 0..self.waiting.len() {
            let Some((asking, _)) = self.waiting.get(at) else { break };
            let (pinned, whole) = match asking.poll(now, terms) {
                Ok(Progress::Pending) => continue,
                Ok(Progress::Ready(pinned)) => (Some(pinned), None),
                Err(error) => {
                    log::warn!("acknowledgements go unsteered: {}", error.chain());
                    (None, asking.whole())
                }
            };
            let (_, mut comm) = self.waiting.swap_remove(at);
            let held = pinned.map(|Pinned { held, lanes }| {
                if let Err(error) = comm.pin(&lanes) {
                    code(&error);
                }
                comm.keep(Arc::new(Keeper::new(&held, terms)));
                held
            });
            return Ok(Some(Connected { comm, held: held.or(whole) }));
        }
        Ok(None)
    }
}

/// Asks for lanes back to the sender; none if it is on this host, or isn't on lanes itself.
fn ask(source: &dyn LaneSource, comm: &RecvComm, terms: Terms, now: Instant) -> Option<Asking> {
    let subflows = comm.stats().subflows;
    // One whose path is dead isn't there yet, and has no address here.
    let there = subflows.iter().find(|subflow| subflow.local.port() != 0)?;
    let (src, dst) = (there.local.ip().to_canonical(), there.peer.ip().to_canonical());
    let along: Vec<Vec<String>> =
        subflows.iter().map(|subflow| subflow.path.split(ARROW).map(str::to_owned).collect()).collect();
    let unpinned = along.iter().all(|hops| hops.len() < 2);
    if unpinned || is_on_this_host(dst) {
        return None;
    }
    let wanted = LanesWanted { count: along.len(), pinning: terms.pinning, along };
    Some(Asking::begin(source, Flow { src, dst }, wanted, now))
}
