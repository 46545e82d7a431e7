//! Where in a lab the packets of one series of echo requests were seen: on every interface of every node.
//!
//! A packet socket per node, with a filter on the eight bytes that end every packet of the series; what is around it, and
//! how many tunnels, makes no difference. So a job that runs meanwhile isn't counted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};
use serde::Serialize;
use socket2::{SockFilter, Socket};
use srv6_lab::{Lab, LinkCounters};

use crate::echo::NONCE;
use crate::interfaces;

/// A link and the requests that were seen on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LinkCount {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Requests that left `from`.
    pub(crate) left: usize,
    /// Requests that came in at `to`.
    pub(crate) arrived: usize,
}

/// What a node sees, until it is stopped.
#[derive(Debug)]
struct Watch {
    node: String,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Seen>>,
    names: BTreeMap<usize, String>,
}

/// Sequence numbers of requests by interface and direction (true: going out).
type Seen = BTreeMap<(usize, bool), BTreeSet<u16>>;

/// Watches a whole lab.
#[derive(Debug)]
pub(crate) struct Capture {
    watches: Vec<Watch>,
    links: Vec<LinkCounters>,
}

/// How often a watch looks whether it shall stop.
const TICK: Duration = Duration::from_millis(20);

/// `PACKET_OUTGOING` (linux/if_packet.h).
const OUTGOING: u8 = 4;

impl Capture {
    /// Starts on every node of the fabric; sees everything from when this returns.
    ///
    /// # Errors
    /// A node without a packet socket.
    pub(crate) fn start(lab: &Lab, nonce: [u8; NONCE]) -> anyhow::Result<Self> {
        let links = lab.links().context("listing the lab's links")?;
        let management = lab.management().name();
        let mut watches = Vec::new();
        for node in lab.nodes().iter().filter(|node| node.name() != management) {
            let (name, stop) = (node.name().to_owned(), Arc::new(AtomicBool::new(false)));
            let flag = Arc::clone(&stop);
            let started = node.run(move || -> io::Result<_> {
                let socket = open(nonce)?;
                let names = interfaces::read()?;
                let names = names.into_iter().filter_map(|i| Some((usize::try_from(i.index).ok()?, i.name)));
                // A new thread is in the namespaces of the one that starts it.
                let thread = std::thread::Builder::new().spawn(move || watch(&socket, &flag))?;
                Ok((thread, names.collect()))
            });
            let (thread, names) = started.with_context(|| format!("watching {name}"))?;
            watches.push(Watch { node: name, stop, thread, names });
        }
        Ok(Self { watches, links })
    }

    /// Ends it and gives every link on which a request was seen, and those between `hops` in any case.
    ///
    /// # Errors
    /// A node that could not be watched to the end.
    pub(crate) fn finish(self, hops: &[String]) -> anyhow::Result<Vec<LinkCount>> {
        let mut seen: BTreeMap<(String, String, bool), usize> = BTreeMap::new();
        for watch in &self.watches {
            watch.stop.store(true, Ordering::Relaxed);
        }
        for Watch { node, thread, names, .. } in self.watches {
            let found = thread.join().map_err(|_| anyhow!("the watch of {node} panicked"))?;
            for ((interface, out), sequences) in found.with_context(|| format!("watching {node}"))? {
                if let Some(name) = names.get(&interface) {
                    seen.insert((node.clone(), name.clone(), out), sequences.len());
                }
            }
        }
        let count = |node: &str, interface: &str, out| {
            seen.get(&(node.to_owned(), interface.to_owned(), out)).copied().unwrap_or(0)
        };
        let on_path = |from: &str, to: &str| hops.windows(2).any(|pair| pair == [from, to]);
        let position = |link: &LinkCount| {
            hops.windows(2)
                .position(|pair| pair == [link.from.as_str(), link.to.as_str()])
                .unwrap_or(hops.len())
        };
        let mut counts: Vec<LinkCount> = self
            .links
            .iter()
            .filter_map(|link| {
                let back = self.links.iter().find(|other| other.from == link.to && other.to == link.from)?;
                let left = count(&link.from, &link.interface, true);
                let arrived = count(&link.to, &back.interface, false);
                let (from, to) = (link.from.clone(), link.to.clone());
                (left > 0 || arrived > 0 || on_path(&from, &to)).then_some(LinkCount {
                    from,
                    to,
                    left,
                    arrived,
                })
            })
            .collect();
        // As the packets travel; strays after them.
        counts.sort_by_key(position);
        Ok(counts)
    }
}

/// A packet socket for packets that end in these bytes.
fn open(nonce: [u8; NONCE]) -> io::Result<Socket> {
    let socket =
        socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    let socket = Socket::from(socket);
    let [a, b, c, d, e, f, g, h] = nonce;
    // Classic BPF (linux/filter.h): X = length - 8, then the two words from there.
    let jump_if =
        |word: [u8; 4], otherwise: u8| SockFilter::new(0x15, 0, otherwise, u32::from_be_bytes(word));
    socket.attach_filter(&[
        SockFilter::new(0x80, 0, 0, 0),
        SockFilter::new(0x14, 0, 0, 8),
        SockFilter::new(0x07, 0, 0, 0),
        SockFilter::new(0x40, 0, 0, 0),
        jump_if([a, b, c, d], 3),
        SockFilter::new(0x40, 0, 0, 4),
        jump_if([e, f, g, h], 1),
        SockFilter::new(0x06, 0, 0, 0xffff),
        SockFilter::new(0x06, 0, 0, 0),
    ])?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(socket)
}

/// Reads until told to stop and nothing is left.
fn watch(socket: &Socket, stop: &AtomicBool) -> io::Result<Seen> {
    use std::os::fd::AsRawFd;

    let mut seen = Seen::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let last = stop.load(Ordering::Relaxed);
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, Some(from))) => {
                if let Some(Echo::Request(sequence)) = buffer.get(..length).and_then(echo) {
                    let place = (from.ifindex(), from.pkttype() == OUTGOING);
                    seen.entry(place).or_default().insert(sequence);
                }
            }
            Ok((_, None)) | Err(nix::Error::EINTR) => {}
            // What is sent before the stop is in the socket's queue by then.
            Err(nix::Error::EAGAIN) if last => return Ok(seen),
            Err(nix::Error::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What an echo packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    Request(u16),
    Reply(u16),
}

/// Looks through tunnels and routing headers for an echo packet.
fn echo(packet: &[u8]) -> Option<Echo> {
    let mut rest = packet;
    let mut next = match rest.first()? >> 4 {
        4 => 4,
        _ => 41,
    };
    loop {
        // Protocol numbers of IANA: 4 IPv4, 41 IPv6, 43 routing header, 1 ICMP, 58 ICMPv6.
        let (following, length) = match next {
            4 => (*rest.get(9)?, usize::from(rest.first()? & 0xf) * 4),
            41 => (*rest.get(6)?, 40),
            43 => (*rest.first()?, (usize::from(*rest.get(1)?) + 1) * 8),
            1 | 58 => {
                let sequence = u16::from_be_bytes(*rest.get(6..)?.first_chunk()?);
                return match (next, rest.first()?) {
                    (58, 128) | (1, 8) => Some(Echo::Request(sequence)),
                    (58, 129) | (1, 0) => Some(Echo::Reply(sequence)),
                    _ => None,
                };
            }
            _ => return None,
        };
        rest = rest.get(length..)?;
        next = following;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv6(next: u8, inside: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.resize(40, 0);
        packet.extend(inside);
        packet
    }

    #[test]
    fn an_echo_is_found_in_any_tunnel() {
        let request = [128, 0, 0, 0, 0, 1, 0, 7];
        let plain = ipv6(58, &request);
        assert_eq!(echo(&plain), Some(Echo::Request(7)));
        assert_eq!(echo(&ipv6(41, &plain)), Some(Echo::Request(7)));
        let mut routing = vec![41, 2, 4, 0, 0, 0, 0, 0];
        routing.resize(24, 0);
        routing.extend(&plain);
        assert_eq!(echo(&ipv6(43, &routing)), Some(Echo::Request(7)));
        let mut v4 = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1];
        v4.resize(20, 0);
        v4.extend([0, 0, 0, 0, 0, 1, 0, 9]);
        assert_eq!(echo(&ipv6(4, &v4)), Some(Echo::Reply(9)));
    }

    #[test]
    fn everything_else_is_passed_over() {
        assert_eq!(echo(&[]), None);
        assert_eq!(echo(&ipv6(6, &[0; 40])), None, "TCP");
        assert_eq!(echo(&ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 1])), None, "neighbour solicitation");
        assert_eq!(echo(&ipv6(41, &[0x60])), None, "cut short");
    }
}
