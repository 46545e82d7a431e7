//! How the subflows of multipath connections fare, by path, as the processes that have them tell.

use std::collections::BTreeMap;
use std::time::Duration;

use srv6_transport::{Direction, HostConnections, SubflowState, SubflowStats};

use crate::Host;

/// The subflows that send over a path now, of all connections together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathSubflows {
    /// Those that take chunks.
    pub good: u64,
    /// Those whose chunks go over others, as the path is silent.
    pub suspect: u64,
    /// Those without a socket.
    pub down: u64,
    /// Those whose new socket is being tried.
    pub trial: u64,
    /// How often they have changed their state.
    pub changes: u64,
    /// Chunks sent over the path because another one did not deliver them.
    pub reissued: u64,
    /// Chunks sent over the path because another one was slow with them.
    pub hedged: u64,
}

/// By the switches of the path, joined by `>`; empty where nobody knows the path.
pub type Subflows = BTreeMap<String, PathSubflows>;

/// Longest name of a path that is taken over.
const LONGEST: usize = 256;

/// Of all processes in a namespace that answer in time.
pub(crate) fn subflows(host: &Host, patience: Duration) -> Subflows {
    let namespace = host.id().inode;
    match host.namespace().inside(|| srv6_transport::read_connections(patience)) {
        Ok(Ok(told)) => {
            for (pid, why) in &told.unread {
                log::debug!("namespace={namespace} process={pid} subflows are not counted: {why}");
            }
            sum(&told)
        }
        Ok(Err(error)) => {
            log::warn!("namespace={namespace} subflows can't be listed: {error}");
            Subflows::new()
        }
        Err(error) => {
            log::warn!("namespace={namespace} {error}");
            Subflows::new()
        }
    }
}

fn sum(told: &HostConnections) -> Subflows {
    let connections = told.processes.iter().flat_map(|process| &process.connections);
    // The sender judges a path; a receiver only sees what comes.
    let sending = connections.filter(|connection| connection.direction == Direction::Send);
    let mut all = Subflows::new();
    for subflow in sending.flat_map(|connection| &connection.subflows) {
        all.entry(switches(&subflow.path)).or_default().count(subflow);
    }
    all
}

/// The switches between the hosts: what connections of different hosts can have in common.
fn switches(path: &str) -> String {
    // A job chooses the text, and it becomes a label.
    let plain = |char: char| char == ' ' || char.is_ascii_graphic() && !matches!(char, '"' | '\\');
    if path.len() > LONGEST || !path.chars().all(plain) {
        return String::new();
    }
    let hops: Vec<&str> = path.split(" > ").collect();
    match hops.as_slice() {
        [_, switches @ .., _] if !switches.is_empty() => switches.join(">"),
        hops => hops.join(">"),
    }
}

impl PathSubflows {
    /// Adds those of other connections.
    pub fn add(&mut self, other: &PathSubflows) {
        self.good += other.good;
        self.suspect += other.suspect;
        self.down += other.down;
        self.trial += other.trial;
        self.changes = self.changes.saturating_add(other.changes);
        self.reissued = self.reissued.saturating_add(other.reissued);
        self.hedged = self.hedged.saturating_add(other.hedged);
    }

    fn count(&mut self, subflow: &SubflowStats) {
        let SubflowStats { changes, reissued, hedged, .. } = *subflow;
        let mut one = PathSubflows { changes, reissued, hedged, ..PathSubflows::default() };
        match subflow.state {
            SubflowState::Good => one.good = 1,
            SubflowState::Suspect => one.suspect = 1,
            SubflowState::Down => one.down = 1,
            SubflowState::Trial => one.trial = 1,
        }
        self.add(&one);
    }
}

#[cfg(test)]
mod tests {
    use srv6_transport::{ConnectionStats, ProcessConnections};

    use super::*;

    fn subflow(path: &str, state: SubflowState) -> SubflowStats {
        SubflowStats {
            index: 0,
            path: path.into(),
            local: "[::1]:1".parse().unwrap(),
            peer: "[::1]:2".parse().unwrap(),
            bytes: 1,
            share: 0.5,
            chunks: 1,
            reissued: 2,
            hedged: 3,
            duplicates: 0,
            state,
            changes: 4,
            suspected: None,
            replaced: 0,
            rate: 0,
            ack_time: Duration::ZERO,
            tcp: None,
        }
    }

    #[test]
    fn senders_are_summed_by_switches_and_strange_names_are_nobodys() {
        let connection = |direction, subflows| ConnectionStats { connection: 1, direction, subflows };
        let sending = |host: &str| {
            let dead = subflow(&format!("{host} > leaf > spine1 > leaf1 > far"), SubflowState::Suspect);
            let good = subflow(&format!("{host} > leaf > spine0 > leaf1 > far"), SubflowState::Good);
            connection(Direction::Send, vec![good, dead])
        };
        let strange = connection(
            Direction::Send,
            vec![
                subflow("a > \"} 1\nsrv6d_sessions 9 > b", SubflowState::Good),
                subflow(&"x".repeat(1000), SubflowState::Down),
                subflow("", SubflowState::Trial),
            ],
        );
        let receiving = connection(Direction::Receive, vec![subflow("a > b > c", SubflowState::Good)]);
        let process = |pid, connections| ProcessConnections { pid, connections };
        let told = HostConnections {
            processes: vec![
                process(1, vec![sending("near"), receiving]),
                process(2, vec![sending("beside"), strange]),
            ],
            unread: Vec::new(),
        };
        let two = PathSubflows { changes: 8, reissued: 4, hedged: 6, ..PathSubflows::default() };
        let wanted = Subflows::from([
            (
                String::new(),
                PathSubflows { good: 1, down: 1, trial: 1, changes: 12, reissued: 6, hedged: 9, suspect: 0 },
            ),
            ("leaf>spine0>leaf1".to_owned(), PathSubflows { good: 2, ..two }),
            ("leaf>spine1>leaf1".to_owned(), PathSubflows { suspect: 2, ..two }),
        ]);
        assert_eq!(sum(&told), wanted);
    }
}
