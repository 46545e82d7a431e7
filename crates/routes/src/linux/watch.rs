//! Changes of routes, rules, interfaces and addresses, as the kernel makes them known.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::event::{EventfdFlags, PollFd, PollFlags};

use super::{message, rules};
use crate::{Change, METRIC, PROTOCOL, RouteError, RouteKey, Watch};

/// Multicast groups (`RTNLGRP_*` in linux/rtnetlink.h): links, IPv4 addresses, routes and rules, then the same of IPv6.
const GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];

/// Message types (linux/rtnetlink.h) that are all alike to us: they tell that interfaces or addresses came or went.
const INTERFACES: [u16; 4] = [16, 17, 20, 21];

/// What the kernel may keep for us, in bytes: more than ten thousand changes at once.
const BUFFER: usize = 8 << 20;

/// Bytes of `struct nlmsghdr` (linux/netlink.h).
const HEADER: usize = 16;

/// The kernel's notifications, in the network namespace in which this was made.
#[derive(Debug)]
pub(super) struct LinuxWatch {
    socket: Socket,
    stop: Arc<OwnedFd>,
}

impl LinuxWatch {
    pub(super) fn new() -> Result<Self, RouteError> {
        Self::open().map_err(|source| RouteError::Kernel { doing: "watch routes".to_owned(), source })
    }

    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Without CAP_NET_ADMIN it is the system's limit that counts. What overflows is told as lost.
        let _smaller = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)
            .or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER));
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { socket, stop: Arc::new(stop) })
    }

    fn next(&mut self) -> io::Result<Option<Vec<Change>>> {
        loop {
            let mut ready =
                [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match rustix::event::poll(&mut ready, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let [_, stop] = ready;
            if !stop.revents().is_empty() {
                return Ok(None);
            }
            let datagram = match self.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Some(vec![Change::Lost]));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let changes = changes(&datagram);
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
        }
    }
}

impl Watch for LinuxWatch {
    fn wait(&mut self) -> Result<Option<Vec<Change>>, RouteError> {
        self.next()
            .map_err(|source| RouteError::Kernel { doing: "wait for changes of routes".to_owned(), source })
    }

    fn stopper(&self) -> Box<dyn Fn() + Send> {
        let stop = Arc::clone(&self.stop);
        Box::new(move || {
            // Refused only if it was said 2^64 times already.
            let _said = rustix::io::write(&*stop, &1u64.to_ne_bytes());
        })
    }
}

/// What the messages of a datagram say that concerns us.
fn changes(datagram: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk::<4>().copied().map(u32::from_ne_bytes) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = rest.get(..length).filter(|_| length >= HEADER) else { break };
        let kind = message.get(4..6).and_then(|two| two.first_chunk().copied()).map(u16::from_ne_bytes);
        if kind.is_some_and(|kind| INTERFACES.contains(&kind)) {
            // Not taken apart: which attributes an interface has changes from kernel to kernel.
            changes.push(Change::Interfaces);
        } else {
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
                Ok(message) => changes.extend(change(message.payload)),
                Err(_) => changes.push(Change::Lost),
            }
        }
        // Messages are padded to four bytes.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    changes.dedup();
    changes
}

fn change(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    match message {
        RouteNetlinkMessage::NewRoute(route) => match message::read(&route) {
            Some(route) => Some(Change::Set(route)),
            // In our place, but not what we write: somebody has replaced it.
            None => key_of(&route).map(Change::Removed),
        },
        RouteNetlinkMessage::DelRoute(route) => {
            key_of(&route).filter(|_| u8::from(route.header.protocol) == PROTOCOL).map(Change::Removed)
        }
        RouteNetlinkMessage::DelRule(rule) => rules::read(&rule).map(|rule| Change::RemovedRule(rule.key())),
        _ => None,
    }
}

/// The key of a route that has our metric; whose it is doesn't matter.
fn key_of(route: &RouteMessage) -> Option<RouteKey> {
    let entry = message::entry(route);
    let destination = srv6_fabric::Prefix::new(entry.destination?, entry.prefix_len).ok()?;
    (entry.metric == METRIC).then_some(RouteKey { table: entry.table, destination })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_unreadable_is_told_as_lost_or_ignored() {
        assert!(changes(&[]).is_empty());
        assert!(changes(&[20, 0, 0]).is_empty());
        // Says that it is longer than it is.
        assert!(changes(&[200, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_empty());
        // Shorter than a header: there is no next one.
        assert!(changes(&[4, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_empty());
        // A route message (type 24) with half a body.
        let half = [20, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0];
        assert_eq!(changes(&half), [Change::Lost]);
        // A link message (type 16), whatever is in it.
        let link = [20, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
        assert_eq!(changes(&[link, link].concat()), [Change::Interfaces]);
    }
}
