//! Rounds of probes: all are sent, waited for and judged together.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::health::Trust;
use super::packet::{LENGTH, Probe};
use super::ways::{Way, bad, ways};
use super::{Assignment, Found, PATIENCE, PERIOD};

/// How often it is asked which paths are in use.
const ASK: Duration = Duration::from_secs(1);

/// How long the steering thread may take to say so.
const ASK_PATIENCE: Duration = Duration::from_millis(500);

/// Numbers the probers of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A prober's sockets and what it found out.
pub(super) struct Rounds {
    number: u64,
    round: u64,
    /// Sends whole packets, and receives nothing.
    raw: OwnedFd,
    /// Where probes come back, by address.
    returns: HashMap<Ipv6Addr, UdpSocket>,
    shared: Arc<Mutex<Found>>,
    stop: Arc<OwnedFd>,
    carriers: BTreeMap<Way, Ipv6Addr>,
}

impl Rounds {
    /// Opens the raw socket in the calling thread's namespace.
    pub(super) fn new(shared: Arc<Mutex<Found>>, stop: Arc<OwnedFd>) -> io::Result<Self> {
        // IPPROTO_RAW: the packet begins with its own header (raw(7)).
        let raw = rustix::net::socket_with(
            AddressFamily::INET6,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(rustix::net::ipproto::RAW),
        )?;
        Ok(Self {
            // Sets this host's probers apart from each other, and from those of a process before it.
            number: NEXT.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id()),
            round: 0,
            raw,
            returns: HashMap::new(),
            shared,
            stop,
            carriers: BTreeMap::new(),
        })
    }

    /// Probes until it is stopped.
    pub(super) fn run(mut self, assignment: &Assignment) {
        let (mut asked, mut told) = (None::<Instant>, BTreeSet::new());
        loop {
            let began = Instant::now();
            if asked.is_none_or(|at| at.elapsed() >= ASK) {
                self.choose(assignment);
                asked = Some(Instant::now());
            }
            if !self.carriers.is_empty() {
                let sent = self.send();
                if !self.collect(&sent, Instant::now() + PATIENCE) {
                    break;
                }
            }
            let bad = bad(&self.shared.lock().ways);
            if bad != told {
                let names: Vec<String> = bad.iter().map(ToString::to_string).collect();
                log::warn!("namespace={} assumed-bad={:?}", assignment.namespace.inode, names);
                assignment.denied.set_bad(assignment.namespace, bad.clone());
                told = bad;
            }
            if !self.sleep((began + PERIOD).saturating_duration_since(Instant::now())) {
                break;
            }
        }
        // Nobody would ever take it back.
        assignment.denied.set_bad(assignment.namespace, BTreeSet::new());
    }

    /// Takes the ways of the paths in use. One that is assumed bad stays, or nobody would see it come back.
    fn choose(&mut self, assignment: &Assignment) {
        let Some(paths) = assignment.steer.paths_in_use().wait(ASK_PATIENCE) else { return };
        let Some(topology) = assignment.paths.known() else { return };
        let mut chosen = match paths.is_empty() {
            true => BTreeMap::new(),
            false => ways(&topology, &paths, assignment.algo, assignment.function),
        };
        let mut shared = self.shared.lock();
        if !paths.is_empty() {
            for (way, health) in shared.ways.iter().filter(|(_, health)| health.trust == Trust::AssumedBad) {
                if let Some(carrier) = self.carriers.get(way).filter(|_| health.ever_good) {
                    chosen.entry(way.clone()).or_insert(*carrier);
                }
            }
        }
        shared.keep(&chosen);
        drop(shared);
        let used: BTreeSet<Ipv6Addr> = chosen.keys().map(|way| way.own).collect();
        self.returns.retain(|own, _| used.contains(own));
        for own in used {
            if let Entry::Vacant(place) = self.returns.entry(own) {
                match open(own) {
                    Ok(socket) => {
                        place.insert(socket);
                    }
                    // It may not be this namespace's, or not yet again after its link was down.
                    Err(error) => log::debug!("no probes from {own}: {error}"),
                }
            }
        }
        chosen.retain(|way, _| self.returns.contains_key(&way.own));
        self.carriers = chosen;
    }

    /// Sends a probe each way, and gives when.
    fn send(&mut self) -> Vec<(Way, Instant)> {
        self.round += 1;
        let mut sent = Vec::with_capacity(self.carriers.len());
        for (number, (way, &carrier)) in self.carriers.iter().enumerate() {
            let port = self
                .returns
                .get(&way.own)
                .and_then(|socket| socket.local_addr().ok())
                .map_or(0, |a| a.port());
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let probe = Probe { prober: self.number, round: self.round, way: number };
            let packet = probe.packet(way.own, carrier, port);
            let to = SocketAddrV6::new(carrier, 0, 0, 0);
            // What can't be sent is lost, as what nobody sends back.
            let _lost = rustix::net::sendto(&self.raw, &packet, SendFlags::empty(), &to);
            sent.push((way.clone(), Instant::now()));
        }
        sent
    }

    /// Waits for probes until all are back or the time is over, and judges; `false` if it was stopped.
    fn collect(&mut self, sent: &[(Way, Instant)], deadline: Instant) -> bool {
        let mut back: HashMap<usize, Duration> = HashMap::new();
        while back.len() < sent.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            let ready = self.wait(left);
            if ready == Ready::Stopped {
                return false;
            }
            self.receive(sent, &mut back);
            // Looked once more after the end: a thread that was late itself must not blame the fabric.
            if left.is_zero() {
                break;
            }
        }
        let mut shared = self.shared.lock();
        for (number, (way, _)) in sent.iter().enumerate() {
            let Some(health) = shared.ways.get_mut(way) else { continue };
            match back.get(&number) {
                Some(took) => health.answered(*took),
                None => health.lost(),
            }
        }
        true
    }

    fn receive(&self, sent: &[(Way, Instant)], back: &mut HashMap<usize, Duration>) {
        let mut bytes = [0; LENGTH + 1];
        for socket in self.returns.values() {
            while let Ok(length) = socket.recv(&mut bytes) {
                let Some(probe) = bytes.get(..length).and_then(Probe::decode) else { continue };
                if (probe.prober, probe.round) != (self.number, self.round) {
                    continue;
                }
                let number = usize::try_from(probe.way).unwrap_or(usize::MAX);
                if let Some((_, at)) = sent.get(number) {
                    back.entry(number).or_insert_with(|| at.elapsed());
                }
            }
        }
    }

    /// Waits between rounds; `false` if it was stopped.
    fn sleep(&self, mut left: Duration) -> bool {
        let until = Instant::now() + left;
        let nothing = HashMap::new();
        while !left.is_zero() {
            if poll(&self.stop, &nothing, left) == Ready::Stopped {
                return false;
            }
            left = until.saturating_duration_since(Instant::now());
        }
        true
    }

    fn wait(&self, patience: Duration) -> Ready {
        poll(&self.stop, &self.returns, patience)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Stopped,
    Maybe,
}

fn poll(stop: &OwnedFd, sockets: &HashMap<Ipv6Addr, UdpSocket>, patience: Duration) -> Ready {
    let mut ready: Vec<PollFd<'_>> =
        sockets.values().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    ready.push(PollFd::new(stop, PollFlags::IN));
    let timeout = Timespec::try_from(patience).ok();
    // Interrupted is as good as nothing there: the caller looks at the clock.
    let _nothing = rustix::event::poll(&mut ready, timeout.as_ref());
    match ready.last() {
        Some(stop) if !stop.revents().is_empty() => Ready::Stopped,
        _ => Ready::Maybe,
    }
}

fn open(own: Ipv6Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
