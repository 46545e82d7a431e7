//! One connection between two addresses, to be compared with `iperf3` between the same two.
//!
//! ```text
//! stream receive ADDRESS PATHS                     prints where it listens, then what it received
//! stream send ADDRESS:PORT PATHS SIZE SECONDS      messages of SIZE bytes, 8 outstanding
//! stream echo ADDRESS PATHS                        sends back what comes
//! stream ping ADDRESS:PORT PATHS SIZE COUNT        one message there and one back, again and again
//! ```
//!
//! Results are one JSON object on a line: bytes, seconds, bytes per second, and processor time per GB; of `ping`
//! microseconds there and back. Both ends call `test` again and again and yield the processor in between, as NCCL's
//! progress thread does, so processor time says something only where the wire isn't the limit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong ends with the reason; results go to stdout"
)]

use std::collections::VecDeque;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use srv6_transport::{
    Config, Connector, Error, Lane, ListenAddress, Listener, RawBuf, RecvComm, RequestId, SendComm,
};

const OUTSTANDING: usize = 8;
const LARGEST: usize = 64 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<usize>().expect("a number");
    match arguments.first().map(String::as_str) {
        Some("receive") => receive(arguments[1].parse().unwrap(), number(2)),
        Some("send") => {
            send(arguments[1].parse().unwrap(), number(2), number(3), Duration::from_secs(number(4) as u64));
        }
        Some("echo") => echo(arguments[1].parse().unwrap(), number(2)),
        Some("ping") => ping(arguments[1].parse().unwrap(), number(2), number(3), number(4)),
        _ => panic!("wanted: receive | send | echo | ping, see the head of this file"),
    }
}

fn send(target: SocketAddr, paths: usize, size: usize, time: Duration) {
    let mut memory = vec![vec![7_u8; size]; OUTSTANDING];
    let mut comm = connect(target, paths);
    let mut outstanding: VecDeque<(RequestId, usize)> = VecDeque::new();
    let mut free: VecDeque<usize> = (0..OUTSTANDING).collect();
    let (began, busy, mut sent) = (Instant::now(), processor(), 0_u64);
    loop {
        while began.elapsed() < time
            && let Some(at) = free.front().copied()
            && let Some(request) = comm.post(raw(&mut memory[at])).unwrap()
        {
            free.pop_front();
            outstanding.push_back((request, at));
        }
        let Some((request, at)) = outstanding.front().copied() else { break };
        match comm.test(request).unwrap() {
            Some(len) => {
                sent += len as u64;
                outstanding.pop_front();
                free.push_back(at);
            }
            None => std::thread::yield_now(),
        }
    }
    report(sent, began.elapsed(), processor() - busy);
}

fn receive(address: IpAddr, paths: usize) {
    // Written to before the clock runs.
    let mut memory = vec![vec![1_u8; LARGEST]; OUTSTANDING];
    let mut comm = accept(address, paths);
    let mut outstanding: VecDeque<(RequestId, usize)> = VecDeque::new();
    for (at, buffer) in memory.iter_mut().enumerate() {
        outstanding.push_back((comm.post(raw(buffer)).unwrap().unwrap(), at));
    }
    let (mut began, mut busy, mut received) = (Instant::now(), processor(), 0_u64);
    while let Some((request, at)) = outstanding.front().copied() {
        match comm.test(request) {
            Ok(None) => std::thread::yield_now(),
            Ok(Some(len)) => {
                if received == 0 {
                    (began, busy) = (Instant::now(), processor());
                }
                received += len as u64;
                outstanding.pop_front();
                match comm.post(raw(&mut memory[at])) {
                    Ok(next) => outstanding.push_back((next.unwrap(), at)),
                    Err(Error::PeerClosed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Err(Error::PeerClosed { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    report(received, began.elapsed(), processor() - busy);
}

fn ping(target: SocketAddr, paths: usize, size: usize, count: usize) {
    let mut there = connect(target, paths);
    let local = there.stats().subflows[0].local.ip();
    let mut listener = Listener::bind(local, None, &config(paths)).unwrap();
    let mut address = listener.address().socket().to_string().into_bytes();
    address.resize(ADDRESS, b' ');
    put(&mut there, &mut address);
    let mut back = loop {
        if let Some(comm) = listener.accept().unwrap() {
            break comm;
        }
    };
    let (mut out, mut home) = (vec![7_u8; size], vec![0_u8; size]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let request = back.post(raw(&mut home)).unwrap().unwrap();
        put(&mut there, &mut out);
        while back.test(request).unwrap().is_none() {}
        times.push(began.elapsed());
    }
    assert!(home == out, "what came back is something else");
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = micros(times.iter().sum::<Duration>()) / count as f64;
    let (median, p99) = (micros(times[count / 2]), micros(times[count * 99 / 100]));
    say(&format!("{{\"size\":{size},\"mean_us\":{mean:.3},\"median_us\":{median:.3},\"p99_us\":{p99:.3}}}"));
}

fn echo(address: IpAddr, paths: usize) {
    let mut message = vec![0_u8; LARGEST];
    let mut there = accept(address, paths);
    let got = take(&mut there, &mut message).expect("the address to answer to");
    let target = std::str::from_utf8(&message[..got]).unwrap().trim().parse().unwrap();
    let mut back = connect(target, paths);
    while let Some(got) = take(&mut there, &mut message) {
        put(&mut back, &mut message[..got]);
    }
}

fn put(comm: &mut SendComm, message: &mut [u8]) {
    let request = loop {
        if let Some(request) = comm.post(raw(message)).unwrap() {
            break request;
        }
    };
    while comm.test(request).unwrap().is_none() {}
}

/// The length of the next message; none when the peer has closed.
fn take(comm: &mut RecvComm, message: &mut [u8]) -> Option<usize> {
    let request = match comm.post(raw(message)) {
        Ok(request) => request.unwrap(),
        Err(Error::PeerClosed { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    loop {
        match comm.test(request) {
            Ok(None) => {}
            Ok(Some(len)) => return Some(len),
            Err(Error::PeerClosed { .. }) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn connect(target: SocketAddr, paths: usize) -> SendComm {
    let target = ListenAddress::new(target, paths);
    let mut connector = Connector::new(target, None, Lane::unpinned(paths), &config(paths)).unwrap();
    loop {
        if let Some(comm) = connector.poll().unwrap() {
            return comm;
        }
    }
}

fn accept(address: IpAddr, paths: usize) -> RecvComm {
    let mut listener = Listener::bind(address, None, &config(paths)).unwrap();
    say(&listener.address().socket().to_string());
    loop {
        if let Some(comm) = listener.accept().unwrap() {
            return comm;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn config(paths: usize) -> Config {
    Config { paths, ..Config::default() }
}

fn raw(memory: &mut [u8]) -> RawBuf {
    // SAFETY: every buffer here is posted once at a time, and lives until its request is done or nothing is called
    // any more.
    unsafe { RawBuf::new(memory.as_mut_ptr(), memory.len()) }
}

/// Processor time of this process, user and system.
fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn report(bytes: u64, time: Duration, processor: Duration) {
    let (seconds, busy) = (time.as_secs_f64(), processor.as_secs_f64());
    let (rate, per_gb) = (bytes as f64 / seconds, busy * 1e9 / bytes as f64);
    say(&format!(
        "{{\"bytes\":{bytes},\"seconds\":{seconds:.6},\"bytes_per_second\":{rate:.0},\"cpu_s_per_gb\":{per_gb:.4}}}"
    ));
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// An address with port in text, filled up with blanks.
const ADDRESS: usize = 64;
