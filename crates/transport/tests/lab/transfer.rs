//! Messages from one host to the other for as long as a test wants, every byte checked.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use srv6_transport::{
    Config, ConnectionStats, Connector, Error, Lane, ListenAddress, Listener, RawBuf, RecvComm, RequestId,
    SendComm,
};

use crate::fabric::Fabric;

const WINDOW: usize = 4;

/// A transfer under way: each end in its own host, in a thread of its own.
pub(crate) struct Transfer {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<ConnectionStats, Error>>,
    receiver: JoinHandle<Result<Received, Error>>,
    progress: mpsc::Receiver<ConnectionStats>,
}

/// What came, and when.
#[derive(Debug)]
pub(crate) struct Received {
    /// When each message was complete.
    pub(crate) times: Vec<Instant>,
    pub(crate) stats: ConnectionStats,
}

/// How a transfer is set up.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) lanes: Vec<Lane>,
    /// Of the receiver, for what goes back.
    pub(crate) back: Vec<Lane>,
    pub(crate) size: usize,
    pub(crate) config: Config,
}

impl Plan {
    pub(crate) fn new(lanes: Vec<Lane>, size: usize) -> Plan {
        let config = Config { paths: 8, dead_after: Duration::from_secs(2), ..Config::default() };
        Plan { back: lanes.clone(), lanes, size, config }
    }
}

impl Transfer {
    /// Connects, and begins to send messages until it is told to stop.
    pub(crate) fn begin(fabric: &Fabric, plan: &Plan) -> Transfer {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        let (progress_to, progress) = mpsc::channel();
        let (address, receiving) = (fabric.address(1), plan.clone());
        let receiver = fabric.node(1).run(move || {
            std::thread::spawn(move || {
                let mut listener = Listener::bind(address, None, &receiving.config).unwrap();
                tell.send(listener.address()).unwrap();
                receive(&mut until("connection", || listener.accept().unwrap()), &receiving)
            })
        });
        let target: ListenAddress = told.recv().unwrap();
        let (source, sending, stopped) = (fabric.address(0), plan.clone(), Arc::clone(&stop));
        let sender = fabric.node(0).run(move || {
            std::thread::spawn(move || {
                let mut comm = connect(target, source, &sending);
                send(&mut comm, &sending, &stopped, &progress_to)
            })
        });
        Transfer { stop, sender, receiver, progress }
    }

    /// The sender's numbers, some milliseconds old at most.
    pub(crate) fn stats(&self) -> ConnectionStats {
        // Only the newest counts.
        while self.progress.try_recv().is_ok() {}
        self.progress.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    /// Waits until the sender's numbers say so.
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut(&ConnectionStats) -> bool) -> Duration {
        let began = Instant::now();
        until(what, || holds(&self.stats()).then_some(()));
        began.elapsed()
    }

    /// Stops after the message that is being sent; the numbers of both ends.
    pub(crate) fn end(self) -> (ConnectionStats, Received) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap().unwrap();
        (sent, self.receiver.join().unwrap().unwrap())
    }

    /// Waits for both ends to fail.
    pub(crate) fn fail(self) -> (Error, Error) {
        (self.sender.join().unwrap().unwrap_err(), self.receiver.join().unwrap().unwrap_err())
    }
}

impl Received {
    /// The longest time without a complete message, from `from` on.
    pub(crate) fn longest_gap(&self, from: Instant) -> Duration {
        let times = self.times.windows(2).filter(|pair| pair[1] >= from);
        times.map(|pair| pair[1] - pair[0]).max().unwrap()
    }
}

/// Sends one message after the other; an empty one is the last.
fn send(
    comm: &mut SendComm,
    plan: &Plan,
    stop: &AtomicBool,
    progress: &mpsc::Sender<ConnectionStats>,
) -> Result<ConnectionStats, Error> {
    let mut memory = vec![vec![0; plan.size]; WINDOW];
    let mut outstanding: VecDeque<RequestId> = VecDeque::new();
    let (mut number, mut told, mut last) = (0, Instant::now(), false);
    loop {
        while outstanding.len() < WINDOW && !last {
            last = stop.load(Ordering::Relaxed);
            let message = &mut memory[number % WINDOW];
            fill(number, message);
            let length = if last { 0 } else { message.len() };
            outstanding.push_back(post(|| comm.post(raw(&mut message[..length])))?);
            number += 1;
        }
        let Some(request) = outstanding.front() else { return Ok(comm.stats()) };
        if comm.test(*request)?.is_some() {
            outstanding.pop_front();
        }
        if told.elapsed() > Duration::from_millis(2) {
            told = Instant::now();
            // Nobody may be listening any more.
            let _ = progress.send(comm.stats());
        }
    }
}

fn receive(comm: &mut RecvComm, plan: &Plan) -> Result<Received, Error> {
    comm.pin(&plan.back)?;
    let mut memory = vec![vec![0; plan.size]; WINDOW];
    let mut outstanding = VecDeque::new();
    for buffer in &mut memory {
        outstanding.push_back(post(|| comm.post(raw(buffer)))?);
    }
    let (mut times, mut wanted) = (Vec::new(), vec![0; plan.size]);
    loop {
        let request = outstanding[0];
        let Some(length) = comm.test(request)? else { continue };
        let number = times.len();
        times.push(Instant::now());
        outstanding.pop_front();
        if length == 0 {
            return Ok(Received { times, stats: comm.stats() });
        }
        let buffer = &mut memory[number % WINDOW];
        fill(number, &mut wanted);
        assert!(length == plan.size && *buffer == wanted, "message {number} is not what was sent");
        buffer.fill(0xee);
        outstanding.push_back(post(|| comm.post(raw(buffer)))?);
    }
}

/// Bytes that show when one is in the wrong place or from the wrong message.
fn fill(number: usize, message: &mut [u8]) {
    for (place, part) in message.chunks_mut(8).enumerate() {
        let word = (number as u64) << 40 ^ place as u64;
        part.copy_from_slice(&word.to_le_bytes()[..part.len()]);
    }
}

/// A connection over the plan's lanes; to be called in the sender's host.
pub(crate) fn connect(target: ListenAddress, source: IpAddr, plan: &Plan) -> SendComm {
    let mut connector = Connector::new(target, Some(source), plan.lanes.clone(), &plan.config).unwrap();
    until("connection", || connector.poll().unwrap())
}

/// Posts until it is taken: the thread that looks after senders may be at this one.
pub(crate) fn post(mut post: impl FnMut() -> Result<Option<RequestId>, Error>) -> Result<RequestId, Error> {
    until("room for a request", || post().transpose())
}

/// The test keeps `bytes` alive and alone while a request has them.
pub(crate) fn raw(bytes: &mut [u8]) -> RawBuf {
    // SAFETY: RawBuf's contract: the vectors live as long as their comm, and each is posted once at a time.
    unsafe { RawBuf::new(bytes.as_mut_ptr(), bytes.len()) }
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within 90 seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
}
