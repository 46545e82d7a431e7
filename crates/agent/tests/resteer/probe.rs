//! A spine dies and comes back; nobody is told, and the switches' counters are the judges.

use std::time::Instant;

use srv6_agent::Trust;
use srv6_lab::Fault;
use srv6_steer::Reason;

use crate::scene::{Beside, HOST00, HOST01, PATIENCE, Transfer, eventually, flow, lab, routes, spine};

const MEGABYTE: u64 = 1 << 20;

#[test]
fn a_dead_spine_is_left_by_live_connections_and_taken_again() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let (near, far) =
        (Beside::start(&lab, "host00", folder.path()), Beside::start(&lab, "host01", folder.path()));
    // Data and acknowledgements are each moved by the agent of the host that sends them.
    let (there, _) = near.steer(flow(HOST00, HOST01));
    let (back, _) = far.steer(flow(HOST01, HOST00));
    eventually("every uplink and the links behind those in use answer", || {
        [&near, &far].iter().all(|beside| {
            let ways = beside.host.probes();
            ways.len() >= 5 && ways.values().all(|health| health.trust == Trust::Good)
        })
    });
    eventually("both go by their own path", || spine(&there) == "spine01" && spine(&back) == "spine01");
    let transfer = Transfer::start(&lab);
    transfer.more(MEGABYTE);

    let died = Instant::now();
    lab.fail("spine01", Fault::Silent).unwrap();
    eventually("both have left it", || spine(&there) != "spine01" && spine(&back) != "spine01");
    println!("{{\"resteer_ms\": {:.0}}}", died.elapsed().as_secs_f64() * 1e3);
    transfer.more(4 * MEGABYTE);
    let shown = routes(&lab, "host00");
    assert!(!shown.contains(":1001:1201:") && shown.lines().count() == 1, "{shown}");
    let report = near.flows();
    assert!(report[0].against.is_none() && report[0].moves[&Reason::Bad] >= 1, "{report:?}");
    let bad = near.agent.denied().denials().bad;
    assert!(bad.iter().any(|place| place.to_string() == "leaf00-spine01"), "{bad:?}");

    lab.heal("spine01").unwrap();
    eventually("both are back", || spine(&there) == "spine01" && spine(&back) == "spine01");
    assert!(near.flows()[0].moves[&Reason::Return] >= 1);
    let carried = || lab.sent_by("leaf00").unwrap()["spine01"];
    let before = carried();
    transfer.more(MEGABYTE);
    assert!(carried() > before);
    transfer.finish();
    drop((there, back));
    near.host.steer().settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), "");
}

/// The last link to the peer's leaf is out of sight of a probe to the spine and back; the longer one finds it.
#[test]
fn a_link_behind_the_spine_is_found() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let near = Beside::start(&lab, "host00", folder.path());
    let (there, _) = near.steer(flow(HOST00, HOST01));
    eventually("all ways are good", || {
        let ways = near.host.probes();
        ways.len() >= 5 && ways.values().all(|health| health.trust == Trust::Good)
    });
    eventually("it goes by its own path", || spine(&there) == "spine01");
    lab.fail("spine01-leaf01", Fault::Silent).unwrap();
    eventually("the flow has left it", || spine(&there) != "spine01");
    eventually("and it is known why", || {
        let bad = near.agent.denied().denials().bad;
        bad.iter().any(|place| place.to_string() == "leaf01-spine01")
            && !bad.iter().any(|place| place.to_string() == "leaf00-spine01")
    });
}

#[test]
fn without_any_way_left_a_flow_stays_where_it_is() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let near = Beside::start(&lab, "host00", folder.path());
    let (there, _) = near.steer(flow(HOST00, HOST01));
    eventually("all ways are good", || {
        let ways = near.host.probes();
        ways.len() >= 5 && ways.values().all(|health| health.trust == Trust::Good)
    });
    lab.fail("leaf00", Fault::Silent).unwrap();
    eventually("nothing answers", || near.host.probes().values().all(|h| h.trust == Trust::AssumedBad));
    eventually("all of it is denied", || near.flows()[0].against.bad);
    let shown = routes(&lab, "host00");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    lab.heal("leaf00").unwrap();
    eventually("it is on its own path, and nothing is against it", || {
        spine(&there) == "spine01" && near.flows()[0].against.is_none()
    });
}
