//! Long messages, which go without a copy: when their memory is the caller's again.

use std::time::{Duration, Instant};

use srv6_transport::{Config, Congestion, SendComm};

use crate::pair::{Pair, V4, V6, connect, listen, pattern, post, raw, settle};

/// Less than a socket's buffers have room for.
const MESSAGE: usize = 200 << 10;

/// Not one that paces itself, whatever the host's is: those copy.
fn config(paths: usize, zero_copy: bool) -> Config {
    Config { paths, zero_copy, congestion: Some(Congestion::named("reno").unwrap()), ..Config::default() }
}

fn pair(address: &str, config: &Config) -> Pair {
    connect(&mut listen(address, config), config)
}

/// One whose receive buffers the kernel has made longer, as it does once they are used.
fn used_pair(address: &str, config: &Config) -> Pair {
    let mut pair = pair(address, config);
    (0..8).for_each(|seed| drop(pair.transfer(&pattern(seed, 4 << 20), 4 << 20)));
    pair
}

/// Whether the sender has all that it needs without the receiver's word.
fn is_done_alone(send: &mut SendComm, message: &mut [u8]) -> bool {
    let request = post(|| send.post(raw(message)));
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        if send.test(request).unwrap().is_some() {
            return true;
        }
    }
    false
}

#[test]
fn a_message_that_is_not_copied_is_done_when_the_receiver_has_it() {
    for (address, paths) in [(V4, 1), (V6, 4)] {
        for zero_copy in [true, false] {
            let Pair { mut send, mut receive } = used_pair(address, &config(paths, zero_copy));
            let mut from = pattern(paths, MESSAGE);
            assert_eq!(is_done_alone(&mut send, &mut from), !zero_copy, "{address} {zero_copy}");
            let mut to = vec![0; MESSAGE];
            let request = post(|| receive.post(raw(&mut to)));
            assert_eq!(settle(|| receive.test(request)).unwrap(), MESSAGE);
            assert!(to == from, "{address} {zero_copy}");
        }
    }
}

#[test]
fn memory_that_was_given_back_can_be_used_for_other_messages() {
    let config = config(4, true);
    let Pair { mut send, mut receive } = used_pair(V6, &config);
    // One block for all: as soon as a message is done, the next one is written over it.
    let (mut block, mut to) = (vec![0; 3 << 20], vec![0; 3 << 20]);
    for round in 0..30 {
        // Every length ends elsewhere in its page, and so does every beginning.
        let (start, len) = (round % 7 * 1000, (64 << 10) + round * 4611);
        let message = pattern(round, len);
        block[start..start + len].copy_from_slice(&message);
        let received = post(|| receive.post(raw(&mut to)));
        let sent = post(|| send.post(raw(&mut block[start..start + len])));
        let (mut is_sent, mut is_received) = (false, false);
        while !is_sent || !is_received {
            // The receiver looks seldom, so that its kernel has long had what it has not.
            let since = Instant::now();
            while !is_sent && since.elapsed() < Duration::from_millis(20) {
                if send.test(sent).unwrap().is_some() {
                    is_sent = true;
                    // What is still to be read of it would show.
                    block.fill(0xee);
                }
            }
            is_received = is_received || receive.test(received).unwrap().is_some();
        }
        assert!(to[..len] == message, "round {round}");
    }
}

#[test]
fn nothing_leaves_the_memory_of_a_sender_that_is_gone() {
    let Pair { mut send, mut receive } = pair(V4, &config(1, true));
    // The sender's kernel has all of it, and the receiver's has no room for all.
    let mut from = pattern(1, MESSAGE);
    assert!(!is_done_alone(&mut send, &mut from));
    let subflow = &send.stats().subflows[0];
    assert_eq!(subflow.bytes, MESSAGE as u64);
    drop(send);
    from.fill(0xee);
    let mut to = vec![0; MESSAGE];
    let request = post(|| receive.post(raw(&mut to)));
    // Were it closed in order, the rest would come, and be wrong.
    assert!(settle(|| receive.test(request)).is_err());
}
