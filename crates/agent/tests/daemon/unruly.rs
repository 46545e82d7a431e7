//! Clients that are slow, wrong or too many disturb nobody else.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use srv6_routes::Slot;
use srv6_steer::LanesWanted;
use srv6_steer::protocol::{Event, Hello, Request, VERSION};

use crate::client::Client;
use crate::raw::{Raw, flow};
use crate::scene::{Scene, TO_HOST01, TO_HOST02};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("garbage_half_frames_and_other_versions_end_their_own_session_only", wrong),
    ("a_client_with_half_a_frame_under_way_at_all_times_is_served", pipelined),
    ("a_client_that_never_reads_stalls_nobody_and_is_ended", never_reads),
    ("descriptors_that_nobody_asked_for_end_their_own_session_only", flood),
    ("a_thousand_clients_at_once_are_served", thousand),
    ("a_user_has_so_many_sessions_and_flows_and_no_more", limits),
    ("what_failed_counts_no_more_and_its_id_is_free", failed),
];

fn wrong() {
    let scene = Scene::start(&[]);
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    client.ready(1);
    // Says nothing at all, and half of a message, for as long as the rest takes.
    let (mut silent, mut half) = (Raw::connect(&scene), Raw::greeted(&scene));
    half.stream.write_all(&[0, 0, 0, 9, 4]).unwrap();

    let mut garbage = Raw::connect(&scene);
    garbage.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(garbage.refusal().contains("a frame of 1195725856 bytes"));
    let mut hasty = Raw::connect(&scene);
    hasty.send(&Request::Settle { token: 1 });
    assert_eq!(hasty.refusal(), "the first message has to be a hello");
    let mut newer = Raw::connect(&scene);
    newer.send(&Request::Hello(Hello { version: 7, ..Hello::default() }));
    let reason = newer.refusal();
    assert!(reason.contains("speaks version 1") && reason.contains("version 7"), "{reason}");
    let mut twice = Raw::greeted(&scene);
    twice.send(&Request::RegisterFlow { id: 5, flow: flow(TO_HOST01) });
    twice.send(&Request::RegisterFlow { id: 5, flow: flow(TO_HOST02) });
    assert_eq!(twice.refusal(), "registration 5 is in use");
    let mut empty = Raw::greeted(&scene);
    empty.send(&Request::Mark { token: 1, slot: Slot::new(0).unwrap() });
    assert_eq!(empty.refusal(), "no socket came with what is to be marked");
    let mut unknown = Raw::greeted(&scene);
    unknown.stream.write_all(&[0, 0, 0, 1, 0x77]).unwrap();
    assert_eq!(unknown.refusal(), "message type 0x77 is unknown");
    let mut asking = Raw::greeted(&scene);
    asking.send(&Request::Control { token: 3, json: "{\"command\":\"dance\"}".to_owned() });
    let Some(Event::Answer { token: 3, more: false, json }) = asking.hear() else { panic!("no answer") };
    assert!(json.contains("error") && json.contains("dance"), "{json}");
    // Ids that aren't registered are nobody's business.
    for request in [Request::Deregister { id: 99 }, Request::Follow { id: 98, lane: 200, path: Vec::new() }] {
        asking.send(&request);
    }
    asking.send(&Request::Settle { token: 4 });
    assert_eq!(asking.hear(), Some(Event::Settled { token: 4 }));

    assert_eq!(silent.refusal(), "no hello in time");
    assert_eq!(half.refusal(), "half a message, and no more of it in time");
    drop(asking);
    scene.eventually("only the good one is left", || scene.attached() == [client.pid()]);
    assert_eq!(scene.routes("host00").lines().count(), 1);
}

fn pipelined() {
    let scene = Scene::start(&[]);
    let mut raw = Raw::greeted(&scene);
    // Each piece ends a frame and begins the next one, for longer than a frame may take.
    let began = Instant::now();
    let mut rest = Vec::new();
    while began.elapsed() < Duration::from_secs(12) {
        let mut frame = Request::Deregister { id: 99 }.encode();
        let next = frame.split_off(6);
        raw.stream.write_all(&[rest, frame].concat()).unwrap();
        rest = next;
        std::thread::sleep(Duration::from_millis(200));
    }
    raw.stream.write_all(&rest).unwrap();
    raw.send(&Request::Settle { token: 4 });
    assert_eq!(raw.hear(), Some(Event::Settled { token: 4 }));
}

fn never_reads() {
    let scene = Scene::start(&[]);
    let deaf = Raw::greeted(&scene);
    deaf.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Each is answered by about a hundred bytes, until the agent takes no more.
    let mut sent = 0_u32;
    let question = Request::Control { token: 0, json: "{\"command\":\"status\"}".to_owned() }.encode();
    while (&deaf.stream).write_all(&question).is_ok() {
        sent += 1;
        assert!(sent < 1_000_000, "the agent takes everything");
    }
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    client.ready(1);
    let rss = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", scene.agent_pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert!(rss() < 200 * 1024, "{} kB", rss());
    scene.eventually("the deaf one is ended", || {
        let sessions = &scene.ask(r#"{"command":"status"}"#)[0]["sessions"];
        // The client's, and the one that asks.
        sessions.as_array().unwrap().len() == 2
    });
    drop(deaf);
    assert_eq!(scene.routes("host00").lines().count(), 1);
}

fn flood() {
    let scene = Scene::start(&[]);
    let mut raw = Raw::greeted(&scene);
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut word = String::new();
    // A frame that never ends: each byte brings one more.
    for byte in [0, 0, 1, 0].iter().chain(&[4; 12]) {
        let descriptors = [file.as_file().as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        if let Err(error) = sendmsg(&raw.stream, &[IoSlice::new(&[*byte])], &mut control, SendFlags::NOSIGNAL)
        {
            word = error.to_string();
        }
    }
    assert_eq!(raw.refusal(), "descriptors that no message asks for", "{word}");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", scene.agent_pid())).unwrap();
    let is_file = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_link(entry.unwrap().path()).is_ok_and(|to| to == file.path())
    };
    scene.eventually("they are closed", || !open().any(is_file));
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    client.ready(1);
}

fn thousand() {
    let scene = Scene::start(&[]);
    let mut crowd: Vec<Raw> = (0..1000).map(|_| Raw::connect(&scene)).collect();
    for raw in &mut crowd {
        raw.send(&Request::Hello(Hello { version: VERSION, ..Hello::default() }));
        raw.send(&Request::Settle { token: 9 });
    }
    for raw in &mut crowd {
        assert!(matches!(raw.hear(), Some(Event::Welcome { .. })));
        assert_eq!(raw.hear(), Some(Event::Settled { token: 9 }));
    }
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    client.ready(1);
    drop(crowd);
    scene.eventually("the crowd is gone", || scene.attached() == [client.pid()]);
}

fn limits() {
    let scene = Scene::start(&["--srv6d-sessions-per-uid", "3", "--srv6d-flows-per-uid", "2"]);
    let mut kept = Raw::greeted(&scene);
    for id in 1..=3 {
        kept.send(&Request::RegisterFlow { id, flow: flow(TO_HOST01) });
    }
    let mut refused = Vec::new();
    while refused.is_empty() {
        if let Some(Event::Failed { id: 3, reason }) = kept.hear() {
            refused.push(reason);
        }
    }
    assert!(
        refused[0].contains("has 2 flows already") && refused[0].contains("SRV6D_FLOWS_PER_UID"),
        "{refused:?}"
    );
    // One given back makes room for one.
    kept.send(&Request::Deregister { id: 1 });
    kept.send(&Request::RegisterFlow { id: 4, flow: flow(TO_HOST01) });
    while kept.hear() != Some(Event::Pending { id: 4 }) {}

    let _second = Raw::greeted(&scene);
    let mut third = Raw::greeted(&scene);
    let mut fourth = Raw::connect(&scene);
    assert!(fourth.refusal().contains("SRV6D_SESSIONS_PER_UID"));
    third.send(&Request::Settle { token: 1 });
    assert_eq!(third.hear(), Some(Event::Settled { token: 1 }));
}

fn failed() {
    let scene = Scene::start(&["--srv6d-flows-per-uid", "2"]);
    let mut raw = Raw::greeted(&scene);
    // The namespace doesn't own the source. One more of each kind than the user may have flows.
    let foreign = flow(TO_HOST01);
    let wanted = LanesWanted { count: 2, pinning: None, along: Vec::new() };
    for round in 0..3 {
        for request in [
            Request::RegisterFlow { id: 7, flow: foreign },
            Request::RegisterLanes { id: 7, flow: foreign, wanted: wanted.clone() },
        ] {
            raw.send(&request);
            assert_eq!(raw.hear(), Some(Event::Pending { id: 7 }), "round {round}");
            let Some(Event::Failed { id: 7, reason }) = raw.hear() else { panic!("not failed") };
            assert!(reason.contains("no address of this network namespace"), "{reason}");
        }
    }
    assert_eq!(scene.flows(), Vec::<serde_json::Value>::new());
}
