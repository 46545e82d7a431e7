//! The protocol's bytes, written by hand from the layouts in the documentation.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use srv6_transport::{Error, Listener, RecvComm, VERSION};

use crate::pair::{V4, listen, paths_of, post, raw, settle, until};

pub(crate) fn hello(version: u16, paths: u8, index: u8, connection: u64) -> Vec<u8> {
    let mut bytes = 0x5352_7636_4e65_7401_u64.to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend([paths, index, 0, 0, 0, 0]);
    bytes.extend(connection.to_be_bytes());
    bytes.resize(64, 0);
    bytes
}

/// `number` is the chunk's place in its message.
pub(crate) fn chunk(message: u64, number: u32, offset: u64, payload: &[u8], total: u64) -> Vec<u8> {
    let mut bytes = vec![0, 2, 0, 0];
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    for field in [message, offset, total] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(number.to_be_bytes());
    bytes.resize(64, 0);
    bytes.extend(payload);
    bytes
}

/// Hand-made subflows of one connection, and the comm they lead to.
fn hand_made(paths: u8) -> (Vec<TcpStream>, RecvComm) {
    named(paths, "")
}

/// The same, all of them over a path of this name.
pub(crate) fn named(paths: u8, path: &str) -> (Vec<TcpStream>, RecvComm) {
    // The tests of one process run at once, and a process takes no connection twice.
    static CONNECTIONS: AtomicU64 = AtomicU64::new(77);
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let mut listener: Listener = listen(V4, &paths_of(8));
    let target: SocketAddr = listener.address().socket();
    let streams: Vec<_> = (0..paths)
        .map(|index| {
            let mut stream = TcpStream::connect(target).unwrap();
            stream.set_nodelay(true).unwrap();
            let mut hello = hello(VERSION, paths, index, connection);
            hello[14] = path.len().try_into().unwrap();
            hello.splice(32.., path.bytes());
            hello.resize(hello.len().next_multiple_of(64), 0);
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    let comm = until("connection", || listener.accept().unwrap());
    assert_eq!(comm.connection(), connection);
    (streams, comm)
}

#[test]
fn chunks_may_come_in_any_order_on_any_subflow() {
    let (mut streams, mut comm) = hand_made(3);
    streams[2].write_all(&chunk(0, 1, 4, b"quick ", 19)).unwrap();
    streams[2].write_all(&chunk(1, 0, 0, b"", 0)).unwrap();
    streams[0].write_all(&chunk(0, 2, 10, b"brown fox", 19)).unwrap();
    let (mut to, mut empty) = (vec![0; 30], vec![0; 5]);
    let first = post(|| comm.post(raw(&mut to)));
    let second = post(|| comm.post(raw(&mut empty)));
    for _ in 0..100 {
        assert_eq!(comm.test(second).unwrap(), None, "not before the first");
    }
    let last = chunk(0, 0, 0, b"the ", 19);
    for byte in last {
        streams[1].write_all(&[byte]).unwrap();
        comm.test(first).ok().flatten();
        if comm.stats().subflows.iter().map(|s| s.bytes).sum::<u64>() == 19 {
            break;
        }
    }
    assert_eq!(settle(|| comm.test(second)).unwrap(), 0);
    assert_eq!(&to[..19], b"the quick brown fox");
}

#[test]
fn a_peer_that_breaks_the_protocol_is_named() {
    let cases = [
        (
            b"GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: something else\r\n\r\n".to_vec(),
            "kind 0x4745",
        ),
        (chunk(0, 0, 8, b"xyz", 10), "3 bytes at 8"),
        ([chunk(0, 0, 0, b"abc", 10), chunk(0, 1, 3, b"abc", 11)].concat(), "an earlier chunk said 10"),
    ];
    for (bytes, wanted) in cases {
        let (mut streams, mut comm) = hand_made(1);
        streams[0].write_all(&bytes).unwrap();
        let mut to = vec![0; 100];
        let request = post(|| comm.post(raw(&mut to)));
        let error = settle(|| comm.test(request)).unwrap_err();
        let Error::Protocol { source, peer, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(source.to_string().contains(wanted), "{source}");
        assert_eq!(*peer, streams[0].local_addr().unwrap());
        assert!(error.is_remote());
    }
}

#[test]
fn a_chunk_that_comes_twice_counts_once() {
    let (mut streams, mut comm) = hand_made(2);
    let (mut to, mut next) = (vec![0; 10], vec![0; 10]);
    let request = post(|| comm.post(raw(&mut to)));
    let second = post(|| comm.post(raw(&mut next)));
    streams[0].write_all(&chunk(0, 0, 0, b"twice", 10)).unwrap();
    streams[1].write_all(&chunk(0, 0, 0, b"TWICE", 10)).unwrap();
    for _ in 0..100 {
        assert_eq!(comm.test(request).unwrap(), None, "half of it is missing");
    }
    streams[1].write_all(&chunk(0, 1, 5, b"thing", 10)).unwrap();
    assert_eq!(settle(|| comm.test(request)).unwrap(), 10);
    to.make_ascii_lowercase();
    assert_eq!(to, b"twicething");
    // A copy of what is done touches nothing any more.
    to.fill(b'-');
    streams[0].write_all(&chunk(0, 1, 5, b"THING", 10)).unwrap();
    streams[0].write_all(&chunk(1, 0, 0, b"after", 5)).unwrap();
    assert_eq!(settle(|| comm.test(second)).unwrap(), 5);
    assert_eq!((&to[..], &next[..5]), (&b"----------"[..], &b"after"[..]));
    assert_eq!(comm.stats().subflows.iter().map(|s| s.duplicates).sum::<u64>(), 2);
}

#[test]
fn a_subflow_whose_receive_was_posted_meanwhile_counts() {
    let (mut streams, mut comm) = hand_made(2);
    let [mut a, mut b, mut c] = [[0; 5]; 3];
    let first = post(|| comm.post(raw(&mut a)));
    let second = post(|| comm.post(raw(&mut b)));
    streams[1].write_all(&chunk(2, 0, 0, b"third", 5)).unwrap();
    for _ in 0..100 {
        assert_eq!(comm.test(first).unwrap(), None);
    }
    let (message, next) = (chunk(1, 0, 0, b"other", 5), chunk(4, 0, 0, b"fifth", 5));
    streams[0].write_all(&chunk(0, 0, 0, b"", 0)).unwrap();
    streams[0].write_all(&message[..40]).unwrap();
    assert_eq!(settle(|| comm.test(first)).unwrap(), 0);
    for _ in 0..100 {
        assert_eq!(comm.test(second).unwrap(), None);
    }
    // One read completes the second message and takes subflow 0 to the fifth, so this call need not
    // look at subflow 1, which still stands where the third was not posted.
    streams[0].write_all(&[&message[40..], &next].concat()).unwrap();
    let third = post(|| comm.post(raw(&mut c)));
    assert_eq!(settle(|| comm.test(second)).unwrap(), 5);
    assert_eq!(settle(|| comm.test(third)).unwrap(), 5);
    assert_eq!((&b, &c), (b"other", b"third"));
}

#[test]
fn one_subflow_s_end_is_no_error_while_another_brings_the_rest() {
    let (mut streams, mut comm) = hand_made(2);
    let mut to = vec![0; 10];
    let request = post(|| comm.post(raw(&mut to)));
    drop(streams.remove(0));
    for _ in 0..100 {
        assert_eq!(comm.test(request).unwrap(), None);
    }
    streams[0].write_all(&chunk(0, 0, 0, b"all", 3)).unwrap();
    assert_eq!(settle(|| comm.test(request)).unwrap(), 3);
    let request = post(|| comm.post(raw(&mut to)));
    drop(streams);
    assert!(matches!(settle(|| comm.test(request)).unwrap_err(), Error::PeerClosed { .. }));
}
