//! Ends that go away, and messages that don't fit.

use srv6_transport::Error;

use crate::pair::{Pair, V4, V6, connect, connector, listen, paths_of, pattern, post, raw, settle, until};
use crate::warnings;

#[test]
fn what_was_done_arrives_although_the_sender_has_closed() {
    for paths in [1, 4, 8] {
        let Pair { mut send, mut receive } = Pair::new(V6, paths);
        let mut from: Vec<_> = (0..20).map(|n| pattern(n, 450 * n)).collect();
        for message in &mut from {
            let request = post(|| send.post(raw(message)));
            // The receiver doesn't take part: its kernel does.
            assert_eq!(settle(|| send.test(request)).unwrap(), message.len());
        }
        drop(send);
        for message in &from {
            let mut to = vec![0; 20_000];
            let request = post(|| receive.post(raw(&mut to)));
            let len = settle(|| receive.test(request)).unwrap();
            assert_eq!(to[..len], message[..]);
        }
    }
}

#[test]
fn what_was_done_before_the_accept_arrives() {
    let config = paths_of(4);
    let mut listener = listen(V4, &config);
    let mut connector = connector(listener.address(), &config);
    let mut send = until("connection", || connector.poll().unwrap());
    let mut message = pattern(4, 10_000);
    let request = post(|| send.post(raw(&mut message)));
    assert_eq!(settle(|| send.test(request)).unwrap(), 10_000);
    drop(send);
    let mut receive = until("connection", || listener.accept().unwrap());
    let mut to = vec![0; 10_000];
    let request = post(|| receive.post(raw(&mut to)));
    assert_eq!(settle(|| receive.test(request)).unwrap(), 10_000);
    assert!(to == message);
}

#[test]
fn a_receiver_that_closes_when_all_is_done_is_no_reason_to_warn() {
    warnings::keep();
    for _ in 0..50 {
        let Pair { mut send, mut receive } = Pair::new(V4, 4);
        let (mut from, mut to) = (pattern(1, 4096), vec![0; 4096]);
        let sent = post(|| send.post(raw(&mut from)));
        let received = post(|| receive.post(raw(&mut to)));
        assert_eq!(settle(|| send.test(sent)).unwrap(), 4096);
        assert_eq!(settle(|| receive.test(received)).unwrap(), 4096);
        drop(receive);
        // Until the sender has heard it, in a call or looked after by the watch.
        let mut more = pattern(2, 4096);
        let error = until("error", || send.post(raw(&mut more)).err());
        assert!(matches!(error, Error::PeerClosed { .. }), "{error}");
        assert_eq!(warnings::about(send.connection()), [""; 0]);
    }
}

#[test]
fn a_receive_outstanding_when_the_sender_closes_fails() {
    for paths in [1, 4] {
        let Pair { mut send, mut receive } = Pair::new(V4, paths);
        let (mut whole, mut to, mut never) = (pattern(1, 99), vec![0; 99], vec![0; 99]);
        let sent = post(|| send.post(raw(&mut whole)));
        assert_eq!(settle(|| send.test(sent)).unwrap(), 99);
        let local = send.stats().subflows[0].local;
        drop(send);
        let first = post(|| receive.post(raw(&mut to)));
        let second = post(|| receive.post(raw(&mut never)));
        let error = settle(|| receive.test(second)).unwrap_err();
        assert!(matches!(error, Error::PeerClosed { .. }) && error.is_remote());
        assert!(error.to_string().contains(&local.ip().to_string()), "{error}");
        // What came before the end is done all the same, and the error stays.
        assert_eq!(receive.test(first).unwrap(), Some(99));
        assert!(matches!(receive.test(second), Err(Error::PeerClosed { .. })));
        assert!(matches!(receive.post(raw(&mut to)), Err(Error::PeerClosed { .. })));
    }
}

#[test]
fn a_sender_that_closes_in_the_middle_of_a_message_is_noticed() {
    for paths in [1, 3, 8] {
        let Pair { mut send, mut receive } = Pair::new(V6, paths);
        let mut from = vec![1; 64 << 20];
        let mut to = vec![0; 64 << 20];
        let request = post(|| receive.post(raw(&mut to)));
        let sent = post(|| send.post(raw(&mut from)));
        assert_eq!(send.test(sent).unwrap(), None, "64 MiB are not sent at once");
        assert_eq!(receive.test(request).unwrap(), None);
        drop(send);
        let error = settle(|| receive.test(request)).unwrap_err();
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    }
}

#[test]
fn a_receiver_that_closes_in_the_middle_of_a_message_is_noticed() {
    for paths in [1, 3, 8] {
        let Pair { mut send, mut receive } = Pair::new(V4, paths);
        let mut from = vec![1; 64 << 20];
        let mut to = vec![0; 64 << 20];
        let sent = post(|| send.post(raw(&mut from)));
        let request = post(|| receive.post(raw(&mut to)));
        assert_eq!(receive.test(request).unwrap(), None);
        drop(receive);
        let error = settle(|| send.test(sent)).unwrap_err();
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
        assert!(settle(|| send.test(sent)).is_err());
        until("error", || send.post(raw(&mut from)).err());
    }
}

#[test]
fn the_receiver_is_told_of_a_message_that_does_not_fit() {
    for paths in [1, 4] {
        let mut pair = Pair::new(V4, paths);
        assert_eq!(pair.transfer(b"fits", 4), b"fits");
        let (mut from, mut to) = (pattern(1, 200_001), vec![0xee; 200_000]);
        post(|| pair.send.post(raw(&mut from)));
        let request = post(|| pair.receive.post(raw(&mut to)));
        match settle(|| pair.receive.test(request)).unwrap_err() {
            error @ Error::TooLong { message: 1, sent: 200_001, posted: 200_000, .. } => {
                assert!(!error.is_remote())
            }
            other => panic!("{other:?}"),
        }
        assert!(to.iter().all(|byte| *byte == 0xee), "not written");
        // A sender that is told nothing learns it from the close.
        let mut more = vec![2; 64 << 20];
        let sent = post(|| pair.send.post(raw(&mut more)));
        drop(pair.receive);
        let error = settle(|| pair.send.test(sent)).unwrap_err();
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    }
}

#[test]
fn a_request_ends_once_and_belongs_to_its_comm() {
    let mut pair = Pair::new(V4, 2);
    let (mut from, mut to) = (pattern(1, 10), vec![0; 10]);
    let sent = post(|| pair.send.post(raw(&mut from)));
    assert_eq!(settle(|| pair.send.test(sent)).unwrap(), 10);
    assert!(matches!(pair.send.test(sent), Err(Error::UnknownRequest(_))));
    assert!(matches!(pair.receive.test(sent), Err(Error::UnknownRequest(_))), "nothing was posted there");
    let request = post(|| pair.receive.post(raw(&mut to)));
    assert_eq!(settle(|| pair.receive.test(request)).unwrap(), 10);
    // A caller's mistake doesn't end the connection.
    assert_eq!(pair.transfer(b"on", 2), b"on");
}

#[test]
fn a_listener_gives_one_connection_after_the_other() {
    let config = paths_of(3);
    let mut listener = listen(V6, &config);
    let mut pairs: Vec<_> = (0..5).map(|_| connect(&mut listener, &config)).collect();
    drop(listener);
    for (n, pair) in pairs.iter_mut().enumerate() {
        let message = pattern(n, 100_000);
        assert!(pair.transfer(&message, message.len()) == message);
    }
}
