use std::sync::atomic::{AtomicU16, Ordering};

use super::*;

fn place(rank: usize, world: usize, port: u16) -> Place {
    Place { rank, world, local_rank: None, master: "localhost".into(), port }
}

/// A port of the test's own. None that the kernel picks: it could pick it again, for another test, before rank 0
/// listens.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Runs `body` as each rank, on a thread of its own.
fn ranks<T: Send>(world: usize, body: impl Fn(Rendezvous, Abort) -> T + Sync) -> Vec<T> {
    let port = free_port();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..world)
            .map(|rank| {
                let body = &body;
                scope.spawn(move || {
                    let abort = Abort::default();
                    let place = place(rank, world, port);
                    let meeting = Rendezvous::join(&place, &abort, Duration::from_secs(20)).unwrap().unwrap();
                    body(meeting, abort)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn wait_for(abort: &Abort) -> String {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if let Some(reason) = abort.reason() {
            return reason.to_owned();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody was told");
}

#[test]
fn everybody_gets_what_each_gave() {
    ranks(4, |meeting, abort| {
        for round in 0..50_u8 {
            let mine = vec![round; meeting.place.rank];
            let all = meeting.gather(&mine).unwrap();
            assert_eq!(all, [vec![], vec![round], vec![round; 2], vec![round; 3]]);
        }
        meeting.leave();
        // Who leaves in order alarms nobody.
        assert_eq!(abort.reason().filter(|reason| *reason != "rank 0 is gone"), None);
    });
}

#[test]
fn one_rank_needs_nobody() {
    let meeting = Rendezvous::join(&place(0, 1, 1), &Abort::default(), Duration::from_secs(1)).unwrap();
    assert!(meeting.is_none());
}

#[test]
fn a_closed_connection_is_told_to_all() {
    let name = format!("rank 2 ({}, pid {}) is gone", hostname(), std::process::id());
    ranks(3, |meeting, abort| {
        if meeting.place.rank == 2 {
            return;
        }
        assert_eq!(meeting.gather(b"x").unwrap_err().to_string(), name);
        assert_eq!(wait_for(&abort), name);
    });
}

#[test]
fn a_failure_is_told_with_its_reason() {
    ranks(3, |meeting, abort| {
        if meeting.place.rank == 1 {
            meeting.fail("no such plugin");
        }
        let reason = wait_for(&abort);
        assert!(reason.starts_with("rank 1 (") && reason.ends_with(") failed: no such plugin"), "{reason}");
    });
}

#[test]
fn rank_0_gone_is_noticed() {
    ranks(2, |meeting, abort| {
        if meeting.place.rank == 0 {
            return;
        }
        let reason = wait_for(&abort);
        // Its own hub may still tell, or not.
        assert!(reason.starts_with("rank 0 ") && reason.ends_with(" is gone"), "{reason}");
    });
}

#[test]
fn missing_ranks_are_named() {
    let port = free_port();
    let abort = Abort::default();
    let error = Rendezvous::join(&place(0, 4, port), &abort, Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.to_string(), "ranks 1, 2, 3 did not come within 300ms");
}

#[test]
fn a_missing_rank_0_is_named_with_its_address() {
    let port = free_port();
    let error =
        Rendezvous::join(&place(1, 2, port), &Abort::default(), Duration::from_millis(200)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("can't reach rank 0 at localhost port {port} (MASTER_ADDR, MASTER_PORT)")
    );
}

#[test]
fn strangers_and_doubles_are_turned_away() {
    let port = free_port();
    let patience = Duration::from_secs(20);
    let join = |rank, world| Rendezvous::join(&place(rank, world, port), &Abort::default(), patience);
    std::thread::scope(|scope| {
        let early =
            [0, 1].map(|rank| scope.spawn(move || join(rank, 3).unwrap().unwrap().gather(&[7]).unwrap()));
        let mut stranger = knock(&place(2, 3, port), Instant::now() + patience).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\nHost: rank0\r\n\r\n").unwrap();
        let other = join(2, 4).unwrap_err().to_string();
        assert!(other.ends_with(" was started as one of 4 ranks, rank 0 as one of 3"), "{other}");
        let beyond = join(3, 3).unwrap_err().to_string();
        assert!(beyond.ends_with(" is not below the number of ranks, 3"), "{beyond}");
        let two = join(2, 3).unwrap().unwrap();
        assert_eq!(two.gather(&[7]).unwrap(), [[7]; 3]);
        for rank in early {
            assert_eq!(rank.join().unwrap(), [[7]; 3]);
        }
    });
}

#[test]
fn a_rank_number_is_given_once() {
    let port = free_port();
    let join = |rank| Rendezvous::join(&place(rank, 3, port), &Abort::default(), Duration::from_secs(3));
    std::thread::scope(|scope| {
        let ranks = [0, 1, 1].map(|rank| scope.spawn(move || join(rank).unwrap_err().to_string()));
        let errors = ranks.map(|rank| rank.join().unwrap());
        let (doubles, others): (Vec<_>, Vec<_>) =
            errors.iter().partition(|error| error.contains(" came, but "));
        assert!(doubles.len() == 1 && doubles[0].ends_with(" is there already"), "{errors:?}");
        assert!(others.iter().all(|error| *error == "rank 2 did not come within 3s"), "{errors:?}");
    });
}

#[test]
fn who_comes_early_waits_longer_than_silence_lasts() {
    let port = free_port();
    let patience = SILENCE * 3;
    let join =
        move |rank| Rendezvous::join(&place(rank, 2, port), &Abort::default(), patience).unwrap().unwrap();
    std::thread::scope(|scope| {
        let zero = scope.spawn(move || join(0).gather(b"0").unwrap());
        // What is tested is the passing of time.
        std::thread::sleep(SILENCE + 2 * BEAT);
        assert_eq!(join(1).gather(b"1").unwrap(), [b"0", b"1"]);
        assert_eq!(zero.join().unwrap(), [b"0", b"1"]);
    });
}
