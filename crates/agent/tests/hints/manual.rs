//! Hints from standard input.

use crate::client::{slot_of, slot_words};
use crate::daemon::Daemon;

/// Clock ticks that a process has used, of user and system.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn lines_that_come_together_are_all_done_and_the_end_of_input_is_the_end_of_nothing_else() {
    let mut daemon = Daemon::start(&[], &["--manual"]);
    let (socket, hints) = (daemon.socket(), daemon.mpib_hints());
    assert_eq!(slot_of(&socket, 1, 2, 3), (0, 0));
    daemon.write("0 5\n9 6\n256 1\nwhat\nall 7\n10 8");
    daemon.end_input();
    daemon.line("Set slot 10 to 8");
    let values = [0, 9, 10, 11].map(|slot| slot_words(&hints, slot)[0]);
    assert_eq!(values, [7, 6, 8, 1]);
    // A loop over an input that has ended would take all of the time that passes meanwhile.
    let before = ticks(daemon.pid());
    for round in 0..50 {
        assert_eq!(slot_of(&socket, 1, 2, 3), (0, 0), "round {round}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let used = ticks(daemon.pid()) - before;
    assert!(used < 50, "{used} of at least 100 ticks with nothing to do");
}

#[test]
fn refusals_name_what_is_wrong() {
    let mut daemon = Daemon::start(&[], &["--manual"]);
    daemon.write("256 1\n");
    assert!(daemon.line("slot 256").contains("want 0 to 255"));
    daemon.write("1 -1\n");
    assert!(daemon.line("\"-1\"").contains("want 0 to 4294967295"));
    daemon.write("one 1\n");
    daemon.line("Invalid input. Use: <slot> <value> or all <value>");
}
