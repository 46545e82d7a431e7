//! Other processes are told about connections. Alone in its process, which has one service and forks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails panics")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use srv6_transport::{
    Config, ConnectionStats, Connector, Direction, Lane, Listener, ProcessConnections, RawBuf, RecvComm,
    SendComm, connections, read_connections, serve_connections,
};

const PATIENCE: Duration = Duration::from_secs(60);
const PATHS: usize = 3;
const LEN: usize = 1 << 20;
const MESSAGES: usize = 20;

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within a minute");
        std::thread::yield_now();
    }
}

struct Pair {
    send: SendComm,
    receive: RecvComm,
    _listener: Listener,
}

fn pair() -> Pair {
    let config = Config { paths: PATHS, ..Config::default() };
    let mut listener = Listener::bind("::1".parse().unwrap(), None, &config).unwrap();
    let mut connector = Connector::new(listener.address(), None, Lane::unpinned(PATHS), &config).unwrap();
    let send = until("connection", || connector.poll().unwrap());
    let receive = until("connection", || listener.accept().unwrap());
    Pair { send, receive, _listener: listener }
}

fn transfer(pair: &mut Pair) {
    let (mut from, mut to) = (vec![1; LEN], vec![0; LEN]);
    for _ in 0..MESSAGES {
        // SAFETY: the vector outlives the request, and only that has it.
        let source = unsafe { RawBuf::new(from.as_mut_ptr(), LEN) };
        // SAFETY: as above.
        let target = unsafe { RawBuf::new(to.as_mut_ptr(), LEN) };
        let sending = until("request", || pair.send.post(source).unwrap());
        let receiving = pair.receive.post(target).unwrap().unwrap();
        let (mut sent, mut received) = (false, false);
        until("message", || {
            sent = sent || pair.send.test(sending).unwrap().is_some();
            received = received || pair.receive.test(receiving).unwrap().is_some();
            (sent && received).then_some(())
        });
    }
}

/// What this process tells, and that nobody else tells anything.
fn told() -> Option<ProcessConnections> {
    let host = read_connections(PATIENCE).unwrap();
    assert!(host.unread.is_empty() && host.processes.len() <= 1, "{host:?}");
    let told = host.processes.into_iter().next()?;
    assert_eq!(told.pid, std::process::id());
    Some(told)
}

fn names() -> usize {
    std::fs::read_to_string("/proc/net/unix").unwrap().matches("@srv6/connections/").count()
}

/// Threads of this process that answer.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.trim() == "srv6-stats")
        .count()
}

/// What is told of a connection that rests is what the process itself sees.
fn check(told: &ConnectionStats, bytes: usize) {
    assert_eq!(told.subflows.len(), PATHS);
    let here = connections().into_iter().find(|here| here.direction == told.direction).unwrap();
    for (told, here) in told.subflows.iter().zip(&here.subflows) {
        assert_eq!((told.index, &told.path, told.state), (here.index, &here.path, here.state));
        assert_eq!((told.bytes, told.changes, told.chunks), (here.bytes, here.changes, here.chunks));
        assert_eq!((told.local, told.peer, told.tcp.is_some()), (here.local, here.peer, here.tcp.is_some()));
    }
    let all: u64 = told.subflows.iter().map(|subflow| subflow.bytes).sum();
    let shares: f64 = told.subflows.iter().map(|subflow| subflow.share).sum();
    // What went twice, because a path was slow with it, counts twice where it was sent.
    let twice = told.direction == Direction::Send && told.subflows.iter().any(|s| s.reissued + s.hedged > 0);
    assert!(all == bytes as u64 || twice && all > bytes as u64, "{told:?}");
    assert!((shares - 1.0).abs() < 1e-9, "{told:?}");
}

#[test]
fn connections_are_told_while_they_live_and_never_by_a_child_of_fork() {
    // Not asked for: not told.
    let silent = pair();
    assert!(told().is_none() && threads() == 0);
    drop(silent);

    serve_connections();
    let mut first = pair();
    transfer(&mut first);
    let number = first.send.connection();
    let all = told().unwrap().connections;
    assert_eq!(all.iter().map(|c| c.connection).collect::<Vec<_>>(), [number; 2]);
    for direction in [Direction::Send, Direction::Receive] {
        check(all.iter().find(|told| told.direction == direction).unwrap(), MESSAGES * LEN);
    }
    let second = pair();
    assert_eq!(told().unwrap().connections.len(), 4);
    assert_eq!((names(), threads()), (1, 1), "one for all connections");

    let (mut here, mut there) = UnixStream::pair().unwrap();
    srv6_transport::before_fork();
    // SAFETY: the child uses what a forked child may use here: no other thread is in the allocator.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        srv6_transport::after_fork_in_child();
        drop(here);
        // Copies of the parent's: their end must not be that of the parent's service.
        drop((first, second));
        there.write_all(b"x").unwrap();
        // Until the parent has seen enough.
        let _ = there.read(&mut [0]);
        // SAFETY: ends this process, and nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    srv6_transport::after_fork_in_parent();
    drop(there);
    here.read_exact(&mut [0]).unwrap();
    assert_eq!(told().unwrap().connections.len(), 4, "the parent tells on");
    drop((first, second));
    until("end of the service, although the child lives", || (names() == 0 && threads() == 0).then_some(()));

    let third = pair();
    assert_eq!(told().unwrap().connections.len(), 2, "the next connection is told again");
    drop((third, here));
    let mut status = 0;
    // SAFETY: `status` is where the kernel writes.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
}
