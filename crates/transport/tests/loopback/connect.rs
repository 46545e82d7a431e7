//! Connects that fail, wait or are given up.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use srv6_transport::{Config, Connector, Error, Lane, ListenAddress, Listener};

use crate::pair::{V4, V6, connect, connector, listen, paths_of, pattern, until};

fn impatient(paths: usize) -> Config {
    Config { paths, connect_timeout: Duration::from_millis(300), ..Config::default() }
}

/// Polls until the error, and says how long that took and which poll took longest.
fn fail(connector: &mut Connector) -> (Error, Duration, Duration) {
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    let error = until("error", || {
        let call = Instant::now();
        let result = connector.poll();
        longest = longest.max(call.elapsed());
        assert!(!matches!(result, Ok(Some(_))), "connected");
        result.err()
    });
    (error, began.elapsed(), longest)
}

#[test]
fn a_target_that_refuses_is_tried_until_the_time_is_over() {
    for address in [V4, V6] {
        let closed = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap();
        let target = ListenAddress::new(closed, 8);
        let mut connector = Connector::new(target, None, Lane::unpinned(3), &impatient(3)).unwrap();
        let (error, took, _) = fail(&mut connector);
        match &error {
            Error::Connect { target, attempts, source: Some(source), .. } => {
                assert_eq!(*target, closed);
                assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
                assert!((3..20).contains(attempts), "{attempts} attempts in 300 ms");
            }
            other => panic!("{other:?}"),
        }
        assert!(took >= Duration::from_millis(300), "{took:?}");
        let again = connector.poll().unwrap_err();
        assert_eq!(again.to_string(), error.to_string(), "every later call says the same");
    }
}

#[test]
fn a_missing_route_is_waited_for() {
    // The test's network namespace has the loopback device and no default route.
    let target = ListenAddress::new("203.0.113.9:7000".parse().unwrap(), 2);
    let mut connector = Connector::new(target, None, Lane::unpinned(2), &impatient(2)).unwrap();
    let (error, ..) = fail(&mut connector);
    match error {
        Error::Connect { source: Some(source), attempts, .. } => {
            assert_eq!(source.kind(), io::ErrorKind::NetworkUnreachable);
            assert!(attempts >= 3, "{attempts}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_target_that_does_not_answer_blocks_no_call() {
    // A backlog that is full: the kernel drops further SYNs.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let target = full.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..8 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        filler.connect(&target.into()).ok();
        fillers.push(filler);
    }
    assert!(fillers.iter().any(|f| f.peer_addr().is_err()), "not full");
    let target = ListenAddress::new(target, 4);
    let mut connector = Connector::new(target, None, Lane::unpinned(4), &impatient(4)).unwrap();
    let (error, took, longest) = fail(&mut connector);
    match error {
        Error::Connect { source: None, attempts, waited, .. } => {
            assert!((1..4).contains(&attempts), "{attempts}");
            assert!(waited >= Duration::from_millis(300));
        }
        other => panic!("{other:?}"),
    }
    assert!(took < Duration::from_secs(5) && longest < Duration::from_millis(200), "{longest:?}");
}

#[test]
fn a_listener_that_comes_late_is_found() {
    let config = paths_of(4);
    let closed = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    let any: SocketAddr = "[::1]:0".parse().unwrap();
    closed.bind(&any.into()).unwrap();
    let target = closed.local_addr().unwrap().as_socket().unwrap();
    let mut connector =
        Connector::new(ListenAddress::new(target, 4), None, Lane::unpinned(4), &config).unwrap();
    for _ in 0..10 {
        assert!(connector.poll().unwrap().is_none());
    }
    closed.listen(16).unwrap();
    until("connection", || connector.poll().unwrap());
}

#[test]
fn many_polls_of_several_connects_do_no_harm() {
    let config = paths_of(2);
    let mut listener = listen(V4, &config);
    let mut connectors: Vec<_> = (0..4).map(|_| connector(listener.address(), &config)).collect();
    for connector in &mut connectors {
        until("connection", || connector.poll().unwrap());
        match connector.poll() {
            Err(Error::Spent { target }) => assert_eq!(target, listener.address().socket()),
            other => panic!("{other:?}"),
        }
    }
    let ids: Vec<_> =
        (0..4).map(|_| until("connection", || listener.accept().unwrap()).connection()).collect();
    let different: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(different.len(), 4);
    for _ in 0..100_000 {
        assert!(listener.accept().unwrap().is_none());
    }
    connect(&mut listener, &config);
}

#[test]
fn subflows_leave_from_the_source_address() {
    let config = paths_of(3);
    let mut listener = listen(V4, &config);
    let source = "127.0.0.77".parse().unwrap();
    let lanes = Lane::unpinned(3);
    let mut connector = Connector::new(listener.address(), Some(source), lanes, &config).unwrap();
    let send = until("connection", || connector.poll().unwrap());
    let receive = until("connection", || listener.accept().unwrap());
    assert!(send.stats().subflows.iter().all(|subflow| subflow.local.ip() == source));
    assert!(receive.stats().subflows.iter().all(|subflow| subflow.peer.ip() == source));
}

#[test]
fn addresses_that_cannot_work_are_refused_at_once() {
    let config = paths_of(1);
    let target = listen(V4, &config).address();
    let lanes = || Lane::unpinned(1);
    let other = Connector::new(target, Some(V6.parse().unwrap()), lanes(), &config);
    assert!(matches!(other, Err(Error::Family { .. })));
    let foreign = Connector::new(target, Some("203.0.113.1".parse().unwrap()), lanes(), &config);
    match foreign.unwrap().poll() {
        Err(Error::Connect { source: Some(source), .. }) => {
            assert_eq!(source.kind(), io::ErrorKind::AddrNotAvailable);
        }
        other => panic!("{other:?}"),
    }
    let nowhere = Listener::bind("203.0.113.1".parse().unwrap(), None, &config);
    assert!(matches!(nowhere, Err(Error::Listen { .. })));
    let bad = Config { paths: 9, ..config };
    assert!(matches!(
        Connector::new(target, None, lanes(), &bad),
        Err(Error::Setting { name: "paths", value: 9, .. })
    ));
    for lanes in [0, 9] {
        let connector = Connector::new(target, None, Lane::unpinned(lanes), &config);
        assert!(matches!(connector, Err(Error::Setting { name: "lanes", .. })), "{lanes}");
    }
}

#[test]
fn link_local_addresses_need_their_interface() {
    let address = "fe80::5".parse().unwrap();
    let config = paths_of(2);
    match Listener::bind(address, Some("nosuch0"), &config).unwrap_err() {
        error @ Error::Interface { .. } => assert!(error.to_string().contains("nosuch0"), "{error}"),
        other => panic!("{other:?}"),
    }
    let ip = Command::new("ip").args(["addr", "add", "fe80::5/64", "dev", "lo", "nodad"]).status().unwrap();
    assert!(ip.success());
    let mut listener = Listener::bind(address, Some("lo"), &config).unwrap();
    let mut pair = connect(&mut listener, &config);
    let message = pattern(1, 5000);
    assert!(pair.transfer(&message, 5000) == message);
}
