//! This process's TCP connections, whoever opened them: nothing need be known of the net that did.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use srv6_routes::Slot;

use super::wire::Ends;
use crate::paths::tcp::{self, Connection};

/// What the kernel counted on one connection since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Tells two connections with the same ends apart, one after the other.
    pub(super) inode: u32,
    pub(super) ends: Ends,
    /// The lane that it is pinned to.
    pub(super) lane: Option<Slot>,
    /// Smoothed round-trip time.
    pub(super) rtt: Duration,
    /// Segments that were sent again.
    pub(super) retransmits: u32,
    /// Bytes sent that the other side's kernel has acknowledged.
    pub(super) bytes_acked: u64,
}

/// All established TCP connections of this process in its network namespace.
///
/// # Errors
/// If the kernel doesn't tell (`CONFIG_INET_DIAG`), or `/proc` can't be read.
pub(super) fn own() -> io::Result<Vec<Reading>> {
    let mine = inodes()?;
    let all = tcp::connections()?;
    Ok(all.iter().filter(|connection| mine.contains(&connection.inode)).map(Reading::from).collect())
}

impl From<&Connection> for Reading {
    fn from(connection: &Connection) -> Self {
        // What two sockets of different families say about one connection must be the same.
        let end = |address: std::net::IpAddr, port| SocketAddr::new(address.to_canonical(), port);
        let ends = Ends {
            local: end(connection.local, connection.local_port),
            remote: end(connection.remote, connection.remote_port),
        };
        Self {
            inode: connection.inode,
            ends,
            lane: connection.lane(),
            rtt: Duration::from_micros(connection.rtt_us.into()),
            retransmits: connection.retransmitted,
            bytes_acked: connection.acknowledged,
        }
    }
}

/// Inodes of this process's sockets.
fn inodes() -> io::Result<BTreeSet<u32>> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed while the list is read.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        inodes.extend(
            target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'))
                .and_then(|inode| inode.parse::<u32>().ok()),
        );
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn transfer(address: &str) {
        let listener = TcpListener::bind(address).unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let mut got = vec![0; 100_000];
        for _ in 0..4 {
            sender.write_all(&vec![7; got.len()]).unwrap();
            receiver.read_exact(&mut got).unwrap();
        }
        let ends = Ends { local: sender.local_addr().unwrap(), remote: sender.peer_addr().unwrap() };
        let readings = own().unwrap();
        let sent = readings.iter().find(|reading| reading.ends == ends).unwrap();
        // The SYN counts as one, and the last acknowledgement may be under way.
        assert!((300_000..=400_001).contains(&sent.bytes_acked), "{sent:?}");
        assert!(sent.rtt > Duration::ZERO && sent.rtt < Duration::from_secs(5), "{sent:?}");
        assert_eq!(sent.retransmits, 0);
        let mirrored = Ends { local: ends.remote, remote: ends.local };
        let received = readings.iter().find(|reading| reading.ends == mirrored).unwrap();
        assert!(received.bytes_acked <= 1 && received.inode != sent.inode, "{received:?}");
        drop(sender);
        assert!(own().unwrap().iter().all(|reading| reading.ends != ends), "closed");
    }

    #[test]
    fn the_kernel_s_numbers_are_at_these_places() {
        transfer("127.0.0.1:0");
        transfer("[::1]:0");
    }

    #[test]
    fn an_ipv4_connection_of_an_ipv6_socket_is_seen_alike_from_both_ends() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _server = listener.accept().unwrap();
        let ends = Ends { local: client.local_addr().unwrap(), remote: client.peer_addr().unwrap() };
        let all: Vec<Ends> = own().unwrap().iter().map(|reading| reading.ends).collect();
        assert!(all.contains(&ends), "{all:?}");
        assert!(all.contains(&Ends { local: ends.remote, remote: ends.local }), "{all:?}");
    }
}
