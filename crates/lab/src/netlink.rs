//! Asks the kernel about the links of the calling thread's namespace: one request, one dump.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Stats64};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec};

/// Multicast groups of link changes and of IPv6 routes (RTNLGRP_LINK, RTNLGRP_IPV6_ROUTE in linux/rtnetlink.h).
const LINK_GROUP: u32 = 1;
const ROUTE_GROUP: u32 = 11;

/// One interface as the kernel reports it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    /// It is switched on (IFF_UP).
    pub(crate) up: bool,
    /// Both ends are on: this is what programs wait for (IFF_RUNNING).
    pub(crate) running: bool,
    /// `ifalias`, empty where none is set.
    pub(crate) alias: String,
    /// Most segments of a packet that it takes in one piece.
    pub(crate) gso_max_segs: u32,
    pub(crate) stats: Stats64,
    /// Packets that the queueing discipline threw away.
    pub(crate) queue_drops: u64,
    /// Bytes that a shaper passed on, with the headers of every segment; none where there is no shaper.
    pub(crate) queue_bytes: Option<u64>,
}

/// All interfaces by index, queue drops included.
pub(crate) fn links() -> io::Result<HashMap<u32, Link>> {
    let socket = open()?;
    let mut links = HashMap::new();
    for message in dump(&socket, RouteNetlinkMessage::GetLink(LinkMessage::default()))? {
        if let RouteNetlinkMessage::NewLink(link) = message {
            links.insert(link.header.index, read(link));
        }
    }
    for message in dump(&socket, RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))? {
        let RouteNetlinkMessage::NewQueueDiscipline(discipline) = message else { continue };
        // A shaper counts what its inner queue dropped too; adding both would count twice.
        if discipline.header.parent != TcHandle::ROOT {
            continue;
        }
        let index = u32::try_from(discipline.header.index).unwrap_or_default();
        if let Some(link) = links.get_mut(&index) {
            link.queue_drops = drops(&discipline.attributes);
            link.queue_bytes = passed(&discipline.attributes);
        }
    }
    Ok(links)
}

/// Waits until each of these interfaces runs, or doesn't, as `running` wants it; gives back those that still
/// differ when patience is at its end.
pub(crate) fn await_running(interfaces: &[u32], running: bool, patience: Duration) -> io::Result<Vec<u32>> {
    watch(LINK_GROUP, patience, || {
        let links = links()?;
        let differs = |i: &u32| links.get(i).is_some_and(|l| l.running) != running;
        Ok(interfaces.iter().copied().filter(differs).collect())
    })
}

/// Waits until the node answers to each of these addresses; gives back those it still doesn't.
///
/// The kernel gives an IPv6 address its local route from a work queue, some time after it has accepted the
/// address; until then the node throws away what is sent to it.
pub(crate) fn await_local(addresses: &[Ipv6Addr], patience: Duration) -> io::Result<Vec<Ipv6Addr>> {
    watch(ROUTE_GROUP, patience, || {
        let socket = open()?;
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet6;
        let mut local = HashSet::new();
        for message in dump(&socket, RouteNetlinkMessage::GetRoute(request))? {
            let RouteNetlinkMessage::NewRoute(route) = message else { continue };
            if route.header.kind == RouteType::Local {
                local.extend(route.attributes.into_iter().filter_map(|a| match a {
                    RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(address),
                    _ => None,
                }));
            }
        }
        Ok(addresses.iter().copied().filter(|a| !local.contains(a)).collect())
    })
}

/// Looks for what is missing again after every event of a group, until nothing is or patience ends.
fn watch<T>(
    group: u32,
    patience: Duration,
    mut missing: impl FnMut() -> io::Result<Vec<T>>,
) -> io::Result<Vec<T>> {
    let deadline = Instant::now() + patience;
    // Joined before the first look, so that no change falls between look and wait.
    let mut events = Socket::new(NETLINK_ROUTE)?;
    events.bind_auto()?;
    events.add_membership(group)?;
    loop {
        let missing = missing()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if missing.is_empty() || left.is_zero() {
            return Ok(missing);
        }
        await_event(&events, left)?;
    }
}

fn await_event(events: &Socket, patience: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    match rustix::event::poll(&mut [PollFd::new(events, PollFlags::IN)], Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
        Ok(_) => {}
        Err(e) => return Err(e.into()),
    }
    match events.recv_from_full() {
        // Events were lost; the caller looks again anyway.
        Err(e) if e.raw_os_error() != Some(libc::ENOBUFS) => Err(e),
        _ => Ok(()),
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends a dump request and collects its answers up to the end mark.
fn dump(socket: &Socket, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send(&buffer, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            // Messages are padded to four bytes.
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn read(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let (up, running) = (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::Running));
    let mut link = Link { up, running, ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::GsoMaxSegs(most) => link.gso_max_segs = most,
            LinkAttribute::Stats64(stats) => link.stats = stats,
            _ => {}
        }
    }
    link
}

fn drops(attributes: &[TcAttribute]) -> u64 {
    statistics(attributes)
        .filter_map(|s| match s {
            TcStats2::Queue(queue) => Some(u64::from(queue.drops)),
            _ => None,
        })
        .sum()
}

/// Of a shaper; the interfaces that aren't shaped have a discipline too, `noqueue`, which counts nothing.
fn passed(attributes: &[TcAttribute]) -> Option<u64> {
    let shapes = attributes.iter().any(|a| matches!(a, TcAttribute::Kind(kind) if kind == "tbf"));
    if !shapes {
        return None;
    }
    statistics(attributes).find_map(|s| match s {
        TcStats2::Basic(basic) => Some(basic.bytes),
        _ => None,
    })
}

fn statistics(attributes: &[TcAttribute]) -> impl Iterator<Item = &TcStats2> {
    attributes
        .iter()
        .filter_map(|a| match a {
            TcAttribute::Stats2(stats) => Some(stats),
            _ => None,
        })
        .flatten()
}
