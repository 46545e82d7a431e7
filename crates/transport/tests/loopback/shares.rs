//! Shares of lanes, set from outside before and while data flows.

use std::sync::Arc;
use std::time::Instant;

use srv6_transport::{Share, Shares};

use crate::pair::{Pair, V4, V6, accept, connector, listen, paths_of, pattern, until};

/// A connection over two lanes with shares.
fn pair(address: &str, shares: &Arc<Shares>) -> Pair {
    let config = paths_of(2);
    let mut listener = listen(address, &config);
    let connector = connector(listener.address(), &config).shares(Arc::clone(shares));
    accept(&mut listener, connector)
}

fn weights(weights: [u16; 2]) -> [Share; 2] {
    weights.map(|weight| Share { weight: Some(weight), cap: None })
}

fn carried(pair: &Pair) -> [u64; 2] {
    let subflows = pair.send.stats().subflows;
    [subflows[0].bytes, subflows[1].bytes]
}

/// Bytes that each lane carries of a message of 16 MiB.
fn parts(pair: &mut Pair) -> [u64; 2] {
    let message = pattern(4, 16 << 20);
    let before = carried(pair);
    assert!(pair.transfer(&message, message.len()) == message);
    let after = carried(pair);
    [after[0] - before[0], after[1] - before[1]]
}

/// Sends messages until one is shared like that: a busy machine may take a lane for dead for a while.
fn until_first_has(pair: &mut Pair, wanted: std::ops::Range<f64>) {
    until("message with these shares", || {
        let [first, second] = parts(pair);
        wanted.contains(&(first as f64 / second.max(1) as f64)).then_some(())
    });
}

#[test]
fn weights_share_bytes_and_may_change_while_data_flows() {
    for address in [V4, V6] {
        let shares = Arc::new(Shares::new());
        shares.set(&weights([750, 250]));
        let mut pair = pair(address, &shares);
        until_first_has(&mut pair, 2.0..4.5);
        shares.set(&weights([250, 750]));
        until_first_has(&mut pair, 0.22..0.5);
        shares.set(&weights([0, 1]));
        until_first_has(&mut pair, 0.0..0.001);
    }
}

#[test]
fn a_cap_holds_and_may_be_lifted() {
    const CAP: u64 = 4_000_000;
    let shares = Arc::new(Shares::new());
    shares.set(&[Share { weight: None, cap: Some(CAP) }]);
    let mut pair = pair(V6, &shares);
    let began = Instant::now();
    let parts = std::array::from_fn::<_, 8, _>(|_| parts(&mut pair));
    let capped: u64 = parts.iter().map(|[capped, _]| capped).sum();
    // However long it took, it is a bound: what may be saved up is a fraction of a second's worth.
    let most = CAP as f64 * (began.elapsed().as_secs_f64() + 0.5);
    assert!(capped > 0 && (capped as f64) < most, "{capped} of at most {most}");
    shares.set(&[]);
    until_first_has(&mut pair, 0.3..3.0);
}
