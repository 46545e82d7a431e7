//! Connections leave no file descriptor and no memory behind. Alone in its process, which has one of each.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::time::{Duration, Instant};

use srv6_transport::{Config, Connector, Lane, Listener, RawBuf};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until so many are open: the thread that looks after senders may have the last one for a moment longer.
fn await_descriptors(wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while open_descriptors() != wanted {
        assert!(Instant::now() < deadline, "{} descriptors, want {wanted}", open_descriptors());
        std::thread::yield_now();
    }
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let config = Config { paths: 4, ..Config::default() };
    let before = open_descriptors();
    let mut memory = vec![0_u8; 1 << 20];
    let mut settled = 0;
    for round in 0..10_000 {
        if round == 1000 {
            settled = resident();
        }
        let mut listener = Listener::bind("127.0.0.1".parse().unwrap(), None, &config).unwrap();
        let mut connector = Connector::new(listener.address(), None, Lane::unpinned(4), &config).unwrap();
        let mut send = loop {
            if let Some(comm) = connector.poll().unwrap() {
                break comm;
            }
        };
        // SAFETY: the comm is dropped before the memory, which nobody else uses.
        let buffer = unsafe { RawBuf::new(memory.as_mut_ptr(), memory.len()) };
        // By turns: never accepted; accepted and idle; requests outstanding on both sides.
        if round % 3 > 0 {
            let mut receive = loop {
                if let Some(comm) = listener.accept().unwrap() {
                    break comm;
                }
            };
            // The listener; on both sides four subflows and what polls them; where replacements come in.
            await_descriptors(before + 12);
            if round % 3 > 1 {
                let sent = loop {
                    if let Some(request) = send.post(buffer).unwrap() {
                        break request;
                    }
                };
                send.test(sent).unwrap();
                let other = &mut vec![0_u8; 1 << 20];
                // SAFETY: the comm is dropped at the end of this block, before the memory.
                let other = unsafe { RawBuf::new(other.as_mut_ptr(), other.len()) };
                receive.post(other).unwrap().unwrap();
            }
            drop(receive);
        }
    }
    await_descriptors(before);
    let grown = resident().saturating_sub(settled);
    assert!(grown < 4 << 20, "{grown} bytes more than after 1000 connections");
    assert!(srv6_transport::connections().is_empty());
    drop(memory);
}
