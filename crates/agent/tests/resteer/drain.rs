//! Drains during traffic, refused where they would cut a flow off, and kept over a restart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use srv6_steer::OnChange;

use crate::scene::{
    Beside, HOST00, HOST01, PATIENCE, Transfer, eventually, flow, lab, routes, spine, steered,
};

const MEGABYTE: u64 = 1 << 20;

#[test]
fn a_spine_is_drained_during_traffic_and_given_back() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let near = Beside::start(&lab, "host00", folder.path());
    let (there, _) = near.steer(flow(HOST00, HOST01));
    let transfer = Transfer::start(&lab);
    transfer.more(MEGABYTE);
    let own = spine(&there);
    let drained = near.agent.drains().drain(&near.agent, &own, PATIENCE).unwrap();
    println!(
        "{{\"drain_moved_ms\": {:.1}, \"drain_ms\": {:.1}}}",
        drained.moved_after.as_secs_f64() * 1e3,
        drained.empty_after.as_secs_f64() * 1e3
    );
    assert_eq!((drained.place.to_string(), drained.moved, drained.unfinished), (own.clone(), 1, 0));
    assert_ne!(spine(&there), own);
    // Whatever it reports as arrived has left: no byte of the host goes by that spine from now on.
    let probes_alone = 400_000;
    let carried = || lab.sent_by("leaf00").unwrap()[&own];
    let before = carried();
    transfer.more(8 * MEGABYTE);
    assert!(carried() - before < probes_alone, "{}", carried() - before);

    let unknown = near.agent.drains().drain(&near.agent, "spine99", PATIENCE).unwrap_err().to_string();
    assert!(unknown.contains("\"spine99\"") && unknown.contains("leaf00-spine01"), "{unknown}");
    let not = near.agent.drains().undrain(&near.agent, "leaf00-spine02").unwrap_err().to_string();
    assert!(not.contains("leaf00-spine02 isn't drained"), "{not}");
    near.agent.drains().undrain(&near.agent, &own).unwrap();
    eventually("it has returned", || spine(&there) == own);
    let before = carried();
    transfer.more(MEGABYTE);
    assert!(carried() - before > MEGABYTE / 2);
    transfer.finish();
}

#[test]
fn a_namespace_that_does_not_answer_is_no_success() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let near = Beside::start(&lab, "host00", folder.path());
    let (there, _) = near.steer(flow(HOST00, HOST01));
    // Who hears of a move is called by the steering thread, and holds it up for as long as the test likes.
    let (go_on, held) = mpsc::channel::<()>();
    let (held, armed) = (Mutex::new(held), Arc::new(AtomicBool::new(false)));
    let arm = Arc::clone(&armed);
    let hold_up = move || {
        if armed.load(Ordering::Relaxed) {
            let _over = held.lock().unwrap().recv();
        }
    };
    let watched = near.host.steer().request_watched(flow(HOST00, HOST01), Some(OnChange::new(hold_up)));
    steered(&watched);
    arm.store(true, Ordering::Relaxed);
    let own = spine(&there);
    let drained = near.agent.drains().drain(&near.agent, &own, Duration::from_millis(1)).unwrap();
    assert_eq!((drained.moved, drained.silent), (0, vec![near.host.id().inode]));
    drop(go_on);
    eventually("it has moved", || spine(&there) != own);
    let undrained = near.agent.drains().undrain(&near.agent, &own).unwrap();
    assert_eq!((undrained.moved, undrained.silent), (1, vec![]));
}

#[test]
fn what_would_cut_a_flow_off_is_refused_and_drains_survive_the_agent() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let near = Beside::start(&lab, "host00", folder.path());
    let (there, _) = near.steer(flow(HOST00, HOST01));
    for place in ["spine01", "spine02", "leaf00-spine03"] {
        let drained = near.agent.drains().drain(&near.agent, place, PATIENCE).unwrap();
        assert_eq!(drained.unfinished, 0, "{drained:?}");
    }
    eventually("it is on the one that is left", || spine(&there) == "spine00");
    for place in ["spine00", "spine00-leaf01", "leaf01"] {
        let refused = near.agent.drains().drain(&near.agent, place, PATIENCE).unwrap_err().to_string();
        let named = flow(HOST00, HOST01).to_string();
        assert!(refused.contains("would cut off") && refused.contains(&named), "{refused}");
    }
    assert_eq!(spine(&there), "spine00");
    let kept = routes(&lab, "host00");
    assert!(kept.contains(":1000:1201:") && kept.lines().count() == 1, "{kept}");

    drop(there);
    drop(near);
    let again = Beside::start(&lab, "host00", folder.path());
    let drained: Vec<String> = again.agent.drains().places().iter().map(ToString::to_string).collect();
    assert_eq!(drained, ["spine01", "spine02", "leaf00-spine03"]);
    let (there, steered) = again.steer(flow(HOST00, HOST01));
    assert_eq!((steered.hops[2].as_str(), routes(&lab, "host00")), ("spine00", kept));
    again.agent.drains().undrain(&again.agent, "spine01").unwrap();
    eventually("its own path is its own again", || spine(&there) == "spine01");
}

#[test]
fn a_route_that_a_former_agent_left_is_taken_over_as_it_is() {
    let (lab, folder) = (lab(), tempfile::tempdir().unwrap());
    let left = "2001:db8:1001::2/128 encap seg6 mode encap.red segs fc00:0:1200:1003:1201:fe06:: dev eth1 \
                src 2001:db8:1000::2 proto 83 metric 77";
    lab.node("host00").unwrap().sh(&format!("ip -6 route add {left}")).unwrap();
    let before = routes(&lab, "host00");
    let near = Beside::start(&lab, "host00", folder.path());
    assert_eq!(routes(&lab, "host00"), before, "it may be in use");
    let (there, steered) = near.steer(flow(HOST00, HOST01));
    assert_eq!(steered.hops[2], "spine03");
    assert_eq!(routes(&lab, "host00"), before);
    // The path that it would have chosen itself is better only once this one isn't as good.
    near.agent.drains().drain(&near.agent, "spine03", PATIENCE).unwrap();
    assert_eq!(spine(&there), "spine01");
}
