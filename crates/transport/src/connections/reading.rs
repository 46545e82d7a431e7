//! What the processes of a network namespace tell about their connections.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::Serialize;
use socket2::{Domain, SockAddr, Socket, Type};

use super::ConnectionStats;
use super::document::Document;
use super::service::NAME;

/// Most bytes of a document: some ten thousand subflows.
const LONGEST: usize = 16 << 20;

/// Most sockets that are asked; anybody may make any number with such names.
const MOST: usize = 1024;

/// The connections of one process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessConnections {
    /// The process, by the number that the caller's kernel has for it; its own number where the caller can't see it.
    pub pid: u32,
    /// All that it has, in the order of their beginning.
    pub connections: Vec<ConnectionStats>,
}

/// What the processes of a network namespace tell.
#[derive(Debug, Default)]
pub struct HostConnections {
    /// Those that told, by number.
    pub processes: Vec<ProcessConnections>,
    /// Those that have connections and told nothing of use, by number; 0 for one that the caller can't see.
    pub unread: Vec<(u32, Unread)>,
}

/// Why a process told nothing of use.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It tells its own user and root only.
    #[error("it belongs to another user")]
    Refused,
    /// It did not tell everything in time: it is stopped, or busy.
    #[error("it did not answer in time")]
    Late,
    /// It told more than there can be.
    #[error("it sent more than {most} bytes")]
    Long {
        /// What is read at most.
        most: usize,
    },
    /// It has a release of the transport that tells in another way.
    #[error("it tells in version {found}, wanted {wanted}")]
    Version {
        /// The process's version.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// What it told is not of this transport.
    #[error("what it sent is of no known form")]
    Garbled(#[from] serde_json::Error),
    /// The kernel's refusal.
    #[error("it can't be asked")]
    Kernel(#[from] io::Error),
}

/// Asks all processes of the calling thread's network namespace that have multipath connections and
/// [serve](super::serve_connections) them, and waits for all answers together for up to `patience`.
///
/// Only processes of the same user answer, and all if the caller is root. One that ends meanwhile is left out. What a
/// process tells is its own word: any process may tell anything about itself.
///
/// # Errors
/// `/proc/net/unix` can't be read.
pub fn read_connections(patience: Duration) -> io::Result<HostConnections> {
    let deadline = Instant::now() + patience;
    // Names of others' sockets may be any bytes.
    let list = String::from_utf8_lossy(&std::fs::read("/proc/thread-self/net/unix")?).into_owned();
    let mut host = HostConnections::default();
    let mut open = Vec::new();
    for name in names(&list).into_iter().take(MOST) {
        match Conversation::begin(name) {
            Ok(conversation) => open.push(conversation),
            Err(error) if is_gone(&error) => {}
            Err(error) => host.unread.push((0, error.into())),
        }
    }
    while !open.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        for done in wait(&mut open, left)? {
            host.add(done);
        }
        if left.is_zero() {
            host.unread.extend(open.drain(..).map(|late| (late.pid, Unread::Late)));
        }
    }
    host.processes.sort_by_key(|process| process.pid);
    host.unread.sort_by_key(|(pid, _)| *pid);
    Ok(host)
}

/// The names of listening sockets; those of accepted ones are the same.
fn names(list: &str) -> BTreeSet<&str> {
    let named = list.lines().filter_map(|line| Some(line.split_once('@')?.1));
    named.filter(|name| name.starts_with(NAME)).collect()
}

/// Its owner has ended since it was listed, or its connections have.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset)
}

/// One process that was asked.
struct Conversation {
    pid: u32,
    socket: Socket,
    heard: Vec<u8>,
}

/// How it ended.
struct Done {
    pid: u32,
    result: Result<Document, Unread>,
}

impl Conversation {
    fn begin(name: &str) -> io::Result<Conversation> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Where too many wait already, it's an error.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
        // The kernel noted it when the process began to listen.
        let listener = getsockopt(&socket, PeerCredentials)?;
        Ok(Conversation { pid: u32::try_from(listener.pid()).unwrap_or(0), socket, heard: Vec::new() })
    }

    /// Reads what has come; says how it ended if it did.
    fn listen(&mut self) -> Option<Result<Document, Unread>> {
        let room = u64::try_from(LONGEST - self.heard.len() + 1).unwrap_or(u64::MAX);
        let ended = (&self.socket).take(room).read_to_end(&mut self.heard);
        if self.heard.len() > LONGEST {
            return Some(Err(Unread::Long { most: LONGEST }));
        }
        match ended {
            Ok(_) if self.heard.is_empty() => Some(Err(Unread::Refused)),
            Ok(_) => Some(Document::decode(&self.heard)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl HostConnections {
    fn add(&mut self, Done { pid, result }: Done) {
        match result {
            Ok(document) => self.processes.push(ProcessConnections {
                pid: if pid == 0 { document.pid } else { pid },
                connections: document.connections,
            }),
            Err(Unread::Kernel(error)) if is_gone(&error) => {}
            Err(unread) => self.unread.push((pid, unread)),
        }
    }
}

/// Waits until one of them has something to say, and takes those out that have said everything.
fn wait(open: &mut Vec<Conversation>, patience: Duration) -> io::Result<Vec<Done>> {
    let mut sockets: Vec<PollFd<'_>> =
        open.iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut sockets, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut done = Vec::new();
    open.retain_mut(|conversation| match conversation.listen() {
        None => true,
        Some(result) => {
            done.push(Done { pid: conversation.pid, result });
            false
        }
    });
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    #[test]
    fn a_listening_socket_is_found_once_whoever_is_connected_to_it() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 27 @srv6/connections/7/0a\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 28 @srv6/connections/7/0a\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 29 @srv6/hold/254/::1/7.1.0\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 30 /run/srv6/connections/8\n";
        assert_eq!(names(list), BTreeSet::from(["srv6/connections/7/0a"]));
    }

    /// A process of its own words. In the test's own network namespace, where other tests' sockets are too.
    fn listener(name: &str) -> UnixListener {
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("{NAME}{name}")).unwrap()).unwrap()
    }

    /// How the conversation with a socket of this name ends.
    fn ask(name: &str, patience: Duration) -> Option<Result<Document, Unread>> {
        let mut open = vec![Conversation::begin(&format!("{NAME}{name}")).unwrap()];
        assert_eq!(open[0].pid, std::process::id());
        let deadline = Instant::now() + patience;
        loop {
            if let Some(done) = wait(&mut open, Duration::from_millis(50)).unwrap().pop() {
                return Some(done.result);
            }
            if Instant::now() > deadline {
                return None;
            }
        }
    }

    /// In one go: who lists all sockets of this process asks them all.
    #[test]
    fn every_way_of_not_telling_has_its_reason() {
        let tell = |name: &'static str, what: Vec<u8>| {
            let listener = listener(name);
            let speak = std::thread::spawn(move || {
                // An error: the reader has heard enough.
                let _ = listener.accept().unwrap().0.write_all(&what);
            });
            let answer = ask(name, Duration::from_secs(60)).unwrap();
            speak.join().unwrap();
            answer
        };
        assert!(matches!(tell("t/nothing", Vec::new()), Err(Unread::Refused)));
        assert!(matches!(tell("t/garbage", b"{\"version\": 1".to_vec()), Err(Unread::Garbled(_))));
        assert!(matches!(tell("t/long", vec![b' '; LONGEST + (1 << 20)]), Err(Unread::Long { .. })));
        let good = br#"{"version":1,"pid":3,"connections":[]}"#.to_vec();
        assert_eq!(tell("t/good", good).unwrap().pid, 3);

        let silent = listener("t/silent");
        assert!(ask("t/silent", Duration::from_millis(200)).is_none());
        let host = read_connections(Duration::from_millis(200)).unwrap();
        let own = std::process::id();
        assert!(host.unread.iter().any(|(pid, why)| *pid == own && matches!(why, Unread::Late)), "{host:?}");
        let mut open = vec![Conversation::begin(&format!("{NAME}t/silent")).unwrap()];
        drop(silent);
        let done = wait(&mut open, Duration::from_secs(60)).unwrap().pop().unwrap();
        let mut host = HostConnections::default();
        host.add(done);
        assert!(host.processes.is_empty() && host.unread.is_empty(), "{host:?}");
        assert!(is_gone(&Conversation::begin(&format!("{NAME}t/silent")).err().unwrap()));
    }
}
