//! Transfers that get stuck: who is told of, and in which words.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::pair::{Pair, V4, V6, pattern, post, raw, until};
use crate::warnings;
use crate::wire::{chunk, named};

/// Goes on until there is a warning about this connection.
fn warned(connection: u64, mut go_on: impl FnMut()) -> String {
    until("warning", || {
        go_on();
        std::thread::sleep(Duration::from_millis(1));
        warnings::slow(connection).pop()
    })
}

fn assert_contains(line: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(line.contains(wanted), "{wanted}: {line}");
    }
}

#[test]
fn a_sender_names_a_receiver_that_posts_nothing() {
    warnings::keep();
    for address in [V4, V6] {
        let mut pair = Pair::new(address, 2);
        let peer = pair.send.stats().subflows[0].peer;
        // More than the receiver's kernel takes.
        let mut from: Vec<_> = (0..8).map(|n| pattern(n, 4 << 20)).collect();
        let sent: Vec<_> = from.iter_mut().map(|m| post(|| pair.send.post(raw(m)))).collect();
        let line = warned(pair.send.connection(), || assert_eq!(pair.send.test(sent[7]).unwrap(), None));
        let wanted =
            [&format!("peer={peer} "), "message ", "waiting for ", " s, ", "posted no receive for it"];
        assert_contains(&line, &wanted);
    }
}

#[test]
fn a_receiver_names_the_subflow_that_stops_in_a_message_and_no_peer_that_is_silent() {
    warnings::keep();
    let (mut streams, mut comm) = named(2, "leaf00 > leaf01");
    let connection = comm.connection();
    let mut to = vec![0; 10];
    let request = post(|| comm.post(raw(&mut to)));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1300) {
        assert_eq!(comm.test(request).unwrap(), None);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(warnings::slow(connection), [""; 0], "nobody has sent anything");
    streams[0].write_all(&chunk(0, 1, 4, b"xy", 10)).unwrap();
    streams[1].write_all(&chunk(0, 0, 0, b"abcd", 10)[..67]).unwrap();
    let line = warned(connection, || assert_eq!(comm.test(request).unwrap(), None));
    let peer = streams[1].local_addr().unwrap();
    let wanted = format!("peer={peer} subflow=1 path=\"leaf00 > leaf01\" is slow: message 0 began to come ");
    assert_contains(&line, &[&wanted, "5 of 10 bytes are here", "nothing has come this way for "]);
}

#[test]
fn a_receiver_names_all_subflows_when_a_later_message_came_first() {
    warnings::keep();
    let (mut streams, mut comm) = named(2, "leaf00 > leaf01");
    let mut to = [[0; 5]; 2];
    let requests = to.each_mut().map(|to| post(|| comm.post(raw(to))));
    streams[1].write_all(&chunk(1, 0, 0, b"later", 5)).unwrap();
    let line = warned(comm.connection(), || assert_eq!(comm.test(requests[1]).unwrap(), None));
    let ways = [0, 1].map(|index: usize| {
        format!("peer={} subflow={index} path=\"leaf00 > leaf01\" for ", streams[index].local_addr().unwrap())
    });
    assert_contains(&line, &["message 0 began to come ", "0 of unknown bytes are here", &ways[0], &ways[1]]);
}
