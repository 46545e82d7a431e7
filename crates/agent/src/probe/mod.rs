//! Probes through the fabric and back to their sender: no peer is needed, and what forwards packets is what is tested.
//!
//! A carrier leads from the leaf to another switch, back to the leaf, and there the packet inside, to the host's own address, comes out.
//! All ways are probed every [`PERIOD`]; one that isn't back within [`PATIENCE`] is lost.

mod health;
mod packet;
mod rounds;
mod ways;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::EventfdFlags;
use srv6_paths::SharedSource;
use srv6_steer::{Place, Steer};

use crate::{AgentError, Denied, NamespaceId};
pub use health::{Health, Probed, Trust};
use rounds::Rounds;
pub use ways::Way;

/// Time between two probes of a way.
pub(crate) const PERIOD: Duration = Duration::from_millis(200);

/// How long a probe may take.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// What is probed in one namespace, at the moment.
pub type Ways = BTreeMap<Way, Health>;

/// What a prober has found out.
#[derive(Debug, Default)]
struct Found {
    ways: Ways,
    /// By link, of ways that left use.
    gone: BTreeMap<Place, Probed>,
}

impl Found {
    /// Takes exactly these ways; what was counted of others is kept.
    fn keep(&mut self, chosen: &BTreeMap<Way, Ipv6Addr>) {
        for (way, health) in self.ways.extract_if(.., |way, _| !chosen.contains_key(way)) {
            if let Some(link) = way.link() {
                self.gone.entry(link).or_default().add((&health).into());
            }
        }
        for way in chosen.keys() {
            self.ways.entry(way.clone()).or_default();
        }
    }

    fn probed(&self) -> BTreeMap<Place, Probed> {
        let mut all = self.gone.clone();
        for (way, health) in &self.ways {
            if let Some(link) = way.link() {
                all.entry(link).or_default().add(health.into());
            }
        }
        all
    }
}

/// The prober of one namespace. Ends when dropped.
#[derive(Debug)]
pub struct Prober {
    found: Arc<Mutex<Found>>,
    stop: Arc<OwnedFd>,
}

/// What a prober works for.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) namespace: NamespaceId,
    pub(crate) steer: Steer,
    pub(crate) paths: SharedSource,
    pub(crate) denied: Arc<Denied>,
    pub(crate) algo: u8,
    pub(crate) function: Option<u32>,
}

impl Prober {
    /// Begins to probe in the calling thread's network namespace. Nothing is sent as long as nothing is steered there.
    ///
    /// # Errors
    /// No raw socket (it needs CAP_NET_RAW there), or no thread.
    pub(crate) fn start(assignment: Assignment) -> Result<Self, AgentError> {
        let fault = |source: std::io::Error| AgentError::Namespace {
            doing: format!("begin to probe in network namespace {}", assignment.namespace.inode),
            source,
        };
        let found = Arc::<Mutex<Found>>::default();
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(|errno| fault(errno.into()))?);
        let rounds = Rounds::new(Arc::clone(&found), Arc::clone(&stop)).map_err(fault)?;
        std::thread::Builder::new()
            .name("srv6d-probe".to_owned())
            .spawn(move || rounds.run(&assignment))
            .map_err(|source| AgentError::Namespace {
                doing: "start a thread for probes".to_owned(),
                source,
            })?;
        Ok(Self { found, stop })
    }

    /// The ways that are probed now, and what came of it.
    pub fn ways(&self) -> Ways {
        self.found.lock().ways.clone()
    }

    /// Probes over each link so far.
    pub fn probed(&self) -> BTreeMap<Place, Probed> {
        self.found.lock().probed()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        // Refused only if it was said 2^64 times already.
        let _said = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_a_way_that_leaves_use_still_count() {
        let own = Ipv6Addr::LOCALHOST;
        let way = |spine: &str| Way { own, switches: vec!["leaf00".to_owned(), spine.to_owned()] };
        let chosen = |spines: &[&str]| spines.iter().map(|spine| (way(spine), own)).collect();
        let mut found = Found::default();
        found.keep(&chosen(&["spine00", "spine01"]));
        found.ways.values_mut().for_each(Health::lost);
        found.keep(&chosen(&["spine01"]));
        assert_eq!(found.ways.len(), 1);
        found.keep(&chosen(&["spine00", "spine01"]));
        found.ways.values_mut().for_each(|health| health.answered(Duration::ZERO));
        let both = Probed { sent: 2, lost: 1 };
        let links = ["spine00", "spine01"].map(|spine| (Place::link("leaf00", spine), both));
        assert_eq!(found.probed(), BTreeMap::from(links));
    }
}
