//! Weights of paths: from an order to the agent into the memory that transports read.

use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;
use srv6_fabric::Flow;
use srv6_hints::HintsView;
use srv6_steer::{AgentSession, Attachment, LanesHold, LanesStatus, LanesWanted, Steer};

use crate::daemon::{Daemon, PATIENCE, eventually};

/// An agent that only logs routes.
fn agent() -> Daemon {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for arguments in ["-6 addr add 2001:db8:1000::2/128 dev lo nodad", "-6 route add fc00:0::/32 dev lo"]
        {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "{arguments}");
        }
    });
    Daemon::start(&SETTINGS, &[])
}

const SETTINGS: [(&str, &str); 2] = [("ROUTE_PLATFORM", "none"), ("BACKEND_INTERFACE", "lo")];

fn attachment(daemon: &Daemon) -> Attachment {
    Attachment {
        deadline: PATIENCE,
        job: "train".to_owned(),
        rank: Some(3),
        ..Attachment::new(daemon.agent_socket())
    }
}

/// Lanes of a flow from this process, asked of the agent.
fn lanes(daemon: &Daemon, to: u8) -> LanesHold {
    let flow = Flow {
        src: "2001:db8:1000::2".parse().unwrap(),
        dst: format!("2001:db8:100{to}::2").parse().unwrap(),
    };
    let steer = Steer::attach(attachment(daemon)).unwrap();
    let hold = steer.request_lanes(flow, LanesWanted { count: 2, pinning: None, along: Vec::new() });
    eventually("the agent has answered", || !matches!(hold.status(), LanesStatus::Pending));
    hold
}

/// One order, and its answer.
fn order(daemon: &Daemon, json: &str) -> Value {
    let mut answer = Value::Null;
    let mut session = AgentSession::open(&attachment(daemon)).unwrap();
    session.control(json, Some(PATIENCE), |text| answer = serde_json::from_str(text).unwrap()).unwrap();
    answer
}

/// Weights by slot, as transports see them.
fn weights(file: &std::path::Path) -> Vec<(u32, String)> {
    let view = HintsView::open(file).unwrap();
    view.entries().iter().map(|entry| (entry.slot, entry.weights.to_string())).collect()
}

#[test]
fn an_order_reaches_the_memory_that_transports_read() {
    let daemon = agent();
    let file = daemon.hints();
    let (one, two) = (lanes(&daemon, 1), lanes(&daemon, 2));
    assert_eq!(weights(&file), [(0, "-".to_owned()), (1, "-".to_owned())]);
    let set = |slot: &str, value: &str| {
        order(&daemon, &format!(r#"{{"command":"set_hints","mpib":false,"slot":{slot},"value":"{value}"}}"#))
    };
    assert_eq!(set("null", "1000,1")["set"], 2);
    assert_eq!(set("1", "0,1000")["set"], 1);
    assert_eq!(weights(&file), [(0, "1000,1".to_owned()), (1, "0,1000".to_owned())]);
    assert!(set("2", "1")["error"].as_str().unwrap().contains("slot 2 has no flow; want 0 to 1"));
    assert!(set("0", "many")["error"].as_str().unwrap().contains("\"many\" is no list of weights"));
    let view = HintsView::open(&file).unwrap();
    let key = view.entries()[0].key;
    assert_eq!(key.flow, one.flow());
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/net").unwrap());
    assert_eq!(key.namespace, inode);
    drop(one);
    eventually("the first flow's slot is free", || weights(&file) == [(1, "0,1000".to_owned())]);
    drop(two);
    eventually("no slot is in use", || weights(&file).is_empty());
}

#[test]
fn weights_survive_the_agent_and_its_heart_is_heard() {
    let daemon = agent();
    let hold = lanes(&daemon, 1);
    order(&daemon, r#"{"command":"set_hints","mpib":false,"slot":0,"value":"300,700"}"#);
    let mapped = HintsView::open(&daemon.hints()).unwrap();
    let mut last = Duration::ZERO;
    eventually("a heartbeat", || {
        let before = std::mem::replace(&mut last, mapped.silence());
        last < before
    });
    let folder = daemon.kill();
    eventually("its silence is heard", || mapped.silence() > Duration::from_secs(2));
    assert_eq!(mapped.entries()[0].weights.to_string(), "300,700", "what is mapped stays");
    let daemon = Daemon::start_in(folder, &SETTINGS, &[]);
    let file = daemon.hints();
    eventually("another file", || !mapped.is_current(&file));
    // The process registers anew by itself and finds its slot as it was.
    let registered = || order(&daemon, r#"{"command":"flows"}"#)["flows"].as_array().map_or(0, Vec::len);
    eventually("the process is back", || registered() == 1);
    assert_eq!(weights(&file), [(0, "300,700".to_owned())]);
    drop(hold);
}
