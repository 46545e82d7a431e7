//! Throughput beside iperf3 with as many streams, and latency beside plain TCP, over loopback.
//!
//! `cargo bench -p srv6-transport --bench throughput [-- ROUNDS SECONDS]`. Each round runs every
//! setting of ours and of iperf3's once, so that a busy moment of the machine hits both alike. Sender
//! and receiver are two processes that call `test` without pause, as NCCL's progress thread does, with
//! 8 messages outstanding.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong ends with the reason; results go to stdout"
)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use srv6_transport::{
    Config, Connector, Lane, ListenAddress, Listener, RawBuf, RecvComm, RequestId, SendComm,
};

const OUTSTANDING: usize = 8;
const PATHS: [usize; 3] = [1, 4, 8];
const SIZES: [usize; 4] = [64 << 10, 1 << 20, 4 << 20, 64 << 20];
const PINGS: usize = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<usize>().ok());
    match arguments.first().map(String::as_str) {
        Some("receive") => receive(number(1).unwrap(), number(2).unwrap()),
        Some("echo") => echo(number(1).unwrap()),
        Some("echo-tcp") => echo_tcp(),
        _ => measure(number(0).unwrap_or(5), Duration::from_secs(number(1).unwrap_or(2) as u64)),
    }
}

fn measure(rounds: usize, time: Duration) {
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    let mut add = |name: String, value: f64| match rows.iter_mut().find(|row| row.0 == name) {
        Some(row) => row.1.push(value),
        None => rows.push((name, vec![value])),
    };
    for _ in 0..rounds {
        for paths in PATHS {
            add(format!("GB/s  iperf3 -P {paths}"), iperf3(paths, time));
            for size in SIZES {
                let name = format!("GB/s  {paths} subflows, {:>5} KiB", size >> 10);
                add(name, throughput(paths, size, time));
            }
        }
        add("us    8 B there and back, plain TCP".to_owned(), ping_tcp());
        for paths in PATHS {
            let name = format!("us    8 B there and back, {paths} subflows");
            add(name, ping(paths));
        }
    }
    println!("{rounds} rounds of {time:?}: median (smallest to largest)");
    for (name, mut values) in rows {
        values.sort_by(f64::total_cmp);
        println!(
            "{name:<40} {:>8.3}  ({:.3} to {:.3})",
            values[values.len() / 2],
            values[0],
            values[values.len() - 1]
        );
    }
}

/// GB/s of payload from this process to a second one.
fn throughput(paths: usize, size: usize, time: Duration) -> f64 {
    let peer = Peer::start(&["receive", &paths.to_string(), &size.to_string()]);
    let mut comm = connect(&peer.address, paths);
    let mut memory = vec![vec![7_u8; size]; OUTSTANDING];
    let mut outstanding: VecDeque<(RequestId, usize)> = VecDeque::new();
    let mut free: Vec<usize> = (0..OUTSTANDING).collect();
    let (began, mut sent) = (Instant::now(), 0);
    loop {
        if began.elapsed() < time {
            while let Some(at) = free.pop() {
                outstanding.push_back((post(&mut comm, &mut memory[at]), at));
            }
        }
        let Some((request, at)) = outstanding.front().copied() else {
            break;
        };
        if let Some(len) = comm.test(request).unwrap() {
            sent += len;
            outstanding.pop_front();
            free.push(at);
        }
    }
    drop(comm);
    // Counted until the receiver has it all.
    assert_eq!(peer.last_word(), sent.to_string());
    sent as f64 / 1e9 / began.elapsed().as_secs_f64()
}

fn receive(paths: usize, size: usize) {
    let mut comm = accept(paths);
    let mut memory = vec![vec![0_u8; size]; OUTSTANDING];
    let mut outstanding: VecDeque<(RequestId, usize)> = VecDeque::new();
    for (at, buffer) in memory.iter_mut().enumerate() {
        outstanding.push_back((comm.post(raw(buffer)).unwrap().unwrap(), at));
    }
    let mut received = 0;
    while let Some((request, at)) = outstanding.front().copied() {
        match comm.test(request) {
            Ok(None) => {}
            Ok(Some(len)) => {
                received += len;
                outstanding.pop_front();
                let next = comm.post(raw(&mut memory[at])).unwrap().unwrap();
                outstanding.push_back((next, at));
            }
            Err(srv6_transport::Error::PeerClosed { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    say(&received.to_string());
}

/// GB/s that iperf3 moves with `streams` streams.
fn iperf3(streams: usize, time: Duration) -> f64 {
    let run = |arguments: &[&str]| {
        Command::new("iperf3")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("iperf3: {error} (wanted: apt install iperf3)"))
    };
    let mut server = run(&["-s", "-1", "-B", "127.0.0.1"]);
    let deadline = Instant::now() + Duration::from_secs(10);
    let seconds = time.as_secs().to_string();
    let streams = streams.to_string();
    let rate = loop {
        let client = run(&["-c", "127.0.0.1", "-J", "-t", &seconds, "-P", &streams]);
        let out = client.wait_with_output().unwrap().stdout;
        // With -J it reports a server that doesn't listen yet in the document, not by its status.
        let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
        if let Some(rate) = report["end"]["sum_received"]["bits_per_second"].as_f64() {
            break rate;
        }
        if Instant::now() > deadline {
            server.kill().unwrap();
            panic!("iperf3: {}", report["error"]);
        }
    };
    server.wait().unwrap();
    rate / 8e9
}

/// Microseconds for 8 bytes there and 8 bytes back.
fn ping(paths: usize) -> f64 {
    let peer = Peer::start(&["echo", &paths.to_string()]);
    let mut there = connect(&peer.address, paths);
    let mut listener = Listener::bind("127.0.0.1".parse().unwrap(), None, &config(paths)).unwrap();
    let mut address = listener.address().socket().to_string().into_bytes();
    address.resize(64, b' ');
    exchange_send(&mut there, &mut address);
    let mut back = loop {
        if let Some(comm) = listener.accept().unwrap() {
            break comm;
        }
    };
    let (mut out, mut home) = ([7_u8; 8], [0_u8; 8]);
    let began = Instant::now();
    for _ in 0..PINGS {
        let request = back.post(raw(&mut home)).unwrap().unwrap();
        exchange_send(&mut there, &mut out);
        while back.test(request).unwrap().is_none() {}
    }
    began.elapsed().as_secs_f64() * 1e6 / PINGS as f64
}

fn echo(paths: usize) {
    let mut there = accept(paths);
    let mut address = [0_u8; 64];
    exchange_receive(&mut there, &mut address);
    let mut back = connect(std::str::from_utf8(&address).unwrap().trim(), paths);
    let mut message = [0_u8; 8];
    for _ in 0..PINGS {
        exchange_receive(&mut there, &mut message);
        exchange_send(&mut back, &mut message);
    }
    // Stays until the peer has everything.
    let request = there.post(raw(&mut message)).unwrap().unwrap();
    while there.test(request).is_ok() {}
}

/// As [`ping`] over one non-blocking TCP connection each way of nothing but sockets.
fn ping_tcp() -> f64 {
    let peer = Peer::start(&["echo-tcp"]);
    let mut stream = TcpStream::connect(peer.address.trim()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut message = [7_u8; 8];
    let began = Instant::now();
    for _ in 0..PINGS {
        stream.write_all(&message).unwrap();
        read_spinning(&mut stream, &mut message);
    }
    began.elapsed().as_secs_f64() * 1e6 / PINGS as f64
}

fn echo_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    say(&listener.local_addr().unwrap().to_string());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut message = [0_u8; 8];
    for _ in 0..PINGS {
        read_spinning(&mut stream, &mut message);
        stream.write_all(&message).unwrap();
    }
}

fn read_spinning(stream: &mut TcpStream, message: &mut [u8; 8]) {
    loop {
        match stream.read(message) {
            Ok(8) => return,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
    }
}

fn exchange_send(comm: &mut SendComm, message: &mut [u8]) {
    let request = post(comm, message);
    while comm.test(request).unwrap().is_none() {}
}

/// Posts until it is taken: the thread that looks after senders may be at this one.
fn post(comm: &mut SendComm, message: &mut [u8]) -> RequestId {
    loop {
        if let Some(request) = comm.post(raw(message)).unwrap() {
            return request;
        }
    }
}

fn exchange_receive(comm: &mut RecvComm, message: &mut [u8]) {
    let request = comm.post(raw(message)).unwrap().unwrap();
    while comm.test(request).unwrap().is_none() {}
}

fn connect(address: &str, paths: usize) -> SendComm {
    let target = ListenAddress::new(address.trim().parse().unwrap(), paths);
    let mut connector = Connector::new(target, None, Lane::unpinned(paths), &config(paths)).unwrap();
    loop {
        if let Some(comm) = connector.poll().unwrap() {
            return comm;
        }
    }
}

fn accept(paths: usize) -> RecvComm {
    let mut listener = Listener::bind("127.0.0.1".parse().unwrap(), None, &config(paths)).unwrap();
    say(&listener.address().socket().to_string());
    loop {
        if let Some(comm) = listener.accept().unwrap() {
            return comm;
        }
    }
}

fn config(paths: usize) -> Config {
    Config { paths, ..Config::default() }
}

fn raw(memory: &mut [u8]) -> RawBuf {
    // SAFETY: every buffer here outlives its comm, and is posted once at a time.
    unsafe { RawBuf::new(memory.as_mut_ptr(), memory.len()) }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// This program in another role.
struct Peer {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Peer {
    fn start(arguments: &[&str]) -> Peer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        stdout.read_line(&mut address).unwrap();
        Peer { child, stdout, address }
    }

    fn last_word(mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
