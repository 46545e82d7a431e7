//! Any number of subflows over the fabric, the same on both ends or not.

use srv6_transport::{Config, MAX_PATHS};

use crate::alone::meet;
use crate::fabric::Fabric;
use crate::transfer::{Plan, Transfer, post, raw, until};

/// So many subflows over the spines by turns.
fn plan(fabric: &Fabric, paths: usize) -> Plan {
    let lanes = fabric.marks().into_iter().cycle().take(paths).collect();
    let plan = Plan::new(lanes, 400_000);
    Plan { config: Config { paths, ..plan.config }, ..plan }
}

#[test]
fn every_number_of_subflows_carries_over_all_of_them() {
    for up in [Fabric::v6, Fabric::v4] {
        let fabric = up(None);
        for paths in 1..=MAX_PATHS {
            let transfer = Transfer::begin(&fabric, &plan(&fabric, paths));
            transfer.wait("all subflows in use", |stats| stats.subflows.iter().all(|s| s.bytes > 400_000));
            let (sent, received) = transfer.end();
            assert_eq!((sent.subflows.len(), received.stats.subflows.len()), (paths, paths));
        }
    }
}

#[test]
fn the_smaller_number_is_agreed_on() {
    for up in [Fabric::v6, Fabric::v4] {
        let fabric = up(None);
        for (ours, theirs) in [(1, 8), (8, 1), (3, 5), (8, 3)] {
            let listening = Config { paths: theirs, ..Config::default() };
            let (mut send, mut receive) = meet(&fabric, &plan(&fabric, ours), listening);
            let agreed = ours.min(theirs);
            assert_eq!([send.stats(), receive.stats()].map(|stats| stats.subflows.len()), [agreed; 2]);
            let (mut from, mut to) = (vec![7; 3_000_000], vec![0; 3_000_000]);
            let received = receive.post(raw(&mut to)).unwrap().unwrap();
            let sent = post(|| send.post(raw(&mut from))).unwrap();
            let (mut is_sent, mut is_received) = (false, false);
            until("message", || {
                is_sent = is_sent || send.test(sent).unwrap().is_some();
                is_received = is_received || receive.test(received).unwrap().is_some();
                (is_sent && is_received).then_some(())
            });
            assert!(to == from);
        }
    }
}
