//! The network namespaces in which somebody is steered: one [`Steer`] each, on a thread inside it.

mod namespace;

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;
use rustix::net::sockopt::socket_protocol;
use rustix::net::{getsockname, ipproto};
use srv6_fabric::chain;
use srv6_paths::{CacheLimits, SharedSource};
use srv6_routes::Slot;
use srv6_steer::{Config, Place, Serving, Steer};

use crate::counted::Counted;
use crate::probe::{Assignment, Probed, Prober, Ways};
use crate::{AgentError, Denied};
pub use namespace::{Namespace, NamespaceId};

/// How long a namespace's flows go by an answer before they ask the shared source, which has a memory of its own.
const FRESH: Duration = Duration::from_secs(1);

/// One network namespace that is served. Ends with its last user, so that a pod's namespace isn't kept for longer than it.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    /// Counts up; a namespace that is served again later is another host.
    number: u64,
    steer: Steer,
    since: Instant,
    tidied: AtomicBool,
    /// Probes the fabric from here, where that is possible.
    prober: Option<Prober>,
    counted: Arc<Counted>,
}

impl Host {
    /// Among all that there have been.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Which namespace.
    pub fn id(&self) -> NamespaceId {
        self.namespace.id()
    }

    /// Steering in it.
    pub fn steer(&self) -> &Steer {
        &self.steer
    }

    /// The namespace itself.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Ways through the fabric that are probed from here, and what came of it.
    pub fn probes(&self) -> Ways {
        self.prober.as_ref().map(Prober::ways).unwrap_or_default()
    }

    /// Probes over each link so far.
    pub(crate) fn probed(&self) -> BTreeMap<Place, Probed> {
        self.prober.as_ref().map(Prober::probed).unwrap_or_default()
    }

    /// Once, and when it has been served for so long: removes what nobody has registered. Until then it may belong to jobs that
    /// a former agent served.
    pub fn tidy_after(&self, grace: Duration) {
        if self.since.elapsed() >= grace && !self.tidied.swap(true, Ordering::Relaxed) {
            self.steer.tidy();
        }
    }

    /// Gives a TCP socket that is bound to an address of this namespace the mark of a slot. May block for as long as the socket's
    /// owner likes.
    ///
    /// # Errors
    /// Another kind of socket, another address, or the kernel's refusal.
    pub fn mark(&self, socket: &impl AsFd, slot: Slot) -> Result<(), AgentError> {
        let mark = slot.mark();
        let fault = |errno: rustix::io::Errno| AgentError::Mark { mark, source: errno.into() };
        let unmarkable = |found: String| AgentError::Unmarkable { found };
        // Fails for what is no socket at all.
        if socket_protocol(socket).map_err(fault)? != Some(ipproto::TCP) {
            return Err(unmarkable("no TCP socket".to_owned()));
        }
        let bound = SocketAddr::try_from(getsockname(socket).map_err(fault)?).map_err(fault)?;
        let address = bound.ip().to_canonical();
        // A socket of another namespace that the process was given is none of its own.
        let owned = move || UdpSocket::bind(SocketAddr::new(address, 0)).is_ok();
        if address.is_unspecified() || !self.namespace.inside(owned)? {
            return Err(unmarkable(format!("bound to {address}")));
        }
        setsockopt(socket, sockopt::Mark, &mark)
            .map_err(|errno| AgentError::Mark { mark, source: errno.into() })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.counted.leave(self.number, self.steer.report(), self.probed());
    }
}

/// All namespaces that are served.
#[derive(Debug)]
pub struct Hosts {
    config: Config,
    /// The namespace from which VPP is programmed, where there is one: its tables are one, so the references that say what is
    /// still needed in them have to be in one place.
    own: NamespaceId,
    paths: SharedSource,
    denied: Arc<Denied>,
    counted: Arc<Counted>,
    last: AtomicU64,
    open: Mutex<HashMap<NamespaceId, Weak<Host>>>,
}

impl Hosts {
    /// None yet; each will be steered by these settings over this source, and keep off what is denied. Flows of VPP's are those
    /// of the agent's `own` namespace.
    pub fn new(config: Config, own: NamespaceId, paths: SharedSource, denied: Arc<Denied>) -> Self {
        let (counted, last) = (Arc::default(), AtomicU64::new(0));
        Self { config, own, paths, denied, counted, last, open: Mutex::default() }
    }

    /// What all hosts have counted.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// The host of a namespace, begun if nobody uses it yet.
    ///
    /// Blocks for a few system calls: a thread goes into the namespace and opens its netlink socket there.
    ///
    /// # Errors
    /// The kernel doesn't let the agent in, or steering can't start.
    pub fn enter(&self, namespace: Namespace) -> Result<Arc<Host>, AgentError> {
        let id = namespace.id();
        let mut open = self.open.lock();
        if let Some(host) = open.get(&id).and_then(Weak::upgrade) {
            return Ok(host);
        }
        let config = if id == self.own { self.config.clone() } else { self.config.without_vpp() };
        let limits = CacheLimits { fresh: FRESH, ..CacheLimits::default() };
        let serving = Serving { source: Box::new(self.paths.clone()), limits };
        // The steering thread starts in the namespace of the thread that starts it.
        let steer = namespace
            .inside(move || Steer::serve(config, serving))?
            .map_err(|source| AgentError::Steering { namespace: id.inode, source })?;
        let (since, tidied) = (Instant::now(), AtomicBool::new(false));
        let prober = self.probe(&namespace, &steer);
        let (number, counted) = (self.last.fetch_add(1, Ordering::Relaxed), Arc::clone(&self.counted));
        let host = Arc::new(Host { namespace, number, steer, since, tidied, prober, counted });
        self.denied.enter(&host);
        open.retain(|_, host| host.strong_count() > 0);
        open.insert(id, Arc::downgrade(&host));
        log::info!("namespace={} served", id.inode);
        Ok(host)
    }

    /// Begins to probe from a namespace. Without, flows only move off what is drained.
    fn probe(&self, namespace: &Namespace, steer: &Steer) -> Option<Prober> {
        if self.config.dry_run {
            return None;
        }
        let assignment = Assignment {
            namespace: namespace.id(),
            steer: steer.clone(),
            paths: self.paths.clone(),
            denied: Arc::clone(&self.denied),
            algo: self.config.algo,
            function: self.config.function,
        };
        let started = namespace.inside(move || Prober::start(assignment));
        match started.and_then(|prober| prober) {
            Ok(prober) => Some(prober),
            Err(error) => {
                log::warn!("namespace={} not probed: {}", namespace.id().inode, chain(&error));
                None
            }
        }
    }

    /// Those that have a user now.
    pub fn all(&self) -> Vec<Arc<Host>> {
        self.open.lock().values().filter_map(Weak::upgrade).collect()
    }
}
