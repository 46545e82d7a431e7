//! A peer that is killed: the survivor gets an error soon, no hang and no signal.
//!
//! This program runs itself as the peer, so it has its own main.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that fails panics; the address of the listener goes over stdout"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use srv6_lab::Fault;
use srv6_transport::{
    Config, Connector, Error, Lane, ListenAddress, Listener, RawBuf, RecvComm, SendComm, SubflowState,
};

#[path = "lab/fabric.rs"]
#[expect(dead_code, reason = "the tests in the lab use the rest")]
mod fabric;
use fabric::Fabric;

const PATHS: usize = 4;
const LEN: usize = 1 << 20;

/// A second is what is promised; this machine may have other work to do. Without anything from the kernel it would take a
/// minute: see `config`.
const SOON: Duration = Duration::from_secs(5);

const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

fn main() {
    // Rust ignores SIGPIPE in its programs; the Python process of a training job may not.
    // SAFETY: SIG_DFL is a valid disposition, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("receiver") => receiver(arguments[2].parse().unwrap()),
        Some("sender") => sender(arguments[2].parse().unwrap()),
        _ => {
            a_killed_receiver();
            a_killed_sender();
            a_killed_receiver_behind_a_dead_path();
            println!("test result: ok. 3 passed; 0 failed; 0 ignored");
        }
    }
}

/// A sender with messages outstanding learns of its receiver's death from the next tests.
fn a_killed_receiver() {
    for (address, pause) in LOOPBACK.into_iter().flat_map(|address| [(address, 0), (address, 30)]) {
        let (mut peer, target) = Peer::listening(address.to_owned());
        let mut connector = Connector::new(target, None, Lane::unpinned(PATHS), &config()).unwrap();
        let mut send = wait("connection", || connector.poll().unwrap());
        let mut memory = vec![1; LEN];
        let mut killed = None;
        let began = Instant::now();
        let error = wait("error", || {
            if killed.is_none() && began.elapsed() > Duration::from_millis(pause) {
                peer.kill();
                killed = Some(Instant::now());
            }
            message(&mut send, &mut memory).err()
        });
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
        let took = killed.unwrap().elapsed();
        assert!(took < SOON, "{took:?}");
        println!("receiver at {address} killed after {pause} ms: {error}, in {took:?}");
    }
}

/// A receiver with receives outstanding, with or without half a message in them.
fn a_killed_sender() {
    for (address, messages) in LOOPBACK.into_iter().flat_map(|address| [(address, 0), (address, 20)]) {
        let mut listener = Listener::bind(address.parse().unwrap(), None, &config()).unwrap();
        let target = listener.address().socket().to_string();
        let mut peer = Peer::start(&["sender", &target]);
        let mut receive = wait("connection", || listener.accept().unwrap());
        let mut memory = vec![0; LEN];
        for _ in 0..messages {
            let request = receive.post(raw(&mut memory)).unwrap().unwrap();
            wait("message", || receive.test(request).unwrap());
        }
        let request = receive.post(raw(&mut memory)).unwrap().unwrap();
        peer.kill();
        let killed = Instant::now();
        let error = drain(&mut receive, request, &mut memory);
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
        let took = killed.elapsed();
        assert!(took < SOON, "{took:?}");
        println!("sender at {address} killed after {messages} messages: {error}, in {took:?}");
    }
}

/// The end of a socket whose path is dead doesn't come: those of the others are enough.
fn a_killed_receiver_behind_a_dead_path() {
    for up in [Fabric::v6, Fabric::v4] {
        let fabric = up(None);
        let address = fabric.address(1).to_string();
        let (mut peer, target) = fabric.node(1).run(move || Peer::listening(address));
        let (lanes, source) = (fabric.marks(), fabric.address(0));
        let mut send = fabric.node(0).run(move || {
            let mut connector = Connector::new(target, Some(source), lanes, &config()).unwrap();
            wait("connection", || connector.poll().unwrap())
        });
        let mut memory = vec![1; LEN];
        wait("lanes in use", || {
            message(&mut send, &mut memory).unwrap();
            send.stats().subflows.iter().all(|subflow| subflow.bytes > 0).then_some(())
        });
        fabric.lab.fail("leaf00-spine01", Fault::Silent).unwrap();
        // In the sender's host, where it tries to replace the socket.
        let (took, error) = fabric.node(0).run(move || {
            wait("suspicion", || {
                message(&mut send, &mut memory).unwrap();
                (send.stats().subflows[1].state != SubflowState::Good).then_some(())
            });
            peer.kill();
            let killed = Instant::now();
            let error = wait("error", || message(&mut send, &mut memory).err());
            (killed.elapsed(), error)
        });
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
        assert!(took < SOON, "{took:?}");
        println!("receiver killed behind a dead path: {error}, in {took:?}");
    }
}

/// Takes what is still in the sockets, until the error.
fn drain(receive: &mut RecvComm, mut request: srv6_transport::RequestId, memory: &mut [u8]) -> Error {
    wait("error", || match receive.test(request) {
        Ok(None) => None,
        Ok(Some(_)) => match receive.post(raw(memory)) {
            Ok(next) => {
                request = next.unwrap();
                None
            }
            Err(error) => Some(error),
        },
        Err(error) => Some(error),
    })
}

/// The peer that receives until it is killed.
fn receiver(address: IpAddr) -> ! {
    let mut listener = Listener::bind(address, None, &config()).unwrap();
    println!("{}", listener.address().socket());
    std::io::stdout().flush().unwrap();
    let mut receive = wait("connection", || listener.accept().unwrap());
    let mut memory = vec![0; LEN];
    loop {
        let request = receive.post(raw(&mut memory)).unwrap().unwrap();
        wait("message", || receive.test(request).unwrap());
    }
}

/// The peer that sends until it is killed.
fn sender(target: SocketAddr) -> ! {
    let target = ListenAddress::new(target, PATHS);
    let mut connector = Connector::new(target, None, Lane::unpinned(PATHS), &config()).unwrap();
    let mut send = wait("connection", || connector.poll().unwrap());
    let mut memory = vec![1; LEN];
    loop {
        message(&mut send, &mut memory).unwrap();
    }
}

fn message(send: &mut SendComm, memory: &mut [u8]) -> Result<(), Error> {
    let request = wait("request", || send.post(raw(memory)).transpose())?;
    wait("message", || send.test(request).transpose()).map(drop)
}

/// This program in another role; killed at the latest when the test is over.
struct Peer(Child);

impl Peer {
    fn start(arguments: &[&str]) -> Peer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments).stdout(Stdio::piped());
        Peer(command.spawn().unwrap())
    }

    /// A receiver at this address, and where it listens.
    fn listening(address: String) -> (Peer, ListenAddress) {
        let mut peer = Peer::start(&["receiver", &address]);
        let mut line = String::new();
        let mut told = BufReader::new(peer.0.stdout.take().unwrap());
        told.read_line(&mut line).unwrap();
        (peer, ListenAddress::new(line.trim().parse().unwrap(), PATHS))
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn config() -> Config {
    Config { paths: PATHS, dead_after: Duration::from_secs(60), ..Config::default() }
}

fn raw(memory: &mut [u8]) -> RawBuf {
    // SAFETY: the memory outlives every comm here, and only one request at a time has it.
    unsafe { RawBuf::new(memory.as_mut_ptr(), memory.len()) }
}

fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within a minute");
        std::thread::yield_now();
    }
}
