//! A connection that is set up allocates nothing more, however many messages it carries.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use srv6_transport::{Config, Congestion, Connector, Lane, Listener, RawBuf, RecvComm, SendComm};

/// The system's allocator, counting per thread.
#[derive(Debug)]
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged, which keeps GlobalAlloc's contract. Counting needs
// no allocation: the cell is constant-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract, passed on.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract, passed on.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn connect(paths: usize, zero_copy: bool) -> (SendComm, RecvComm) {
    // With BBR, which may be the host's, all is copied.
    let congestion = Some(Congestion::named("reno").unwrap());
    let config = Config { paths, zero_copy, congestion, ..Config::default() };
    let mut listener = Listener::bind("::1".parse().unwrap(), None, &config).unwrap();
    let mut connector = Connector::new(listener.address(), None, Lane::unpinned(paths), &config).unwrap();
    let (mut send, mut receive) = (None, None);
    while send.is_none() || receive.is_none() {
        if send.is_none() {
            send = connector.poll().unwrap();
        }
        if receive.is_none() {
            receive = listener.accept().unwrap();
        }
    }
    (send.unwrap(), receive.unwrap())
}

/// How often the state of a subflow has changed.
fn changes(send: &SendComm, receive: &RecvComm) -> u64 {
    let subflows = send.stats().subflows.into_iter().chain(receive.stats().subflows);
    subflows.map(|subflow| subflow.changes).sum()
}

fn exchange(send: &mut SendComm, receive: &mut RecvComm, from: &mut [u8], to: &mut [u8]) {
    // SAFETY: both live and are left alone until both requests are done.
    let [from, to] = unsafe { [from, to].map(|memory| RawBuf::new(memory.as_mut_ptr(), memory.len())) };
    let received = receive.post(to).unwrap().unwrap();
    // The thread that looks after senders may be at this one.
    let sent = loop {
        if let Some(request) = send.post(from).unwrap() {
            break request;
        }
    };
    let (mut is_sent, mut is_received) = (false, false);
    while !is_sent || !is_received {
        is_sent = is_sent || send.test(sent).unwrap().is_some();
        is_received = is_received || receive.test(received).unwrap().is_some();
    }
}

#[test]
fn messages_allocate_nothing() {
    for (paths, zero_copy) in [(1, true), (4, true), (1, false), (4, false)] {
        let (mut send, mut receive) = connect(paths, zero_copy);
        // The first long message opens a pipe for those of all connections.
        exchange(&mut send, &mut receive, &mut vec![7; 1 << 20], &mut vec![0; 1 << 20]);
        // Without bytes, copied at once, waiting for the receiver, in several chunks.
        for len in [0, 8, 8 << 10, 9 << 10, 300_000, 3 << 20] {
            let (mut from, mut to) = (vec![7_u8; len], vec![0_u8; len]);
            // On a machine that is busy enough a path is suspected without a reason, and replaced: then once more.
            let undisturbed = (0..20).any(|_| {
                let changes = changes(&send, &receive);
                let before = ALLOCATIONS.get();
                for _ in 0..if len > 1 << 20 { 100 } else { 1000 } {
                    exchange(&mut send, &mut receive, &mut from, &mut to);
                }
                let allocations = ALLOCATIONS.get() - before;
                assert!(from == to);
                let undisturbed = self::changes(&send, &receive) == changes;
                assert!(
                    allocations == 0 || !undisturbed,
                    "{allocations}: {paths} paths, zero_copy {zero_copy}, {len} bytes"
                );
                undisturbed
            });
            assert!(
                undisturbed,
                "{paths} paths, zero_copy {zero_copy}, {len} bytes: none of 20 rounds was without a suspicion"
            );
        }
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    let mut vector = std::hint::black_box(vec![1_u8]);
    vector.reserve(1000);
    assert_eq!(ALLOCATIONS.get() - before, 2);
}
