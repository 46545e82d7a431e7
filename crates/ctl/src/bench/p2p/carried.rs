//! What each TCP connection between the two processes carried, and the SRv6 path it took.
//!
//! Counted where the data is sent: only there the kernel knows round-trip time and retransmits. A connection belongs
//! to the net if the other process holds its other end, whatever net it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use srv6_fabric::{Flow, Topology};
use srv6_routes::{Dataplane, LinuxRoutes, Route, Slot, Target};

use super::sockets::{self, Reading};
use super::wire::Ends;
use crate::decode::decode;
use crate::path_source::PathSettings;

/// What one connection carried in the timed transfers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// `None` if no route of ours takes these packets.
    pub(super) path: Option<Taken>,
    pub(super) bytes: u64,
    pub(super) retransmits: u64,
    pub(super) rtt_us: u64,
}

/// A path that packets take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Carriers in travel order, as `ip route` shows them.
    pub(super) segments: String,
    /// The hosts and switches on the way, where a topology tells their names.
    pub(super) hops: Option<Vec<String>>,
}

/// Adds up what the connections carried in several stretches of time.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Whatever connected the two processes before the net did.
    apart: BTreeSet<Ends>,
    /// At the last beginning.
    before: BTreeMap<u32, Reading>,
    counts: BTreeMap<Ends, Counts>,
    /// The first reason why the kernel's numbers can't be had.
    trouble: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    bytes: u64,
    retransmits: u64,
    rtt: Duration,
    lane: Option<Slot>,
}

impl Ledger {
    /// Takes the connections that are there now for none of the net's.
    pub(super) fn open() -> Self {
        let mut ledger = Self::default();
        ledger.apart = ledger.read().into_iter().map(|reading| reading.ends).collect();
        ledger
    }

    /// This process's other connections, for the other side.
    pub(super) fn connections(&mut self) -> Vec<Ends> {
        let all = self.read().into_iter().map(|reading| reading.ends);
        all.filter(|ends| !self.apart.contains(ends)).collect()
    }

    /// A stretch begins.
    pub(super) fn begin(&mut self) {
        self.before = self.read().into_iter().map(|reading| (reading.inode, reading)).collect();
    }

    /// It ends; `theirs` are the other side's connections.
    pub(super) fn end(&mut self, theirs: &[Ends]) {
        let theirs: BTreeSet<Ends> = theirs.iter().copied().collect();
        for reading in self.read() {
            let Ends { local, remote } = reading.ends;
            if self.apart.contains(&reading.ends) || !theirs.contains(&Ends { local: remote, remote: local })
            {
                continue;
            }
            // One that wasn't there at the beginning was made since, by a net that replaces broken ones.
            let (bytes, retransmits) = self
                .before
                .get(&reading.inode)
                .map_or((0, 0), |before| (before.bytes_acked, before.retransmits));
            let counts = self.counts.entry(reading.ends).or_default();
            counts.bytes += reading.bytes_acked.saturating_sub(bytes);
            counts.retransmits += u64::from(reading.retransmits.saturating_sub(retransmits));
            (counts.rtt, counts.lane) = (reading.rtt, reading.lane);
        }
    }

    /// Everything so far, with the path that each connection's packets take now; `names` say whom to ask for names.
    ///
    /// # Errors
    /// Why the kernel's numbers can't be had.
    pub(super) fn close(&self, names: Option<&PathSettings>) -> Result<Vec<Carried>, String> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        let mut paths = Paths::read(names).map_err(|error| format!("{error:#}"))?;
        Ok(self
            .counts
            .iter()
            .map(|(ends, counts)| Carried {
                from: ends.local,
                to: ends.remote,
                path: paths.of(Flow { src: ends.local.ip(), dst: ends.remote.ip() }, counts.lane),
                bytes: counts.bytes,
                retransmits: counts.retransmits,
                rtt_us: u64::try_from(counts.rtt.as_micros()).unwrap_or(u64::MAX),
            })
            .collect())
    }

    fn read(&mut self) -> Vec<Reading> {
        sockets::own().unwrap_or_else(|error: io::Error| {
            self.trouble.get_or_insert(format!("reading the kernel's TCP counters (sock_diag): {error}"));
            Vec::new()
        })
    }
}

/// The SRv6 routes of ours in this network namespace.
struct Paths<'a> {
    kernel: LinuxRoutes,
    routes: Vec<Route>,
    fabric: Option<(Arc<Topology>, &'a PathSettings)>,
}

impl<'a> Paths<'a> {
    fn read(names: Option<&'a PathSettings>) -> anyhow::Result<Self> {
        let mut kernel = LinuxRoutes::new()?;
        let mut routes = kernel.owned().context("reading routes")?;
        // As the kernel matches them.
        routes.sort_by_key(|route| std::cmp::Reverse(route.key.destination.length()));
        // Nothing to name, nobody to ask.
        let names = names.filter(|_| !routes.is_empty());
        let fabric = names.and_then(|settings| match settings.topology() {
            Ok(topology) => Some((topology, settings)),
            // Paths are worth seeing without names.
            Err(error) => {
                log::warn!("paths go without names: {error}");
                None
            }
        });
        Ok(Self { kernel, routes, fabric })
    }

    /// The path of the route that the kernel says packets of this flow take, or those of one lane of it.
    fn of(&mut self, flow: Flow, lane: Option<Slot>) -> Option<Taken> {
        let (kernel, fabric) = (&mut self.kernel, &self.fabric);
        self.routes.iter().find_map(|route| match &route.target {
            Target::Encap { segments, .. }
                if route.key.destination.contains(flow.dst)
                    && match lane {
                        Some(lane) => route.key.table == lane.table(),
                        None => kernel.takes(flow, &route.key).is_ok(),
                    } =>
            {
                let hops = fabric
                    .as_ref()
                    .map(|(topology, settings)| decode(topology, settings, flow, segments).hops);
                Some(Taken { segments: segments.to_string(), hops })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    fn send(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
        let mut got = vec![0; bytes];
        std::thread::scope(|scope| {
            scope.spawn(|| from.write_all(&vec![1; bytes]).unwrap());
            to.read_exact(&mut got).unwrap();
        });
    }

    /// Waits until so many bytes are acknowledged, which may be after they were read.
    fn acknowledged(ends: Ends, bytes: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        // The SYN counts as one.
        while !sockets::own().unwrap().iter().any(|r| r.ends == ends && r.bytes_acked == bytes + 1) {
            assert!(Instant::now() < deadline, "{bytes} bytes are never acknowledged");
            std::thread::yield_now();
        }
    }

    fn mirrored(ends: &[Ends]) -> Vec<Ends> {
        ends.iter().map(|ends| Ends { local: ends.remote, remote: ends.local }).collect()
    }

    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// One process plays both sides: what it calls "theirs" decides which connections count.
    #[test]
    fn only_what_both_sides_hold_counts_and_only_within_stretches() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let (_early, _early_too) = pair(&listener);
        let mut ledger = Ledger::open();
        let (mut client, mut server) = pair(&listener);
        let (mut other, mut other_too) = pair(&listener);
        let ends = Ends { local: client.local_addr().unwrap(), remote: client.peer_addr().unwrap() };
        assert!(ledger.connections().contains(&ends));

        send(&mut client, &mut server, 1000);
        acknowledged(ends, 1000);
        ledger.begin();
        send(&mut client, &mut server, 50_000);
        send(&mut other, &mut other_too, 50_000);
        let theirs = mirrored(&[ends]);
        acknowledged(ends, 51_000);
        ledger.end(&theirs);
        send(&mut client, &mut server, 3000);
        acknowledged(ends, 54_000);
        ledger.begin();
        send(&mut client, &mut server, 7000);
        acknowledged(ends, 61_000);
        ledger.end(&theirs);

        let carried = ledger.close(None).unwrap();
        assert_eq!(carried.len(), 1, "{carried:?}");
        assert_eq!((carried[0].from, carried[0].to), (ends.local, ends.remote));
        assert_eq!(carried[0].bytes, 57_000);
        assert!(carried[0].rtt_us > 0);
        assert_eq!(carried[0].path, None);
    }

    #[test]
    fn a_connection_that_was_there_before_the_net_does_not_count() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let (mut client, mut server) = pair(&listener);
        let mut ledger = Ledger::open();
        ledger.begin();
        send(&mut client, &mut server, 1000);
        let ends = Ends { local: client.local_addr().unwrap(), remote: client.peer_addr().unwrap() };
        acknowledged(ends, 1000);
        ledger.end(&mirrored(&[ends]));
        assert_eq!(ledger.close(None).unwrap(), []);
    }
}
