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
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use srv6_transport::{Config, Connector, Error, Lane, ListenAddress, Listener, RawBuf, RecvComm, SendComm};

const PATHS: usize = 4;
const LEN: usize = 1 << 20;

/// On a machine with other work to do. Without anything from the kernel it would take a minute: see `config`.
const SOON: Duration = Duration::from_secs(10);

fn main() {
    // Rust ignores SIGPIPE in its programs; the Python process of a training job may not.
    // SAFETY: SIG_DFL is a valid disposition, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("receiver") => receiver(),
        Some("sender") => sender(arguments[2].parse().unwrap()),
        _ => {
            a_killed_receiver();
            a_killed_sender();
            println!("test result: ok. 2 passed; 0 failed; 0 ignored");
        }
    }
}

/// A sender with messages outstanding learns of its receiver's death from the next tests.
fn a_killed_receiver() {
    for pause in [0, 30] {
        let mut peer = Peer::start(&["receiver"]);
        let mut line = String::new();
        let mut told = BufReader::new(peer.0.stdout.take().unwrap());
        told.read_line(&mut line).unwrap();
        let target = ListenAddress::new(line.trim().parse().unwrap(), PATHS);
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
        println!("receiver killed after {pause} ms: {error}, in {took:?}");
    }
}

/// A receiver with receives outstanding, with or without half a message in them.
fn a_killed_sender() {
    for messages in [0, 20] {
        let mut listener = Listener::bind("127.0.0.1".parse().unwrap(), None, &config()).unwrap();
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
        println!("sender killed after {messages} messages: {error}, in {took:?}");
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
fn receiver() -> ! {
    let mut listener = Listener::bind("127.0.0.1".parse().unwrap(), None, &config()).unwrap();
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
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within 20 seconds");
        std::thread::yield_now();
    }
}
