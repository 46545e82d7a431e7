//! Paths that are neither dead nor well: every byte arrives, and the others carry on.

use srv6_lab::{Fault, Loss, Mbps};
use srv6_transport::ConnectionStats;

use crate::fabric::Fabric;
use crate::transfer::{Plan, Transfer};

/// Shaped lanes, all in use.
fn in_use(fabric: &Fabric) -> Transfer {
    let transfer = Transfer::begin(fabric, &Plan::new(fabric.marks(), 1 << 20));
    transfer.wait("all lanes in use", |stats| stats.subflows.iter().all(|s| s.bytes > 1 << 20));
    transfer
}

/// Waits until so many bytes more have gone over the lanes other than this one; what arrives is checked.
fn carried_by_others(transfer: &Transfer, lane: usize, bytes: u64) {
    let others = |stats: &ConnectionStats| -> u64 {
        stats.subflows.iter().filter(|s| s.index != lane).map(|s| s.bytes).sum()
    };
    let before = others(&transfer.stats());
    transfer.wait("the other lanes", |stats| others(stats) > before + bytes);
}

/// More than can be outstanding, so that the messages of which a part went to the bad lane have arrived.
const MORE: u64 = 32 << 20;

/// Loss on the last lane's link, in both directions or in the one from a switch.
fn loses(fabric: &Fabric, percent: f64, from: Option<&str>) {
    let lane = fabric.spines - 1;
    let link = format!("leaf00-spine{lane:02}");
    let transfer = in_use(fabric);
    let loss = Fault::Lossy(Loss::percent(percent).unwrap());
    match from {
        Some(from) => fabric.lab.fail_one_way(&link, from, loss).unwrap(),
        None => fabric.lab.fail(&link, loss).unwrap(),
    }
    carried_by_others(&transfer, lane, MORE);
    transfer.end();
}

#[test]
fn a_path_that_loses_packets_holds_up_nobody() {
    for (percent, from) in [(1.0, None), (5.0, Some("leaf00")), (20.0, None), (20.0, Some("spine03"))] {
        loses(&Fabric::v6(Some(200)), percent, from);
    }
}

#[test]
fn an_ipv4_path_that_loses_packets_holds_up_nobody() {
    for (percent, from) in [(5.0, None), (20.0, Some("leaf00")), (20.0, Some("spine01"))] {
        loses(&Fabric::v4(Some(200)), percent, from);
    }
}

#[test]
fn a_path_that_becomes_ten_times_slower_holds_up_nobody() {
    for fabric in [|| Fabric::v6(Some(200)), || Fabric::v4(Some(200))] {
        let fabric = fabric();
        let transfer = in_use(&fabric);
        fabric.lab.rate("leaf00-spine01", Some(Mbps::new(20).unwrap())).unwrap();
        carried_by_others(&transfer, 1, MORE);
        transfer.end();
    }
}

#[test]
fn a_link_that_goes_down_and_comes_up_costs_no_byte() {
    for fabric in [|| Fabric::v6(Some(200)), || Fabric::v4(Some(200))] {
        let fabric = fabric();
        let lane = fabric.spines - 1;
        let link = format!("leaf01-spine{lane:02}");
        let transfer = in_use(&fabric);
        fabric.lab.fail(&link, Fault::LinkDown).unwrap();
        carried_by_others(&transfer, lane, MORE);
        fabric.lab.heal(&link).unwrap();
        let before = transfer.stats().subflows[lane].bytes;
        transfer.wait("the healed path", |stats| stats.subflows[lane].bytes > before + (1 << 20));
        transfer.end();
    }
}
