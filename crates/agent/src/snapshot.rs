//! What the whole agent does at one moment, for people and programs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_hints::Entry;
use srv6_steer::{Denials, FlowReport, Report};

use crate::probe::Ways;
use crate::subflows::{Subflows, subflows};
use crate::traffic::{Carried, Traffic, traffic};
use crate::{Agent, Counts, MpibCounts, Session};

/// All namespaces, gathered at once.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By inode number.
    pub namespaces: Vec<NamespaceState>,
    /// Since the agent's start.
    pub uptime: Duration,
    /// How often the path source gave a whole fabric.
    pub topologies_read: u64,
    /// Slots of our own hints in use, and references; `None`: no hints.
    pub hints: Option<Vec<(Entry, u32)>>,
    /// `None`: MPIB's clients aren't served.
    pub mpib: Option<MpibState>,
    /// Switches and links that flows keep off.
    pub denials: Denials,
    /// Processes that are attached.
    pub sessions: usize,
    /// What all namespaces have counted since the agent's start, those that are served no more or are silent included.
    pub counts: Counts,
    /// For whom flows are steered, by namespace and flow.
    pub owners: BTreeMap<(u64, Flow), Owner>,
}

/// The process for which a flow is steered; of several, the first by job and rank.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Name of its job; empty if it didn't say.
    pub job: String,
    /// Its rank, if it said.
    pub rank: Option<u32>,
}

/// One namespace's steering.
#[derive(Debug, Clone)]
pub struct NamespaceState {
    /// Inode number.
    pub namespace: u64,
    /// `None`: its thread didn't answer in time.
    pub report: Option<Report>,
    /// Ways through the fabric that are probed from it.
    pub probes: Ways,
    /// What connections in it have carried.
    pub traffic: Traffic,
    /// How the paths of multipath connections in it fare.
    pub subflows: Subflows,
}

/// Longest wait for the processes of a namespace: those that are well answer in milliseconds.
const PROCESSES: Duration = Duration::from_millis(200);

/// What MPIB's clients have.
#[derive(Debug, Clone, Copy)]
pub struct MpibState {
    /// Slots in use.
    pub slots: usize,
    /// What has happened.
    pub counts: MpibCounts,
}

impl Snapshot {
    /// Asks every steering thread. Blocks until the last one has answered, for `patience` at most.
    pub fn take(agent: &Agent, patience: Duration) -> Self {
        let deadline = Instant::now() + patience;
        // All are asked before the first is waited for.
        let asked: Vec<_> =
            agent.hosts().all().into_iter().map(|host| (host.steer().report(), host)).collect();
        let mut namespaces: Vec<_> = asked
            .into_iter()
            .map(|(report, host)| {
                let traffic = traffic(&host);
                let left = deadline.saturating_duration_since(Instant::now());
                let subflows = subflows(&host, left.min(PROCESSES));
                let left = deadline.saturating_duration_since(Instant::now());
                let report = report.wait(left);
                agent.hosts().counted().note(host.number(), report.as_ref(), host.probed());
                NamespaceState {
                    namespace: host.id().inode,
                    report,
                    probes: host.probes(),
                    traffic,
                    subflows,
                }
            })
            .collect();
        namespaces.sort_by_key(|state| state.namespace);
        let hinting = agent.hinting();
        let sessions = agent.registry().sessions();
        Self {
            namespaces,
            uptime: agent.started().elapsed(),
            topologies_read: agent.paths().topologies_read(),
            hints: hinting.entries(),
            mpib: hinting.mpib().map(|mpib| MpibState { slots: mpib.entries().len(), counts: mpib.counts() }),
            denials: agent.denied().denials(),
            sessions: sessions.len(),
            counts: agent.hosts().counted().sum(),
            owners: owners(&sessions),
        }
    }

    /// For whom a flow is steered; nobody for one that a former agent's clients have left.
    pub fn owner(&self, namespace: u64, flow: Flow) -> Option<&Owner> {
        self.owners.get(&(namespace, flow))
    }

    /// Flows with their namespaces, sorted.
    pub fn flows(&self) -> impl Iterator<Item = (u64, &FlowReport)> {
        self.reports().flat_map(|(namespace, report)| report.flows.iter().map(move |flow| (namespace, flow)))
    }

    /// What the connections of a flow or of its slot have carried, where there are some.
    pub fn carried(&self, namespace: u64, report: &FlowReport) -> Option<&Carried> {
        let state = self.namespaces.iter().find(|state| state.namespace == namespace)?;
        state.traffic.get(&(report.flow, report.slot))
    }

    /// Namespaces that answered.
    pub fn reports(&self) -> impl Iterator<Item = (u64, &Report)> {
        self.namespaces.iter().filter_map(|state| Some((state.namespace, state.report.as_ref()?)))
    }

    /// Namespaces that didn't.
    pub fn silent(&self) -> impl Iterator<Item = u64> {
        self.namespaces.iter().filter(|state| state.report.is_none()).map(|state| state.namespace)
    }
}

fn owners(sessions: &[Arc<Session>]) -> BTreeMap<(u64, Flow), Owner> {
    let mut owners = BTreeMap::new();
    for session in sessions {
        let own = Owner { job: session.hello().job.clone(), rank: session.hello().rank };
        session.each(|_, wish| {
            let owner = owners.entry((session.host().id().inode, wish.flow())).or_insert_with(|| own.clone());
            if own < *owner {
                owner.clone_from(&own);
            }
        });
    }
    owners
}
