//! A child of fork that sends long messages of its own does nothing to its parent's. Alone in its process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

use std::time::{Duration, Instant};

use srv6_transport::{Config, Congestion, Connector, Lane, Listener, RawBuf, RecvComm, SendComm};

const MESSAGE: usize = 1 << 20;

fn pair() -> (SendComm, RecvComm) {
    let congestion = Some(Congestion::named("reno").unwrap());
    let config = Config { paths: 2, congestion, ..Config::default() };
    let mut listener = Listener::bind("::1".parse().unwrap(), None, &config).unwrap();
    let mut connector = Connector::new(listener.address(), None, Lane::unpinned(2), &config).unwrap();
    let (mut send, mut receive) = (None, None);
    while send.is_none() || receive.is_none() {
        send = send.or_else(|| connector.poll().unwrap());
        receive = receive.or_else(|| listener.accept().unwrap());
    }
    (send.unwrap(), receive.unwrap())
}

/// Sends messages for a time; says whether all came as they were sent.
fn exchange((send, receive): &mut (SendComm, RecvComm), seed: u8, time: Duration) -> bool {
    let (mut from, mut to) = (vec![0; MESSAGE], vec![0; MESSAGE]);
    let since = Instant::now();
    let mut round = seed;
    while since.elapsed() < time {
        round = round.wrapping_add(2);
        from.fill(round);
        // SAFETY: the vectors live, and are left alone, until both requests are done.
        let buffers =
            unsafe { [(&mut from), (&mut to)].map(|place| RawBuf::new(place.as_mut_ptr(), MESSAGE)) };
        let sent = send.post(buffers[0]).unwrap().unwrap();
        let received = receive.post(buffers[1]).unwrap().unwrap();
        let (mut is_sent, mut is_received) = (false, false);
        while !is_sent || !is_received {
            is_sent = is_sent || send.test(sent).unwrap().is_some();
            is_received = is_received || receive.test(received).unwrap().is_some();
        }
        if to != from {
            return false;
        }
    }
    true
}

#[test]
fn parent_and_child_send_at_the_same_time() {
    let mut ours = pair();
    assert!(exchange(&mut ours, 0, Duration::from_millis(100)));
    srv6_transport::before_fork();
    // SAFETY: the child uses what a forked child may use here: no other thread is in the allocator.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        srv6_transport::after_fork_in_child();
        let good = exchange(&mut pair(), 1, Duration::from_millis(500));
        // SAFETY: ends this process, and nothing of the parent's.
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    srv6_transport::after_fork_in_parent();
    assert!(exchange(&mut ours, 0, Duration::from_millis(500)));
    let mut status = 0;
    // SAFETY: `status` is where the kernel writes.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
}
