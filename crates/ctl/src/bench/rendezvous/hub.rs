//! The hub: rank 0's process listens, gathers and tells everybody when a rank is gone.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{Frame, GREETING};
use super::{BEAT, SILENCE, prepare};

/// The hub's side of all connections.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    world: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    members: Vec<Option<Member>>,
    shares: Vec<Option<Vec<u8>>>,
    left: usize,
    /// Everybody has been told that it's over.
    over: bool,
}

#[derive(Debug)]
struct Member {
    stream: TcpStream,
    name: String,
}

impl Hub {
    /// Serves in the background until every rank has left or one is gone.
    pub(super) fn start(listener: TcpListener, world: usize, patience: Duration) -> io::Result<Self> {
        let members = (0..world).map(|_| None).collect();
        let state = State { members, shares: vec![None; world], left: 0, over: false };
        let shared = Arc::new(Shared { world, state: Mutex::new(state), changed: Condvar::new() });
        let hub = Self { shared: Arc::clone(&shared) };
        listener.set_nonblocking(true)?;
        std::thread::Builder::new().name("hub".into()).spawn(move || shared.serve(&listener, patience))?;
        Ok(hub)
    }

    /// Waits until every rank has left, a while at most.
    pub(super) fn finish(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut state = self.shared.lock();
        while !state.over && state.left < self.shared.world {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            state = self.shared.wait(state, rest);
        }
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: &TcpListener, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let shared = Arc::clone(self);
                    // A knock that can't be served is one that never came.
                    let _ = std::thread::Builder::new()
                        .name("hub member".into())
                        .spawn(move || shared.attend(stream));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
            let mut state = self.lock();
            if state.over || state.members.iter().all(Option::is_some) {
                break;
            }
            if Instant::now() > deadline {
                let missing: Vec<String> = (0..)
                    .zip(&state.members)
                    .filter(|(_, member)| member.is_none())
                    .map(|(rank, _): (usize, _)| rank.to_string())
                    .collect();
                let reason = match missing.as_slice() {
                    [one] => format!("rank {one} did not come within {patience:?}"),
                    many => format!("ranks {} did not come within {patience:?}", many.join(", ")),
                };
                state.end(&Frame::Refused(reason));
                break;
            }
        }
        self.beat();
    }

    /// Shows the ranks that the hub is alive, until they don't need it.
    fn beat(&self) {
        let mut state = self.lock();
        while !state.over && state.left < self.world {
            state = self.wait(state, BEAT);
            state.broadcast(&Frame::Beat);
        }
    }

    /// Serves one connection.
    fn attend(&self, mut stream: TcpStream) {
        let Ok((rank, name)) = self.welcome(&mut stream) else { return };
        let problem = loop {
            match Frame::read(&mut stream) {
                Ok(Frame::Share(share)) => self.share(rank, share),
                Ok(Frame::Beat) => {}
                Ok(Frame::Bye) => {
                    let mut state = self.lock();
                    state.left += 1;
                    self.changed.notify_all();
                    return;
                }
                Ok(Frame::Failed(reason)) => break format!("{name} failed: {reason}"),
                Ok(_) => break format!("{name} does not keep to the protocol"),
                Err(error) if is_timeout(&error) => break format!("{name} is silent for {SILENCE:?}"),
                Err(_) => break format!("{name} is gone"),
            }
        };
        let mut state = self.lock();
        state.end(&Frame::Gone(problem));
        self.changed.notify_all();
    }

    /// Hears who knocks; an error means that it is none of ours, or was refused.
    fn welcome(&self, stream: &mut TcpStream) -> io::Result<(usize, String)> {
        stream.set_nonblocking(false)?;
        prepare(stream)?;
        let mut greeting = [0; GREETING.len()];
        stream.read_exact(&mut greeting)?;
        if greeting != *GREETING {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Frame::Hello { rank, world, host, pid } = Frame::read(stream)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let name = format!("rank {rank} ({host}, pid {pid})");
        let mut state = self.lock();
        let refusal = match state.members.get(rank) {
            _ if world != self.world => {
                Some(format!("{name} was started as one of {world} ranks, rank 0 as one of {}", self.world))
            }
            None => Some(format!("{name} is not below the number of ranks, {world}")),
            Some(Some(other)) => Some(format!("{name} came, but {} is there already", other.name)),
            Some(None) => None,
        };
        if let Some(refusal) = refusal {
            Frame::Refused(refusal).write(stream)?;
            drop(state);
            // A connection that is closed with something unread, a beat perhaps, is reset, and the reason could be
            // lost: so the other side closes first.
            stream.shutdown(Shutdown::Write)?;
            io::copy(stream, &mut io::sink())?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let member = Member { stream: stream.try_clone()?, name: name.clone() };
        if let Some(seat) = state.members.get_mut(rank) {
            *seat = Some(member);
        }
        if state.members.iter().all(Option::is_some) {
            state.broadcast(&Frame::Welcome);
        }
        Ok((rank, name))
    }

    fn share(&self, rank: usize, share: Vec<u8>) {
        let mut state = self.lock();
        if let Some(seat) = state.shares.get_mut(rank) {
            *seat = Some(share);
        }
        if state.shares.iter().all(Option::is_some) {
            let all = state.shares.iter_mut().filter_map(Option::take).collect();
            state.broadcast(&Frame::All(all));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn broadcast(&mut self, frame: &Frame) {
        for member in self.members.iter_mut().flatten() {
            // Who can't be reached is found by the thread that reads from it.
            let _ = frame.write(&mut member.stream);
        }
    }

    /// Tells everybody why it's over; the first reason only, the others are its consequences.
    fn end(&mut self, frame: &Frame) {
        if !self.over {
            self.over = true;
            self.broadcast(frame);
        }
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
