//! Messages of all sizes over all numbers of subflows.

use std::collections::VecDeque;
use std::time::Duration;

use srv6_transport::{
    Config, ConnectionStats, Direction, MAX_REQUESTS, SubflowState, SubflowStats, connections,
};

use crate::pair::{Pair, V4, V6, connect, listen, paths_of, pattern, post, raw, settle, until};

#[test]
fn messages_of_every_size_over_every_number_of_subflows() {
    for address in [V4, V6] {
        for paths in 1..=8 {
            let mut pair = Pair::new(address, paths);
            assert_eq!(pair.send.stats().subflows.len(), paths);
            let sizes = [0, 1, 7, 31, 32, 33, 4097, 65_535, 65_536, 65_537, 1_000_003, 0];
            for (seed, size) in sizes.into_iter().enumerate() {
                let message = pattern(seed, size);
                assert!(pair.transfer(&message, size) == message, "{paths} {size}");
                let longer = pair.transfer(&message, size + 100);
                assert!(longer == message, "{paths} {size} with room");
            }
        }
    }
}

#[test]
fn a_message_of_64_mib() {
    for (address, paths) in [(V4, 1), (V6, 4), (V4, 8)] {
        let message = pattern(5, 64 << 20);
        let mut pair = Pair::new(address, paths);
        assert!(pair.transfer(&message, message.len()) == message);
    }
}

#[test]
fn the_smaller_number_of_subflows_is_used() {
    for (sender, receiver) in [(1, 8), (8, 1), (3, 5), (5, 3)] {
        let mut listener = listen(V6, &paths_of(receiver));
        let mut pair = connect(&mut listener, &paths_of(sender));
        assert_eq!(pair.send.stats().subflows.len(), sender.min(receiver));
        assert_eq!(pair.receive.stats().subflows.len(), sender.min(receiver));
        let message = pattern(1, 300_000);
        assert!(pair.transfer(&message, message.len()) == message);
    }
}

#[test]
fn as_many_requests_as_allowed_are_in_flight_in_both_directions() {
    let (mut there, mut back) = (Pair::new(V4, 4), Pair::new(V6, 3));
    let size = |n: usize| [0, 1, 70_000, 8, 300_001, 65_536, 4096][n % 7];
    let messages: Vec<_> = (0..MAX_REQUESTS).map(|n| pattern(n, size(n))).collect();
    for round in 0..3 {
        let mut outstanding = Vec::new();
        for pair in [&mut there, &mut back] {
            let mut from = messages.clone();
            let mut to: Vec<_> = messages.iter().map(|m| vec![0; m.len()]).collect();
            let sent: VecDeque<_> = from.iter_mut().map(|m| post(|| pair.send.post(raw(m)))).collect();
            let received: VecDeque<_> = to.iter_mut().map(|m| post(|| pair.receive.post(raw(m)))).collect();
            let mut more = [0; 4];
            assert_eq!(pair.send.post(raw(&mut more)).unwrap(), None, "full");
            assert_eq!(pair.receive.post(raw(&mut more)).unwrap(), None, "full");
            outstanding.push((pair, from, to, sent, received));
        }
        until("end of all messages", || {
            let mut left = 0;
            for (pair, _, _, sent, received) in &mut outstanding {
                while let Some(request) = sent.front() {
                    let Some(len) = pair.send.test(*request).unwrap() else {
                        break;
                    };
                    assert_eq!(len, size(request.slot()));
                    sent.pop_front();
                }
                while let Some(request) = received.front() {
                    let Some(len) = pair.receive.test(*request).unwrap() else {
                        break;
                    };
                    assert_eq!(len, size(request.slot()));
                    received.pop_front();
                }
                left += sent.len() + received.len();
            }
            (left == 0).then_some(())
        });
        for (_, from, to, ..) in &outstanding {
            assert!(from == to, "round {round}");
        }
    }
}

#[test]
fn requests_may_be_tested_in_any_order() {
    let mut pair = Pair::new(V6, 2);
    let mut from: Vec<_> = (0..10).map(|n| pattern(n, 20_000 * n)).collect();
    let mut to = vec![vec![0; 200_000]; 10];
    let sent: Vec<_> = from.iter_mut().map(|m| post(|| pair.send.post(raw(m)))).collect();
    let received: Vec<_> = to.iter_mut().map(|m| post(|| pair.receive.post(raw(m)))).collect();
    // Only the youngest is tested until it is done: then all are, by the order of completion.
    let mut done = false;
    until("the last message", || {
        done = done || pair.send.test(sent[9]).unwrap().is_some();
        pair.receive.test(received[9]).unwrap()
    });
    for n in [4, 0, 8, 1, 2, 3, 7, 6, 5] {
        assert_eq!(pair.receive.test(received[n]).unwrap(), Some(20_000 * n));
        assert_eq!(to[n][..20_000 * n], from[n]);
    }
}

#[test]
fn messages_wait_for_their_receives() {
    let mut pair = Pair::new(V4, 4);
    let mut from: Vec<_> = (0..8).map(|n| pattern(n, 3_000_000)).collect();
    let sent: Vec<_> = from.iter_mut().map(|m| post(|| pair.send.post(raw(m)))).collect();
    // Nothing is posted, so the sender fills the sockets and stops.
    let carried = |pair: &Pair| pair.send.stats().subflows.iter().map(|s| s.bytes).sum::<u64>();
    let mut before = u64::MAX;
    until("standstill", || {
        let full = before == carried(&pair);
        before = carried(&pair);
        assert_eq!(pair.send.test(sent[7]).unwrap(), None);
        full.then_some(())
    });
    for (message, request) in from.iter().zip(&sent) {
        let mut to = vec![0; 3_000_000];
        let received = post(|| pair.receive.post(raw(&mut to)));
        let mut done = false;
        until("message", || {
            done = done || pair.send.test(*request).unwrap().is_some();
            pair.receive.test(received).unwrap()
        });
        assert!(to == *message);
        if !done {
            assert_eq!(pair.send.test(*request).unwrap(), Some(3_000_000));
        }
    }
}

#[test]
fn ends_may_live_in_different_threads() {
    let Pair { mut send, mut receive } = Pair::new(V6, 4);
    let sizes = |n: usize| (n * 7919) % 200_000;
    let sender = std::thread::spawn(move || {
        for n in 0..200 {
            let mut message = pattern(n, sizes(n));
            let request = post(|| send.post(raw(&mut message)));
            assert_eq!(settle(|| send.test(request)).unwrap(), sizes(n));
        }
        // The sockets are closed here, with the last messages still on their way.
    });
    let mut to = vec![0; 200_000];
    for n in 0..200 {
        let request = post(|| receive.post(raw(&mut to)));
        let len = settle(|| receive.test(request)).unwrap();
        assert!(to[..len] == pattern(n, sizes(n)), "message {n}");
    }
    sender.join().unwrap();
}

#[test]
fn a_long_stream_with_a_window_of_requests() {
    const WINDOW: usize = 8;
    for (address, paths) in [(V4, 1), (V6, 3), (V4, 8)] {
        let Pair { mut send, mut receive } = Pair::new(address, paths);
        let len = |n: usize| [600_000, 8, 65_537, 0, 200_000][n % 5];
        let sender = std::thread::spawn(move || {
            let mut window = VecDeque::new();
            for n in 0..400_usize {
                let mut message = vec![n.to_le_bytes()[0]; len(n)];
                let request = post(|| send.post(raw(&mut message)));
                window.push_back((request, message));
                if window.len() == WINDOW {
                    let (request, _memory) = window.pop_front().unwrap();
                    settle(|| send.test(request)).unwrap();
                }
            }
            for (request, _memory) in window {
                settle(|| send.test(request)).unwrap();
            }
        });
        let mut memory = vec![vec![0; 600_000]; WINDOW];
        let mut window = VecDeque::new();
        for n in 0..400 + WINDOW {
            if n >= WINDOW {
                let request = window.pop_front().unwrap();
                let n = n - WINDOW;
                assert_eq!(settle(|| receive.test(request)).unwrap(), len(n));
                let bytes = &memory[n % WINDOW][..len(n)];
                assert!(bytes.iter().all(|byte| *byte == n.to_le_bytes()[0]), "{n}");
            }
            if n < 400 {
                window.push_back(post(|| receive.post(raw(&mut memory[n % WINDOW]))));
            }
        }
        sender.join().unwrap();
    }
}

#[test]
fn every_subflow_takes_part_and_is_accounted_for() {
    let mut pair = Pair::new(V4, 4);
    let message = pattern(3, 32 << 20);
    let mut messages = 0;
    // On a busy machine a subflow may look slow for a while, but not for ever.
    until("share for each subflow", || {
        assert!(pair.transfer(&message, message.len()) == message);
        messages += 1;
        let takes_part = |s: &SubflowStats| s.bytes >= 512 << 10 && s.state == SubflowState::Good;
        pair.send.stats().subflows.iter().all(takes_part).then_some(())
    });
    let (sent, received) = (pair.send.stats(), pair.receive.stats());
    assert_eq!((sent.direction, received.direction), (Direction::Send, Direction::Receive));
    assert_eq!(received.subflows.iter().map(|s| s.bytes).sum::<u64>(), messages * (32 << 20));
    for (index, (sent, received)) in sent.subflows.iter().zip(&received.subflows).enumerate() {
        assert_eq!((sent.index, received.index), (index, index));
        assert_eq!((sent.local, sent.peer), (received.peer, received.local));
        // A copy may have been sent of what was late.
        assert!(sent.bytes >= received.bytes && sent.chunks >= received.chunks, "{sent:?} {received:?}");
        assert!(sent.share > 0.0 && sent.share < 1.0, "{sent:?}");
        let info = sent.tcp.unwrap();
        assert!(info.rtt > Duration::ZERO && info.pmtu > 1500, "{info:?}");
        let info = received.tcp.unwrap();
        // The hello and headers came too.
        assert!(info.bytes_received >= received.bytes + 32 + 40 * received.chunks, "{info:?}");
    }
    let shares: f64 = sent.subflows.iter().map(|s| s.share).sum();
    assert!((0.999..1.001).contains(&shares), "{sent:?}");
    let listed = connections().into_iter().filter(|stats| stats.connection == pair.send.connection());
    let bytes = |stats: &ConnectionStats| stats.subflows.iter().map(|s| s.bytes).sum::<u64>();
    assert_eq!(listed.map(|stats| bytes(&stats)).sum::<u64>(), bytes(&sent) + bytes(&received));
}

#[test]
fn the_smallest_settings_work() {
    let config = Config { paths: 3, unsent: 16 << 10, ..Config::default() };
    let mut pair = connect(&mut listen(V6, &config), &config);
    let message = pattern(9, 2_000_001);
    assert!(pair.transfer(&message, message.len()) == message);
}
