//! Two ends in one test, and memory to send from and receive into.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use srv6_transport::{
    Config, Connector, Lane, ListenAddress, Listener, RawBuf, RecvComm, RequestId, Result, SendComm,
};

pub(crate) const V4: &str = "127.0.0.1";
pub(crate) const V6: &str = "::1";

/// A connected pair of ends.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) send: SendComm,
    pub(crate) receive: RecvComm,
}

impl Pair {
    pub(crate) fn new(address: &str, paths: usize) -> Pair {
        let config = paths_of(paths);
        let mut listener = listen(address, &config);
        connect(&mut listener, &config)
    }

    /// Sends one message from start to end.
    pub(crate) fn transfer(&mut self, message: &[u8], capacity: usize) -> Vec<u8> {
        let (mut from, mut to) = (message.to_vec(), vec![0xee; capacity]);
        let received = post(|| self.receive.post(raw(&mut to)));
        let sent = post(|| self.send.post(raw(&mut from)));
        let (mut sent_len, mut len) = (None, None);
        until("message", || {
            sent_len = sent_len.or_else(|| self.send.test(sent).unwrap());
            len = len.or_else(|| self.receive.test(received).unwrap());
            sent_len.and(len)
        });
        assert_eq!(sent_len, Some(message.len()));
        let len = len.unwrap();
        assert!(to[len..].iter().all(|byte| *byte == 0xee), "beyond the end");
        to.truncate(len);
        to
    }
}

pub(crate) fn paths_of(paths: usize) -> Config {
    Config { paths, ..Config::default() }
}

pub(crate) fn listen(address: &str, config: &Config) -> Listener {
    let address: IpAddr = address.parse().unwrap();
    Listener::bind(address, None, config).unwrap()
}

pub(crate) fn connector(target: ListenAddress, config: &Config) -> Connector {
    // Through bytes, as the address travels in an NCCL handle.
    let target = ListenAddress::decode(&target.encode()).unwrap();
    Connector::new(target, Some(target.socket().ip()), Lane::unpinned(config.paths), config).unwrap()
}

/// Connects and accepts by turns, in one thread.
pub(crate) fn connect(listener: &mut Listener, config: &Config) -> Pair {
    let connector = connector(listener.address(), config);
    accept(listener, connector)
}

/// The same with a connector that was made before.
pub(crate) fn accept(listener: &mut Listener, mut connector: Connector) -> Pair {
    let (mut send, mut receive) = (None, None);
    until("connection", || {
        if send.is_none() {
            send = connector.poll().unwrap();
        }
        if receive.is_none() {
            receive = listener.accept().unwrap();
        }
        (send.is_some() && receive.is_some()).then_some(())
    });
    let pair = Pair { send: send.unwrap(), receive: receive.unwrap() };
    assert_eq!(pair.send.connection(), pair.receive.connection());
    pair
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within a minute");
        std::thread::yield_now();
    }
}

/// Tests until there is a result other than "not yet".
pub(crate) fn settle(mut test: impl FnMut() -> Result<Option<usize>>) -> Result<usize> {
    until("result", || test().transpose())
}

/// The test keeps `bytes` alive and alone while a request has them.
pub(crate) fn raw(bytes: &mut [u8]) -> RawBuf {
    // SAFETY: RawBuf's contract, which every caller in these tests keeps: the vector lives, and isn't
    // looked at, until the request is done or its comm is dropped.
    unsafe { RawBuf::new(bytes.as_mut_ptr(), bytes.len()) }
}

/// Bytes that show when one is in the wrong place or from the wrong message.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = vec![0; len];
    for part in bytes.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        part.copy_from_slice(&state.to_le_bytes()[..part.len()]);
    }
    bytes
}

/// Posts until it is taken: the thread that looks after senders may be at this one.
pub(crate) fn post(mut post: impl FnMut() -> Result<Option<RequestId>>) -> RequestId {
    until("request", || post().unwrap())
}
