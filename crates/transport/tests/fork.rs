//! A child of fork keeps no copy of its parent's sockets. Alone in its process, whose descriptors it looks at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use srv6_transport::{Config, Connector, Error, Lane, Listener, RawBuf};

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within a minute");
        std::thread::yield_now();
    }
}

/// What this process's descriptors refer to, those in `but` left out.
fn open_objects(but: &[i32]) -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| !but.iter().any(|number| entry.file_name() == number.to_string().as_str()))
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .filter(|target| target.starts_with("socket:") || target.contains("eventpoll"))
        .collect()
}

#[test]
fn a_connection_ends_with_its_owner_although_a_child_lives_on() {
    let config = Config { paths: 3, ..Config::default() };
    let mut listener = Listener::bind("::1".parse().unwrap(), None, &config).unwrap();
    let mut connector = Connector::new(listener.address(), None, Lane::unpinned(3), &config).unwrap();
    let send = until("connection", || connector.poll().unwrap());
    let mut receive = until("connection", || listener.accept().unwrap());
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let ours = open_objects(&[here.as_raw_fd(), there.as_raw_fd()]);
    // The listener; on both sides three subflows and what polls them; where replacements come in.
    assert_eq!(ours.len(), 10, "{ours:?}");

    srv6_transport::before_fork();
    // SAFETY: the child uses what a forked child may use here: no other thread is in the allocator.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        srv6_transport::after_fork_in_child();
        let left = open_objects(&[here.as_raw_fd(), there.as_raw_fd()]);
        let kept = left.iter().filter(|object| ours.contains(object)).count();
        let known = srv6_transport::connections().len();
        there.write_all(&[u8::try_from(kept).unwrap(), u8::try_from(known).unwrap()]).unwrap();
        // Until the parent goes.
        drop(here);
        let _ = there.read(&mut [0]);
        // SAFETY: ends this process, and nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    srv6_transport::after_fork_in_parent();
    drop(there);
    let mut told = [9; 2];
    here.read_exact(&mut told).unwrap();
    assert_eq!(told, [0; 2], "objects of the parent's, and connections");

    let mut to = vec![0; 8];
    // SAFETY: the vector outlives the comm, and only this request has it.
    let request = receive.post(unsafe { RawBuf::new(to.as_mut_ptr(), to.len()) }).unwrap().unwrap();
    drop(send);
    let error = until("error", || receive.test(request).err());
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    drop(here);
    let mut status = 0;
    // SAFETY: `status` is where the kernel writes.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
}
