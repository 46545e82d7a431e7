//! Paths die: live sockets go on over a spare, by one replace.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;
use srv6_lab::Fault;
use srv6_steer::{LanesWanted, Pinning};

use crate::scene::{
    HOST00, HOST01, MEGABYTE, PATIENCE, assert_only_by, await_move, await_ours, carried, config, connect,
    finish, flow, lab, lanes, ours, send, serve, spines, start, table, wanted,
};

#[test]
fn a_live_marked_connection_moves_to_the_spare_without_a_new_one() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    let (sender, receiver) = (start(&lab, "host00", config("4x4")), start(&lab, "host01", config("4x4")));
    let (there, back) = (flow(HOST00, HOST01), flow(HOST01, HOST00));
    let hold = sender.request_lanes(there, wanted(3, Some(Pinning::Mark)));
    let opened = lanes(&hold).unwrap();
    assert_eq!(
        (spines(&opened), opened.spares),
        (vec!["spine01".into(), "spine02".into(), "spine03".into()], 1)
    );
    // Acknowledgements come over a spine that lives, so that the data's path is all that dies.
    let along = vec![opened.lanes[1].steered.hops.clone()];
    let answering = receiver.request_lanes(back, LanesWanted { along, ..wanted(1, Some(Pinning::Mark)) });
    let answer = lanes(&answering).unwrap();
    assert_eq!(spines(&answer), ["spine02"]);
    let mark = answer.lanes[0].mark();
    serve(to, HOST01, 9000, move |stream| SockRef::from(stream).set_mark(mark).unwrap());

    let mut stream = connect(from, there, 9000, Some((Pinning::Mark, &opened.lanes[0]))).unwrap();
    let port = stream.local_addr().unwrap().port();
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = {
        let (over, sent) = (Arc::clone(&over), Arc::clone(&sent));
        std::thread::spawn(move || {
            let chunk = vec![1; 1 << 14];
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&chunk).unwrap();
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
            stream
        })
    };
    let more = |bytes: u64| {
        let (goal, started) = (sent.load(Ordering::Relaxed) + bytes, Instant::now());
        while sent.load(Ordering::Relaxed) < goal {
            assert!(started.elapsed() < PATIENCE, "the connection stands still");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    more(MEGABYTE);
    lab.fail("spine01", Fault::Silent).unwrap();
    let dead = opened.lanes[0].steered.hops.clone();
    hold.avoid(0);
    let path = await_move(&hold, 0, &dead);
    assert_eq!(path[2], "spine00");
    // More than any socket buffer holds: it can only be written if acknowledgements come.
    let bytes = carried(&lab, "leaf00", || more(8 * MEGABYTE));
    assert!(bytes["spine00"] > 4 * MEGABYTE, "{bytes:?}");
    over.store(true, Ordering::Relaxed);
    let stream = writing.join().unwrap();
    assert_eq!(stream.local_addr().unwrap().port(), port);
    assert_eq!(finish(stream), sent.load(Ordering::Relaxed), "nothing is lost");

    // One route in each table, the spare's in the table of the dead path's slot.
    let moved = lanes(&hold).unwrap();
    let shown = table(&lab, "host00", &moved.lanes[0]);
    assert_eq!(moved.lanes[0].slot, opened.lanes[0].slot);
    assert!(shown.contains("[ fc00:0:1200:1000:1201:fe06:: ]") && !shown.contains(":1001:1201:"), "{shown}");
    assert_eq!((&moved.lanes[1..], moved.spares), (&opened.lanes[1..], 0));
    drop((hold, answering));
    sender.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn a_path_is_replaced_once_however_many_say_so_and_new_connections_keep_off_it() {
    let lab = lab("4x4");
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let holds: Vec<_> = (0..4).map(|_| steer.request_lanes(flow, wanted(2, Some(Pinning::Mark)))).collect();
    let before: Vec<_> = holds.iter().map(|hold| lanes(hold).unwrap()).collect();
    assert_eq!(
        before.iter().map(|b| spines(b)[0].clone()).collect::<Vec<_>>(),
        ["spine01", "spine02", "spine03", "spine00"]
    );
    // The first has spine01 as lane 0, the last as lane 1: both see it dead.
    for _ in 0..10 {
        holds[0].avoid(0);
        holds[3].avoid(1);
    }
    steer.settle(PATIENCE);
    let after: Vec<_> = holds.iter().map(|hold| lanes(hold).unwrap()).collect();
    assert_eq!(spines(&after[0]), ["spine03", "spine02"]);
    assert_eq!(spines(&after[3]), ["spine00", "spine03"], "it shares the slot, and so its new path");
    assert_eq!((&after[1].lanes, &after[2].lanes), (&before[1].lanes, &before[2].lanes));
    assert_eq!((holds[0].generation(), holds[1].generation()), (2, 1));
    // A fifth connection would begin at spine01, and a sixth go over all: not now.
    for count in [1, 4] {
        let hold = steer.request_lanes(flow, wanted(count, Some(Pinning::Mark)));
        let chosen = spines(&lanes(&hold).unwrap());
        assert!(!chosen.contains(&"spine01".to_owned()), "{chosen:?}");
    }
    drop(holds);
    steer.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn without_a_spare_nothing_changes() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let hold = steer.request_lanes(flow, wanted(4, Some(Pinning::Ports)));
    let before = lanes(&hold).unwrap();
    let installed = ours(&lab, "host00");
    hold.avoid(1);
    steer.settle(PATIENCE);
    assert_eq!(lanes(&hold).unwrap().lanes, before.lanes);
    assert_eq!((ours(&lab, "host00"), hold.generation()), (installed, 1));
    let bytes = carried(&lab, "leaf00", || {
        send(connect(from, flow, 9000, Some((Pinning::Ports, &before.lanes[1]))).unwrap());
    });
    assert_only_by(&bytes, &before.lanes[1].steered.hops[2], MEGABYTE);
    // A new connection with a lane for each path has the dead one as its last, and so gets it when it is back.
    let dead = &spines(&before)[1];
    let opened = lanes(&steer.request_lanes(flow, wanted(4, Some(Pinning::Ports)))).unwrap();
    let (chosen, mut all) = (spines(&opened), spines(&opened));
    all.sort();
    assert_eq!(
        (chosen.last(), all),
        (Some(dead), ["spine00", "spine01", "spine02", "spine03"].map(String::from).to_vec())
    );
    let fewer = lanes(&steer.request_lanes(flow, wanted(3, Some(Pinning::Ports)))).unwrap();
    assert!(!spines(&fewer).contains(dead), "{fewer}");
}

/// Routes go with their interface; the sockets that were on them fall back to the main table until it is back.
#[test]
fn lanes_that_a_link_took_along_are_back_with_it() {
    let lab = lab("4x4");
    let host = lab.node("host00").unwrap();
    let steer = start(&lab, "host00", config("4x4"));
    let hold = steer.request_lanes(flow(HOST00, HOST01), wanted(4, Some(Pinning::Mark)));
    lanes(&hold).unwrap();
    let installed = ours(&lab, "host00");
    host.sh("ip link set eth1 down").unwrap();
    let lost = ours(&lab, "host00");
    assert!(!lost.contains("encap"), "the link took the routes: {lost}");
    host.sh("ip -6 rule del priority 5002 protocol 83").unwrap();
    lab.heal("host00-leaf00").unwrap();
    await_ours(&lab, "host00", &installed);
    let report = steer.report().wait(PATIENCE).unwrap();
    assert!(report.repaired >= 9, "four lanes, their blocks and a rule: {report:?}");
    assert!(!report.incomplete && report.flows.iter().all(|flow| flow.in_place), "{report:?}");
}

#[test]
fn what_another_process_has_moved_already_is_taken_over() {
    let lab = lab("4x4");
    let (one, other) = (start(&lab, "host00", config("4x4")), start(&lab, "host00", config("4x4")));
    let flow = flow(HOST00, HOST01);
    let (first, second) = (
        one.request_lanes(flow, wanted(2, Some(Pinning::Mark))),
        other.request_lanes(flow, wanted(3, Some(Pinning::Mark))),
    );
    assert_eq!(spines(&lanes(&first).unwrap()), ["spine01", "spine02"]);
    let stale = lanes(&second).unwrap();
    assert_eq!(spines(&stale), ["spine01", "spine02", "spine03"]);
    first.avoid(0);
    one.settle(PATIENCE);
    assert_eq!(first.path(0).unwrap()[2], "spine03");
    let installed = ours(&lab, "host00");
    // The second one alone would have chosen spine00, and needs nobody to tell it.
    let dead = stale.lanes[0].steered.hops.clone();
    assert_eq!(await_move(&second, 0, &dead)[2], "spine03");
    assert_eq!(ours(&lab, "host00"), installed, "replaced once");
    // A new connection of either process adopts what is there.
    let third = other.request_lanes(flow, wanted(4, Some(Pinning::Mark)));
    assert!(!spines(&lanes(&third).unwrap()).contains(&"spine01".to_owned()));
    // Theirs dies, too: now it is this process's turn.
    second.avoid(0);
    other.settle(PATIENCE);
    assert_eq!(second.path(0).unwrap()[2], "spine00");
    drop((first, second, third));
    one.settle(PATIENCE);
    other.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

/// Both directions of a pair ride one spine, and it dies: data moves because the sender saw it, acknowledgements because
/// the sender told where it went.
#[test]
fn acknowledgements_follow_the_data() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    let (sender, receiver) = (start(&lab, "host00", config("4x4")), start(&lab, "host01", config("4x4")));
    let (there, back) = (flow(HOST00, HOST01), flow(HOST01, HOST00));
    for pinning in [Pinning::Mark, Pinning::Ports] {
        let hold = sender.request_lanes(there, wanted(1, Some(pinning)));
        let opened = lanes(&hold).unwrap();
        let along = vec![opened.lanes[0].steered.hops.clone()];
        let answering = receiver.request_lanes(back, LanesWanted { along, ..wanted(1, Some(pinning)) });
        let answer = lanes(&answering).unwrap();
        assert_eq!(spines(&answer), spines(&opened));
        let (port, mark) = (if pinning == Pinning::Mark { 9000 } else { 9001 }, answer.lanes[0].mark());
        serve(to, HOST01, port, move |stream| {
            if pinning == Pinning::Mark {
                SockRef::from(stream).set_mark(mark).unwrap();
            }
        });
        let mut stream = connect(from, there, port, Some((pinning, &opened.lanes[0]))).unwrap();
        stream.write_all(&[1; 1000]).unwrap();
        let dead = opened.lanes[0].steered.hops.clone();
        lab.fail(&dead[2], Fault::Silent).unwrap();
        hold.avoid(0);
        let path = await_move(&hold, 0, &dead);
        let before = answering.path(0).unwrap();
        answering.follow(0, path.clone());
        assert!(await_move(&answering, 0, &before).iter().eq(path.iter().rev()));
        // What it knows already, and what it can't know, change nothing.
        let generation = answering.generation();
        answering.follow(0, path);
        answering.follow(0, vec!["host00".to_owned(), "nowhere".to_owned()]);
        answering.follow(5, dead.clone());
        receiver.settle(PATIENCE);
        assert_eq!(answering.generation(), generation);
        stream.write_all(&[1; 1000]).unwrap();
        assert_eq!(finish(stream), 2000);
        lab.heal(&dead[2]).unwrap();
        drop((hold, answering));
        sender.settle(PATIENCE);
        receiver.settle(PATIENCE);
        assert_eq!((ours(&lab, "host00"), ours(&lab, "host01")), (String::new(), String::new()));
    }
}

#[test]
fn a_slot_of_two_lanes_stays_until_both_peers_have_left() {
    let lab = lab("4x4");
    let (sender, receiver) = (start(&lab, "host00", config("4x4")), start(&lab, "host01", config("4x4")));
    let opened = lanes(&sender.request_lanes(flow(HOST00, HOST01), wanted(2, Some(Pinning::Mark)))).unwrap();
    let [first, second] = [0, 1].map(|lane: usize| opened.lanes[lane].steered.hops.clone());
    let along = vec![first.clone(), first.clone()];
    let answering =
        receiver.request_lanes(flow(HOST01, HOST00), LanesWanted { along, ..wanted(2, Some(Pinning::Mark)) });
    let before = lanes(&answering).unwrap();
    assert_eq!(before.lanes[0], before.lanes[1]);
    answering.follow(0, second.clone());
    receiver.settle(PATIENCE);
    assert_eq!(lanes(&answering).unwrap(), before, "the other one's peer is still there");
    answering.follow(1, second.clone());
    receiver.settle(PATIENCE);
    let after = lanes(&answering).unwrap();
    assert_eq!(spines(&after), [second[2].clone(), second[2].clone()]);
}
