//! A lab with steering in its hosts, sockets pinned as a transport pins them, and a count of what each spine carried.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use srv6_fabric::Flow;
use srv6_lab::{Lab, Node, Options};
use srv6_paths::read_topology;
use srv6_steer::{Config, LanePath, Lanes, LanesHold, LanesStatus, LanesWanted, Pinning, Source, Steer};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const HOST00: &str = "2001:db8:1000::2";
pub(crate) const HOST01: &str = "2001:db8:1001::2";

fn file(fabric: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/fabrics/{fabric}.json"))
}

pub(crate) fn lab(fabric: &str) -> Lab {
    let (_, topology) = read_topology(&file(fabric), "fabric_graph", "hosts").unwrap();
    Lab::up(&topology, &Options::default()).unwrap()
}

pub(crate) fn config(fabric: &str) -> Config {
    Config { deadline: PATIENCE / 2, ..Config::new(Source::File(file(fabric))) }
}

/// Starts steering as a process in that host does.
pub(crate) fn start(lab: &Lab, host: &str, config: Config) -> Steer {
    lab.node(host).unwrap().run(move || Steer::start(config)).unwrap()
}

pub(crate) fn flow(src: &str, dst: &str) -> Flow {
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

pub(crate) fn wanted(count: usize, pinning: Option<Pinning>) -> LanesWanted {
    LanesWanted { count, pinning, along: Vec::new() }
}

pub(crate) fn lanes(hold: &LanesHold) -> Result<Arc<Lanes>, String> {
    let started = Instant::now();
    loop {
        match hold.status() {
            LanesStatus::Ready(lanes) => return Ok(lanes),
            LanesStatus::Failed(reason) => return Err(reason.to_string()),
            LanesStatus::Pending => assert!(started.elapsed() < PATIENCE, "neither ready nor failed"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The spines of the lanes, in order.
pub(crate) fn spines(lanes: &Lanes) -> Vec<String> {
    lanes.lanes.iter().map(|lane| lane.steered.hops[2].clone()).collect()
}

/// Rules and routes of ours in a host.
pub(crate) fn ours(lab: &Lab, host: &str) -> String {
    let script = "(ip -6 rule show; ip -4 rule show) | grep -w 'proto 83'; ip -6 route show table all proto 83; \
                  ip -4 route show table all proto 83; true";
    lab.node(host).unwrap().sh(script).unwrap()
}

/// Waits until a host has these rules and routes of ours again, in any order.
pub(crate) fn await_ours(lab: &Lab, host: &str, wanted: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let started = Instant::now();
    loop {
        let shown = ours(lab, host);
        if sorted(&shown) == sorted(wanted) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "not back: {shown}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that each spine got from a leaf while `work` ran: one direction only.
pub(crate) fn carried(lab: &Lab, leaf: &str, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let count = || -> BTreeMap<String, u64> {
        let links = lab.links().unwrap();
        links
            .into_iter()
            .filter(|l| l.from == leaf && l.to.starts_with("spine"))
            .map(|l| (l.to, l.bytes))
            .collect()
    };
    let before = count();
    work();
    count().into_iter().map(|(spine, bytes)| (spine.clone(), bytes - before[&spine])).collect()
}

/// All but the switches' own chatter went by this spine, and at least `bytes`.
pub(crate) fn assert_only_by(carried: &BTreeMap<String, u64>, chosen: &str, bytes: u64) {
    for (spine, &count) in carried {
        if spine == chosen {
            assert!(count >= bytes, "{chosen}: {carried:?}");
        } else {
            assert!(count < 3_000, "{spine} too: {carried:?}");
        }
    }
}

/// How much [`send`] sends.
pub(crate) const MEGABYTE: u64 = 1 << 20;

/// Lets a host take connections at a port: each is read to its end, then told how many bytes came, in 8 bytes. `accepted`
/// sees the socket first.
pub(crate) fn serve(node: &Node, at: &str, port: u16, accepted: impl Fn(&TcpStream) + Send + 'static) {
    let address = SocketAddr::new(at.parse().unwrap(), port);
    node.run(move || {
        let listener = TcpListener::bind(address).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                accepted(&stream);
                std::thread::spawn(move || {
                    let (mut total, mut buffer) = (0u64, vec![0; 1 << 16]);
                    while let Ok(n @ 1..) = stream.read(&mut buffer) {
                        total += n as u64;
                    }
                    // The peer may have given up.
                    let _gone = stream.write_all(&total.to_be_bytes());
                });
            }
        });
    });
}

/// A socket on a lane, as a transport makes it.
pub(crate) fn connect(
    node: &Node,
    flow: Flow,
    port: u16,
    lane: Option<(Pinning, &LanePath)>,
) -> io::Result<TcpStream> {
    let lane = lane.map(|(pinning, lane)| (pinning, lane.clone()));
    node.run(move || {
        let socket =
            Socket::new(Domain::for_address((flow.dst, 0).into()), Type::STREAM, Some(Protocol::TCP))?;
        let mut ports = 0..=0;
        match &lane {
            Some((Pinning::Mark, lane)) => socket.set_mark(lane.mark())?,
            Some((Pinning::Ports, lane)) => ports = lane.ports(),
            Some((Pinning::RoutingHeader, lane)) => set_header(&socket, lane.segments.as_slice())?,
            None => {}
        }
        let bound = ports.into_iter().any(|p| socket.bind(&SocketAddr::new(flow.src, p).into()).is_ok());
        assert!(bound, "no port free");
        socket.connect_timeout(&SocketAddr::new(flow.dst, port).into(), Duration::from_secs(8))?;
        Ok(socket.into())
    })
}

/// Sends a megabyte, and waits until the far side says that it has all of it.
pub(crate) fn send(mut stream: TcpStream) {
    let data = vec![7; 1 << 16];
    for _ in 0..MEGABYTE >> 16 {
        stream.write_all(&data).unwrap();
    }
    assert_eq!(finish(stream), MEGABYTE);
}

/// Ends a connection, and gives the number of bytes that the far side has got.
pub(crate) fn finish(mut stream: TcpStream) -> u64 {
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut total = [0; 8];
    stream.read_exact(&mut total).unwrap();
    u64::from_be_bytes(total)
}

/// `IPV6_RTHDR` with a segment routing header (RFC 8754 section 2): the carriers, then a placeholder that the kernel fills
/// with the destination. On the wire the last segment comes first.
pub(crate) fn set_header(socket: &Socket, carriers: &[Ipv6Addr]) -> io::Result<()> {
    let last = u8::try_from(carriers.len()).unwrap();
    let mut header = vec![0, 2 * (last + 1), 4, last, last, 0, 0, 0];
    for segment in [Ipv6Addr::UNSPECIFIED].iter().chain(carriers.iter().rev()) {
        header.extend(segment.octets());
    }
    // SAFETY: setsockopt(2) reads as many bytes as it is told, and the vector holds them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RTHDR,
            header.as_ptr().cast(),
            u32::try_from(header.len()).unwrap(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Number of the capability that marks sockets (`linux/capability.h`).
pub(crate) const CAP_NET_RAW: u32 = 13;

/// Capabilities are a thread's own, and what it spawns inherits them: this one loses all but those in the set, of those below 32.
pub(crate) fn keep_capabilities(set: u32) {
    let header = [0x2008_0522u32, 0];
    let data = [set, set, 0, 0, 0, 0];
    // SAFETY: capset(2) reads a header of two and data of six 32-bit words for this version, both alive here.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// The table of a slot as `ip` shows it.
pub(crate) fn table(lab: &Lab, host: &str, lane: &LanePath) -> String {
    // A table that no route of the family was ever in is an error to ip.
    let show =
        |family: &str| format!("(ip {family} route show table {} 2>/dev/null || true)", lane.slot.table());
    lab.node(host).unwrap().sh(&format!("{}; {}", show("-6"), show("-4"))).unwrap()
}

/// Waits until a lane has another path than this.
pub(crate) fn await_move(hold: &LanesHold, lane: usize, from: &[String]) -> Vec<String> {
    let started = Instant::now();
    loop {
        let path = hold.path(lane).unwrap();
        if path != from {
            return path;
        }
        assert!(started.elapsed() < PATIENCE, "lane {lane} stays on {from:?}");
        std::thread::sleep(Duration::from_micros(100));
    }
}
