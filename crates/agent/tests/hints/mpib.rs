//! What MPIB's clients rely on, and what its own agent failed at.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::client::{ask, deregister, header, leave, register, slot_of, slot_words};
use crate::daemon::{Daemon, PATIENCE, eventually};

#[test]
fn flows_share_slots_and_read_their_hints() {
    let mut daemon = Daemon::start(&[], &["--manual"]);
    let (socket, hints) = (daemon.socket(), daemon.mpib_hints());
    assert_eq!(slot_of(&socket, 1, 0x0a00_0101, 0x0a00_0201), (0, 0));
    assert_eq!(slot_of(&socket, 2, 0x0a00_0201, 0x0a00_0101), (0, 1), "the other direction");
    assert_eq!(slot_of(&socket, 3, 0x0a00_0101, 0x0a00_0201), (0, 0), "the same flow");
    let [value, sequence, src, dst] = slot_words(&hints, 0);
    assert_eq!((value, sequence % 2, src, dst), (1, 0, 0x0a00_0101, 0x0a00_0201));
    daemon.write("0 512\n1 25%\n");
    daemon.line("Set slot 0 to 512");
    daemon.line("Set slot 1 to 25%");
    assert_eq!((slot_words(&hints, 0)[0], slot_words(&hints, 1)[0]), (512, 256));
    leave(&socket, 1);
    assert_eq!(slot_words(&hints, 0)[0], 512, "one connection is left");
    leave(&socket, 3);
    let [value, sequence, src, dst] = slot_words(&hints, 0);
    assert_eq!((value, sequence % 2, src, dst), (0, 0, 0, 0), "nothing of a flow stays");
    leave(&socket, 3);
    leave(&socket, 77);
}

#[test]
fn slots_are_not_used_up_by_rounds() {
    let daemon = Daemon::start(&[], &[]);
    let socket = daemon.socket();
    for round in 0..300 {
        assert_eq!(slot_of(&socket, round, round + 1, 9), (0, 0), "round {round}");
        leave(&socket, round);
    }
    // The same connection again and again holds one reference.
    for round in 0..300 {
        assert_eq!(slot_of(&socket, 7, 5, 9), (0, 0), "round {round}");
    }
    leave(&socket, 7);
    for n in 0..256 {
        assert_eq!(slot_of(&socket, n, n + 1, 9), (0, n));
    }
    assert_eq!(slot_of(&socket, 256, 257, 9), (1, u32::MAX), "status 1: no free slot");
    leave(&socket, 256);
    leave(&socket, 100);
    assert_eq!(slot_of(&socket, 256, 257, 9), (0, 100));
}

#[test]
fn clients_that_stall_or_leave_stop_nobody() {
    let daemon = Daemon::start(&[], &[]);
    let socket = daemon.socket();
    let mut stalled: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for (n, stream) in stalled.iter_mut().enumerate() {
        stream.write_all(&register(1, 2, 3)[..n % 28]).unwrap();
    }
    assert_eq!(slot_of(&socket, 1, 2, 3), (0, 0));
    // Gone before the reply: what would be SIGPIPE.
    for n in 0..200 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(&register(1, 2, 3)[..if n % 2 == 0 { 28 } else { 9 }]).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    }
    assert_eq!(slot_of(&socket, 1, 2, 3), (0, 0));
    // Those that stall are told to go, some day.
    for mut stream in stalled {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
    }
    assert_eq!(slot_of(&socket, 1, 2, 3), (0, 0));
}

#[test]
fn what_is_no_request_gets_no_reply() {
    let daemon = Daemon::start(&[], &[]);
    let socket = daemon.socket();
    let unknown_type = [header(12, 3), vec![0; 4]].concat();
    for wrong in [&[0; 28][..], &unknown_type, b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(wrong).unwrap();
        // What the agent left unread makes the close a reset.
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)), "{wrong:?}");
    }
    let wrong_length = [header(20, 1), register(1, 2, 3)[8..].to_vec()].concat();
    assert_eq!(ask(&socket, &wrong_length)[8], 2, "status 2: invalid request");
    let wrong_length = [header(28, 2), deregister(1)[8..].to_vec()].concat();
    assert_eq!(ask(&socket, &wrong_length), [header(12, 128), vec![2, 0, 0, 0]].concat());
    assert_eq!(slot_of(&socket, 1, 2, 3), (0, 0));
}

/// A process of its own that registers `count` flows and lives until its standard input ends or it is killed.
fn other_process(daemon: &Daemon, count: u32) -> Child {
    let script = "import socket, struct, sys\n\
        for n in range(int(sys.argv[2])):\n\
        \x20   s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
        \x20   s.sendall(struct.pack('=IHBB5I', 0x4d504952, 28, 1, 0, n, 1000 + n, 2, 3, 4))\n\
        \x20   assert len(s.recv(64)) == 16\n\
        print('registered', flush=True); sys.stdin.read()\n";
    let mut child = Command::new("python3")
        .args(["-c", script, daemon.socket().to_str().unwrap(), &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 11];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    child
}

#[test]
fn what_a_process_registered_ends_with_it() {
    let daemon = Daemon::start(&[], &[]);
    let (socket, hints) = (daemon.socket(), daemon.mpib_hints());
    let mut other = other_process(&daemon, 200);
    // The same connection numbers in this process are other connections.
    assert_eq!(slot_of(&socket, 0, 1000, 2), (0, 0), "shared with the other process");
    leave(&socket, 1);
    assert_eq!(slot_words(&hints, 1)[2], 1001);
    other.kill().unwrap();
    other.wait().unwrap();
    eventually("slots of the killed process are free", || {
        (1..200).all(|slot| slot_words(&hints, slot)[2] == 0)
    });
    assert_eq!(slot_words(&hints, 0)[2], 1000, "this process has it still");
    // Ended properly, but without a word to the agent.
    let mut other = other_process(&daemon, 3);
    drop(other.stdin.take());
    other.wait().unwrap();
    eventually("slots of the ended process are free", || (1..3).all(|slot| slot_words(&hints, slot)[2] == 0));
}

#[test]
fn a_stopped_agent_leaves_no_files_and_a_killed_one_is_followed_by_another() {
    let daemon = Daemon::start(&[], &[]);
    assert_eq!(slot_of(&daemon.socket(), 1, 2, 3), (0, 0));
    let folder = daemon.kill();
    assert!(folder.path().join("mpib/hints").exists() && folder.path().join("mpib/agent.sock").exists());
    let daemon = Daemon::start_in(folder, &[], &[]);
    assert_eq!(slot_of(&daemon.socket(), 1, 2, 3), (0, 0));
    let (socket, hints) = (daemon.socket(), daemon.mpib_hints());
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
    assert!(!socket.exists() && !hints.exists());
}
