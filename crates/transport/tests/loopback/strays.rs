//! Connections that aren't ours, or not whole, beside real ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use srv6_transport::{Config, Error, ListenAddress, Listener, SendComm, Terms, VERSION};

use crate::pair::{V4, V6, connect, connector, listen, paths_of, pattern, post, raw, settle, until};
use crate::wire::hello;

fn impatient(handshake: u64, connect: u64) -> Config {
    Config {
        paths: 2,
        handshake_timeout: Duration::from_millis(handshake),
        connect_timeout: Duration::from_millis(connect),
        ..Config::default()
    }
}

fn stray(target: SocketAddr, says: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(target).unwrap();
    stream.write_all(says).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Waits for the listener to close a stray; gives what the stray was told.
fn dropped(listener: &mut Listener, stray: &mut TcpStream) -> Vec<u8> {
    let mut told = Vec::new();
    until("end of a stray", || {
        assert!(listener.accept().unwrap().is_none());
        match stray.read_to_end(&mut told) {
            Ok(_) => Some(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(()),
            Err(error) => panic!("{error}"),
        }
    });
    told
}

#[test]
fn strays_hold_up_no_connection() {
    let config = paths_of(4);
    for address in [V4, V6] {
        let mut listener = listen(address, &config);
        let target = listener.address().socket();
        let mut strays = Vec::new();
        for n in 0..300 {
            let says: &[u8] = match n % 5 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                2 => b"\0\0\0",
                3 => &hello(VERSION, 4, 1, n)[..17],
                _ => &hello(VERSION, 4, 1, n),
            };
            strays.push(stray(target, says));
            if n % 7 == 0 {
                strays.pop();
            }
            if n % 100 == 50 {
                let mut pair = connect(&mut listener, &config);
                let message = pattern(7, 100_000);
                assert!(pair.transfer(&message, message.len()) == message);
            }
        }
        let mut pair = connect(&mut listener, &config);
        assert_eq!(pair.transfer(b"after all", 9), b"after all");
    }
}

#[test]
fn silence_and_half_a_hello_are_dropped_after_a_time() {
    let mut listener = listen(V4, &impatient(200, 60_000));
    let target = listener.address().socket();
    for says in [&b""[..], &hello(VERSION, 2, 0, 5)[..31]] {
        let mut stray = stray(target, says);
        let began = Instant::now();
        assert!(dropped(&mut listener, &mut stray).is_empty());
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(150), "{took:?}: too early");
    }
}

#[test]
fn other_protocols_are_dropped_at_once() {
    let mut listener = listen(V4, &impatient(60_000, 60_000));
    let mut stray = stray(listener.address().socket(), b"SSH-2.0-OpenSSH_9.2\r\n");
    assert!(dropped(&mut listener, &mut stray).is_empty());
}

#[test]
fn a_connection_of_which_a_subflow_is_missing_begins_without_it_after_a_time() {
    let mut listener = listen(V4, &Config { partial_after: Duration::from_millis(200), ..paths_of(2) });
    let target = listener.address().socket();
    let began = Instant::now();
    let mut half = stray(target, &hello(VERSION, 2, 1, 5));
    // Given up by its connector: not worth a comm.
    drop(stray(target, &hello(VERSION, 2, 1, 6)));
    let mut given = Vec::new();
    until("half a connection", || {
        let comm = listener.accept().unwrap()?;
        given.push((
            comm.connection(),
            comm.stats().subflows.iter().map(|s| s.tcp.is_some()).collect::<Vec<_>>(),
        ));
        Some(())
    });
    let took = began.elapsed();
    assert_eq!(given, [(5, vec![false, true])]);
    assert!(took >= Duration::from_millis(280), "{took:?}: too early");
    assert!(half.read(&mut [0; 8]).is_ok(), "told where replacements go, then closed");
    for _ in 0..1000 {
        assert!(listener.accept().unwrap().is_none());
    }
}

#[test]
fn a_subflow_that_comes_too_late_is_refused() {
    let mut listener = listen(V4, &Config { partial_after: Duration::from_millis(10), ..paths_of(2) });
    let target = listener.address().socket();
    let _half = stray(target, &hello(VERSION, 2, 1, 5));
    let comm = until("half a connection", || listener.accept().unwrap());
    let mut late = stray(target, &hello(VERSION, 2, 0, 5));
    assert_eq!(dropped(&mut listener, &mut late), refusal(2, 5));
    assert_eq!(comm.stats().subflows.len(), 2);
}

/// What a listener with 2 subflows says to a connection: why not, and its name.
fn refusal(objection: u8, connection: u64) -> Vec<u8> {
    let mut bytes = 0x5352_7636_4e6f_2101_u64.to_be_bytes().to_vec();
    bytes.extend([0, 4, 2, objection, 0, 0, 0, 0]);
    bytes.extend(connection.to_be_bytes());
    bytes.resize(64, 0);
    bytes
}

#[test]
fn contradictions_are_refused_and_the_rest_goes_on() {
    let mut listener = listen(V4, &paths_of(2));
    let target = listener.address().socket();
    let _first = stray(target, &hello(VERSION, 2, 0, 5));
    for (says, objection) in [
        (hello(VERSION + 1, 2, 1, 5), 0),
        (hello(VERSION, 3, 1, 5), 0),
        (hello(VERSION, 1, 0, 5), 3),
        (hello(VERSION, 2, 2, 5), 1),
        (hello(VERSION, 2, 0, 5), 2),
    ] {
        let mut stray = stray(target, &says);
        assert_eq!(dropped(&mut listener, &mut stray), refusal(objection, 5), "{says:?}");
    }
    let _second = stray(target, &hello(VERSION, 2, 1, 5));
    let comm = until("connection", || listener.accept().unwrap());
    assert_eq!((comm.connection(), comm.stats().subflows.len()), (5, 2));
}

/// Sends until it fails.
fn refused(mut send: SendComm) -> Error {
    let mut message = pattern(1, 1 << 20);
    until("refusal", || match send.post(raw(&mut message)) {
        Ok(request) => settle(|| send.test(request.unwrap())).err(),
        Err(error) => Some(error),
    })
}

#[test]
fn a_refused_sender_learns_what_the_listener_speaks() {
    // An address that promises more subflows than its listener takes.
    let mut listener = listen(V6, &paths_of(2));
    let lie = ListenAddress::new(listener.address().socket(), 8);
    let mut connector = connector(lie, &paths_of(8));
    let send = until("connection", || connector.poll().unwrap());
    for _ in 0..20 {
        assert!(listener.accept().unwrap().is_none());
    }
    let error = refused(send);
    match &error {
        Error::Refused { peer, ours, theirs, .. } => {
            assert_eq!(*peer, listener.address().socket());
            assert_eq!((ours.terms.paths, theirs.terms.paths), (8, 2));
        }
        other => panic!("{other:?}"),
    }
    let text = error.to_string();
    for wanted in ["it has version 4 with 2 subflows", "we have version 4 with 8 subflows, connection "] {
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn a_listener_of_another_version_is_named() {
    let other = TcpListener::bind((V4, 0)).unwrap();
    let target = ListenAddress::new(other.local_addr().unwrap(), 1);
    let mut connector = connector(target, &paths_of(1));
    let send = until("connection", || connector.poll().unwrap());
    let (mut stream, _) = other.accept().unwrap();
    let mut said = [0; 32];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(said[..12], hello(VERSION, 1, 0, 0)[..12]);
    let refusal = [&0x5352_7636_4e6f_2101_u64.to_be_bytes()[..], &[0, 9, 4, 0, 0, 0, 0, 0]].concat();
    stream.write_all(&refusal).unwrap();
    drop(stream);
    match refused(send) {
        Error::Refused { theirs, .. } => assert_eq!(theirs.terms, Terms { version: 9, paths: 4 }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_given_up_does_not_reach_the_next_accept_half() {
    let config = paths_of(4);
    let mut listener = listen(V4, &config);
    for _ in 0..20 {
        // Dropped without being polled to its end, or after one poll.
        connector(listener.address(), &config).poll().unwrap();
    }
    let mut given = 0;
    until("the given-up connections", || {
        if listener.accept().unwrap().is_some_and(|comm| comm.stats().subflows.len() == 4) {
            given += 1;
        }
        // On loopback one poll connects, so each is whole: it ends when it is used.
        (given == 20).then_some(())
    });
    let mut comm = connect(&mut listener, &config).receive;
    let mut to = vec![0; 4];
    let request = post(|| comm.post(raw(&mut to)));
    assert!(settle(|| comm.test(request)).is_err(), "its sender is gone");
}
