//! Steering by the host's agent: the same [`Steer`], whose work another process does.
//!
//! Two threads: one passes on what connections ask, the other holds the session, reads what the agent says, and when the agent
//! is gone attaches to the next one and registers everything anew. Meanwhile routes stay as they are.

mod client;
mod link;
mod order;

use std::fmt;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub use order::AgentSession;
use srv6_routes::Slot;

use crate::notice::Notice;
use crate::protocol::{Abilities, Hello, VERSION};
use crate::worker::{Job, Jobs};
use crate::{Steer, SteerError};

/// How a process attaches to the host's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The agent's socket.
    pub socket: PathBuf,
    /// How long a flow may take from request to ready, an agent that isn't there yet included.
    pub deadline: Duration,
    /// Name of the process's job; empty if it doesn't know.
    pub job: String,
    /// Its rank in the job.
    pub rank: Option<u32>,
    /// Whatever else it wants to be found by.
    pub labels: Vec<(String, String)>,
}

impl Attachment {
    /// To this socket, without a name.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, deadline: Duration::from_secs(5), job: String::new(), rank: None, labels: Vec::new() }
    }

    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            abilities: Abilities { marks: may_mark() },
            job: self.job.clone(),
            rank: self.rank,
            labels: self.labels.clone(),
        }
    }
}

/// Whether this process may set a mark, tried on a socket that nobody uses.
fn may_mark() -> bool {
    let mark = Slot::all().next().map_or(0, Slot::mark);
    socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)
        .is_ok_and(|socket| socket.set_mark(mark).is_ok())
}

impl Steer {
    /// Steers by the host's agent. Needs no privilege, and no agent yet: flows wait for one until their deadline.
    ///
    /// # Errors
    /// No threads.
    pub fn attach(attachment: Attachment) -> Result<Self, SteerError> {
        let (jobs, inbox) = mpsc::channel();
        client::start(attachment, inbox)?;
        let jobs = Arc::new(Jobs::new(jobs));
        Ok(Self { jobs, process: std::process::id(), marks_by_agent: !may_mark() })
    }

    /// Whether [`Self::mark`] has to be asked for marks: an agent steers, and this process may not set them itself.
    pub fn marks_by_agent(&self) -> bool {
        self.marks_by_agent
    }

    /// Has the agent give a socket the mark of a slot. It has to be a TCP socket, bound to an address of this process's network
    /// namespace.
    ///
    /// Returns at once; `done` gets the outcome on a background thread. It is dropped uncalled where that has ended, in a
    /// forked process, and without an agent.
    pub fn mark(
        &self,
        socket: impl AsFd + Send + 'static,
        slot: Slot,
        done: impl FnOnce(Result<(), SteerError>) + Send + 'static,
    ) {
        if std::process::id() == self.process {
            let done = Notice::new(|answer: Result<Arc<()>, SteerError>| done(answer.map(|_| ())));
            let _ended = self.jobs.send(Job::Mark { socket: Unmarked(Box::new(socket)), slot, done });
        }
    }
}

/// A socket on its way to the agent.
pub(crate) struct Unmarked(Box<dyn AsFd + Send>);

impl fmt::Debug for Unmarked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unmarked({:?})", self.0.as_fd())
    }
}
