//! Where no pipe can be opened long messages are copied. Alone in its process, whose limit it lowers.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use srv6_transport::{Config, Congestion, Connector, Lane, Listener, RawBuf};

#[test]
fn without_descriptors_for_a_pipe_messages_are_copied() {
    let congestion = Some(Congestion::named("reno").unwrap());
    let config = Config { paths: 2, congestion, ..Config::default() };
    let mut listener = Listener::bind("::1".parse().unwrap(), None, &config).unwrap();
    let mut connector = Connector::new(listener.address(), None, Lane::unpinned(2), &config).unwrap();
    let mut send = loop {
        if let Some(comm) = connector.poll().unwrap() {
            break comm;
        }
    };
    let mut receive = loop {
        if let Some(comm) = listener.accept().unwrap() {
            break comm;
        }
    };
    // The lowest number that is free is the one that the next descriptor would have.
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(next).unwrap(), most).unwrap();
    assert!(std::fs::File::open("/dev/null").is_err());

    let mut from: Vec<u8> = (0..=250).cycle().take(200 << 10).collect();
    let mut to = vec![0; from.len()];
    for round in 0..3 {
        from.fill(round);
        // SAFETY: the vector outlives the comm; nobody else uses it until the request is done.
        let out = unsafe { RawBuf::new(from.as_mut_ptr(), from.len()) };
        // SAFETY: as above.
        let into = unsafe { RawBuf::new(to.as_mut_ptr(), to.len()) };
        let sent = send.post(out).unwrap().unwrap();
        let received = receive.post(into).unwrap().unwrap();
        let (mut is_sent, mut is_received) = (false, false);
        while !is_sent || !is_received {
            is_sent = is_sent || send.test(sent).unwrap().is_some();
            is_received = is_received || receive.test(received).unwrap().is_some();
        }
        assert!(to == from);
    }
}
