//! The registration socket for clients of the MPIB transport agent.
//!
//! One request, one reply, close. Clients are answered side by side, each in its own time, and what a process
//! has registered ends with it.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use srv6_hints::HintsError;
use srv6_hints::mpib::{HEADER_BYTES, Kind, LONGEST_REQUEST, MpibHints, Reply, Request, Slot, Unit};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::config::MpibConfig;

/// How long a client may take for its request and for taking the reply; a healthy one needs microseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Clients that are served at a time; more wait in the socket's queue, for `PATIENCE` at most.
const CLIENTS: usize = 256;
/// Registrations of one process. Its connections are far fewer; a process that leaks them ends here.
const REGISTRATIONS: usize = 65_536;

/// Serves MPIB's clients: hints, and the socket where they ask for slots.
#[derive(Debug)]
pub struct Mpib {
    unit: Unit,
    socket: PathBuf,
    listener: StdListener,
    state: Mutex<State>,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MpibCounts {
    /// Slots given.
    pub registered: u64,
    /// Registrations refused because all slots were taken.
    pub full: u64,
    /// Requests that were none, stalled, or came from a process that can't be told apart.
    pub refused: u64,
    /// Processes that ended with registrations left.
    pub forgotten: u64,
}

#[derive(Debug)]
struct State {
    hints: MpibHints<Serial>,
    /// By process id; the process of an entry lives, or has ended just now.
    processes: HashMap<i32, Process>,
    next: u64,
    counts: MpibCounts,
}

/// Tells a process from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Serial(u64);

#[derive(Debug)]
struct Process {
    serial: Serial,
    /// Readable once the process has ended.
    handle: Arc<OwnedFd>,
}

impl Mpib {
    /// Makes the file of hints and the socket.
    ///
    /// # Errors
    /// Another agent serves this folder, it isn't safe, or the socket can't be made.
    pub fn open(config: &MpibConfig) -> Result<Self, HintsError> {
        let hints = MpibHints::create(&config.folder.join("hints"))?;
        let socket = config.folder.join("agent.sock");
        let failed = |doing| {
            let path = socket.clone();
            move |source| HintsError::File { doing, path, source }
        };
        // Nobody listens on one that is there: who does also writes the hints.
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(error)),
            _ => {}
        }
        let listener = StdListener::bind(&socket).map_err(failed("listen on"))?;
        listener.set_nonblocking(true).map_err(failed("listen on"))?;
        // Jobs of any user: all that they get is a slot number.
        std::fs::set_permissions(&socket, Permissions::from_mode(0o666))
            .map_err(failed("open to clients"))?;
        let state = State { hints, processes: HashMap::new(), next: 0, counts: MpibCounts::default() };
        Ok(Self { unit: config.unit, socket, listener, state: Mutex::new(state) })
    }

    /// How clients read a hint.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Sets a slot's hint.
    ///
    /// # Errors
    /// There is no such slot.
    pub fn set(&self, slot: u32, value: u32) -> Result<(), HintsError> {
        self.state.lock().hints.set(slot, value)
    }

    /// Sets the hints of all slots in use, and says how many there are.
    pub fn set_all(&self, value: u32) -> usize {
        self.state.lock().hints.set_all(value)
    }

    /// The slots in use: number, content, references.
    pub fn entries(&self) -> Vec<(u32, Slot, u32)> {
        self.state.lock().hints.entries()
    }

    /// What has happened so far.
    pub fn counts(&self) -> MpibCounts {
        self.state.lock().counts
    }

    /// Removes socket and hints, so that clients see that nobody is here. Those that have mapped the hints keep them.
    pub fn withdraw(&self) {
        for path in [self.socket.as_path(), self.state.lock().hints.path()] {
            // Gone already: as wanted.
            let _gone = std::fs::remove_file(path);
        }
    }

    /// Answers clients, for ever.
    pub async fn serve(self: Arc<Self>) {
        let listener = match self.listener.try_clone().and_then(UnixListener::from_std) {
            Ok(listener) => listener,
            Err(error) => return log::error!("{}: {error}", self.socket.display()),
        };
        let room = Arc::new(Semaphore::new(CLIENTS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let own = Arc::clone(&self);
                    tokio::spawn(async move {
                        own.answer(stream).await;
                        drop(place);
                    });
                }
                // Out of descriptors, as a rule; there may be some again in a moment.
                Err(error) => {
                    log::warn!("{}: {error}", self.socket.display());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn answer(self: &Arc<Self>, mut stream: UnixStream) {
        let outcome = tokio::time::timeout(PATIENCE, self.exchange(&mut stream)).await;
        let reason = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no whole request within {PATIENCE:?}"),
        };
        self.state.lock().counts.refused += 1;
        // Whoever may connect could fill a log with this.
        log::debug!("MPIB client refused: {reason}");
    }

    async fn exchange(self: &Arc<Self>, stream: &mut UnixStream) -> io::Result<()> {
        let mut bytes = [0; LONGEST_REQUEST];
        let (header, _) = bytes.split_at_mut(HEADER_BYTES);
        stream.read_exact(header).await?;
        let header = *bytes.first_chunk().unwrap_or(&[0; HEADER_BYTES]);
        let length = Kind::of(header).map_err(io::Error::other)?.length();
        if let Some(rest) = bytes.get_mut(HEADER_BYTES..length) {
            stream.read_exact(rest).await?;
        }
        let request = bytes.get(..length).and_then(Request::decode);
        let request = request.ok_or_else(|| io::Error::other("a request that can't be read"))?;
        let pid = stream.peer_cred()?.pid().unwrap_or(0);
        let reply = self.reply(pid, request)?;
        // A client that is gone makes this an error and not a signal: Rust's start-up ignores SIGPIPE.
        stream.write_all(&reply.encode()).await
    }

    fn reply(self: &Arc<Self>, pid: i32, request: Request) -> io::Result<Reply> {
        let mut state = self.state.lock();
        let (connection, pair) = match request {
            Request::Malformed(kind) => return Ok(Reply::Invalid(kind)),
            Request::Deregister { connection } => {
                if let Some(serial) = state.processes.get(&pid).map(|process| process.serial) {
                    state.hints.deregister(serial, connection);
                }
                return Ok(Reply::Gone);
            }
            Request::Register { connection, scale_out, .. } => (connection, scale_out),
        };
        let serial = match state.living(pid) {
            Some(serial) => serial,
            None => self.watch(&mut state, pid)?,
        };
        if state.hints.count(serial) >= REGISTRATIONS {
            state.counts.full += 1;
            return Ok(Reply::Full);
        }
        let Some(slot) = state.hints.register(serial, connection, pair) else {
            state.counts.full += 1;
            return Ok(Reply::Full);
        };
        state.counts.registered += 1;
        log::debug!("mpib_slot={slot} pid={pid} connection={connection} flow={pair}");
        Ok(Reply::Slot(slot))
    }

    /// Follows a process until its end.
    fn watch(self: &Arc<Self>, state: &mut State, pid: i32) -> io::Result<Serial> {
        let id = Pid::from_raw(pid).filter(|_| pid > 0);
        let id = id.ok_or_else(|| {
            io::Error::other("its process isn't in sight; run srv6d in the host's PID namespace")
        })?;
        let handle = Arc::new(pidfd_open(id, PidfdFlags::empty())?);
        let serial = Serial(state.next);
        state.next += 1;
        state.processes.insert(pid, Process { serial, handle: Arc::clone(&handle) });
        let own = Arc::clone(self);
        #[allow(
            deprecated,
            reason = "the other way is unsafe, for types whose descriptor may change; this one's can't"
        )]
        let ended = AsyncFd::try_new(handle)?;
        tokio::spawn(async move {
            // An error means that the event loop ends.
            if ended.readable().await.is_ok() {
                own.state.lock().forget(pid, serial);
            }
        });
        Ok(serial)
    }
}

impl State {
    /// The process with this id that is known and lives.
    fn living(&mut self, pid: i32) -> Option<Serial> {
        let process = self.processes.get(&pid)?;
        let serial = process.serial;
        let mut polled = [PollFd::new(&process.handle, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if matches!(poll(&mut polled, Some(&now)), Ok(0)) {
            return Some(serial);
        }
        // Its id belongs to another process now, and this may be known here before its watcher wakes up.
        self.forget(pid, serial);
        None
    }

    fn forget(&mut self, pid: i32, serial: Serial) {
        if self.hints.count(serial) > 0 {
            self.counts.forgotten += 1;
        }
        self.hints.forget(serial);
        if self.processes.get(&pid).is_some_and(|process| process.serial == serial) {
            self.processes.remove(&pid);
        }
    }
}
