//! One client's session: a task that never blocks, and that no other client waits for.

use std::collections::{BTreeSet, HashSet};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use srv6_fabric::chain;
use srv6_hints::Key;
use srv6_routes::{Pinning, Slot};
use srv6_steer::protocol::{Event, Hello, Request, VERSION};
use srv6_steer::{LanesStatus, LanesWanted, OnChange, Status};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};

use super::input::{Input, Read};
use super::output::Output;
use super::peer::Peer;
use super::turns::{Turns, Work};
use crate::Agent;
use crate::control;
use crate::registry::{Entered, Place, Wish};

/// How long a client may take to say who it is.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may take from a message's first byte to its last.
const FRAME_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may leave what was sent to it.
const READ_PATIENCE: Duration = Duration::from_secs(20);

/// How long a last word may take to be read.
const PARTING_PATIENCE: Duration = Duration::from_secs(1);

/// Longest wait for everything before a settle to be done.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    /// The client has closed it, or is gone.
    #[error("closed")]
    Closed,
    /// What came is against the rules. It is told why.
    #[error("{0}")]
    Refused(String),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Registrations whose answer has changed and hasn't been told.
#[derive(Debug, Default)]
struct Changes {
    ids: Mutex<BTreeSet<u32>>,
    notify: Notify,
}

pub(super) struct Session {
    agent: Arc<Agent>,
    stream: UnixStream,
    peer: Peer,
    input: Input,
    half_since: Option<Instant>,
    output: Output,
    opened: Instant,
    place: Place,
    /// After the hello.
    entered: Option<Entered>,
    changes: Arc<Changes>,
    /// Registrations that were ready once: what changes then is a move.
    ready: HashSet<u32>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    /// Work elsewhere that this client waits for. One at a time: its answers come in the order of the questions.
    working: bool,
    turns: Arc<Turns>,
}

/// From another thread.
#[derive(Debug)]
struct Answer {
    event: Event,
    /// Whether the work is over.
    last: bool,
}

impl Session {
    pub(super) fn new(
        agent: Arc<Agent>,
        stream: UnixStream,
        peer: Peer,
        place: Place,
        turns: Arc<Turns>,
    ) -> Self {
        Self {
            agent,
            stream,
            peer,
            input: Input::new(Arc::clone(&turns), place.clone()),
            half_since: None,
            output: Output::default(),
            opened: Instant::now(),
            place,
            entered: None,
            changes: Arc::default(),
            ready: HashSet::new(),
            answers: mpsc::channel(4),
            working: false,
            turns,
        }
    }

    /// Serves until the client is gone or has to go.
    pub(super) async fn run(mut self) -> Ending {
        let ending = match self.serve().await {
            Ok(()) => Ending::Closed,
            Err(ending) => ending,
        };
        if let Ending::Refused(reason) = &ending {
            self.output.put(&Event::Refused { reason: reason.clone() });
            // Whether the client reads it is its own affair.
            let _late = tokio::time::timeout(PARTING_PATIENCE, self.part()).await;
        }
        ending
    }

    async fn part(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            self.stream.writable().await?;
            self.output.flush(&self.stream)?;
        }
        Ok(())
    }

    async fn serve(&mut self) -> Result<(), Ending> {
        #[allow(
            deprecated,
            reason = "its safe constructor; what it warns of doesn't concern an owned descriptor"
        )]
        let process = AsyncFd::new(self.peer.process()?)?;
        loop {
            let (room, deadline) = (self.output.has_room(), self.deadline());
            let late = async {
                match deadline {
                    Some((at, _)) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            let waits = !self.output.is_empty();
            tokio::select! {
                readable = self.stream.readable(), if room && !self.working => {
                    readable?;
                    if !self.read()? {
                        return Ok(());
                    }
                }
                writable = self.stream.writable(), if waits => {
                    writable?;
                    self.output.flush(&self.stream)?;
                }
                () = self.changes.notify.notified(), if room => self.tell(),
                Some(answer) = self.answers.1.recv(), if room => self.pass(answer),
                // A forked child may keep the socket open for as long as it lives.
                ended = process.readable() => {
                    ended?.retain_ready();
                    return Ok(());
                }
                () = late => {
                    return Err(Ending::Refused(deadline.map_or("", |(_, why)| why).to_owned()));
                }
            }
            self.handle()?;
        }
    }

    /// When the client will have taken too long, and for what.
    fn deadline(&self) -> Option<(Instant, &'static str)> {
        let hello = self.entered.is_none().then(|| (self.opened + HELLO_PATIENCE, "no hello in time"));
        let half =
            self.half_since.map(|at| (at + FRAME_PATIENCE, "half a message, and no more of it in time"));
        let stalled =
            self.output.stalled_since().map(|at| (at + READ_PATIENCE, "what was sent was not read in time"));
        [hello, half, stalled].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Takes what has come; false at the end of the stream.
    fn read(&mut self) -> Result<bool, Ending> {
        match self.input.read(&self.stream)? {
            Read::Some => Ok(true),
            Read::End => Ok(false),
            Read::Flood => Err(Ending::Refused("descriptors that no message asks for".to_owned())),
        }
    }

    /// Does what the client has asked for so far, in its order.
    fn handle(&mut self) -> Result<(), Ending> {
        while self.output.has_room() && !self.working {
            // What comes behind a whole frame has begun with it at the earliest.
            let begun = self.half_since.take();
            let refused = |error: srv6_steer::protocol::ProtocolError| Ending::Refused(error.to_string());
            let Some((kind, payload)) = self.input.frames.next_frame().map_err(refused)? else {
                self.half_since = begun;
                break;
            };
            let request = Request::decode(kind, payload).map_err(refused)?;
            self.work(request)?;
        }
        // Whole frames that wait for work of their own client's are not half ones.
        let half = self.input.frames.is_half() && !self.working && self.output.has_room();
        self.half_since = half.then(|| self.half_since.unwrap_or_else(Instant::now));
        self.output.flush(&self.stream)?;
        Ok(())
    }

    fn work(&mut self, request: Request) -> Result<(), Ending> {
        let Some(entered) = &self.entered else {
            return match request {
                Request::Hello(hello) => self.greet(hello),
                _ => Err(Ending::Refused("the first message has to be a hello".to_owned())),
            };
        };
        match request {
            Request::Hello(_) => return Err(Ending::Refused("a second hello".to_owned())),
            Request::RegisterFlow { id, flow } => {
                let on_change = self.on_change(id);
                self.register(id, |host| Wish::Flow(host.steer().request_watched(flow, Some(on_change))))?;
            }
            Request::RegisterLanes { id, flow, wanted } => {
                let on_change = self.on_change(id);
                // What the agent may do with a socket says nothing about what this process may.
                let marks = entered.session().hello().abilities.marks;
                let pinning = wanted.pinning.or((!marks).then_some(Pinning::Ports));
                let wanted = LanesWanted { pinning, ..wanted };
                let agent = Arc::clone(&self.agent);
                self.register(id, |host| {
                    let key = Key { namespace: host.id().inode, flow };
                    let hold = host.steer().request_lanes_watched(flow, wanted, Some(on_change));
                    Wish::Lanes(hold, agent.hinting().claim(key))
                })?;
            }
            Request::Deregister { id } => {
                entered.deregister(id);
                self.ready.remove(&id);
                self.changes.ids.lock().remove(&id);
            }
            Request::Avoid { id, lane, seen, hops } => {
                entered.session().with(id, |wish| {
                    if let Wish::Lanes(hold, _) = wish {
                        hold.avoid_seen(lane.into(), seen, hops);
                    }
                });
            }
            Request::Follow { id, lane, path } => {
                entered.session().with(id, |wish| {
                    if let Wish::Lanes(hold, _) = wish {
                        hold.follow(lane.into(), path);
                    }
                });
            }
            Request::Settle { token } => self.settle(token),
            Request::Mark { token, slot } => self.mark(token, slot)?,
            Request::Control { token, json } => self.answer(token, json),
        }
        Ok(())
    }

    /// Opens the session in the process's network namespace.
    fn greet(&mut self, hello: Hello) -> Result<(), Ending> {
        if hello.version != VERSION {
            return Err(Ending::Refused(format!(
                "this agent ({}) speaks version {VERSION} of the protocol, and the process version {}",
                env!("CARGO_PKG_VERSION"),
                hello.version
            )));
        }
        let entered = self
            .peer
            .namespace()
            .map_err(|error| error.to_string())
            .and_then(|namespace| self.agent.hosts().enter(namespace).map_err(|error| chain(&error)));
        let host = entered.map_err(|reason| {
            Ending::Refused(format!("network namespace of process {}: {reason}", self.peer.pid))
        })?;
        log::debug!(
            "pid={} uid={} job={:?} rank={:?} namespace={} attached",
            self.peer.pid,
            self.peer.uid,
            hello.job,
            hello.rank,
            host.id().inode
        );
        self.entered = Some(self.place.clone().enter(self.peer.pid, hello, host));
        let agent = env!("CARGO_PKG_VERSION").to_owned();
        self.output.put(&Event::Welcome { version: VERSION, agent });
        Ok(())
    }

    fn on_change(&self, id: u32) -> OnChange {
        let changes = Arc::clone(&self.changes);
        OnChange::new(move || {
            changes.ids.lock().insert(id);
            changes.notify.notify_one();
        })
    }

    fn register(&mut self, id: u32, make: impl FnOnce(&crate::Host) -> Wish) -> Result<(), Ending> {
        let Some(entered) = &self.entered else { return Ok(()) };
        if entered.session().with(id, |_| ()).is_some() {
            return Err(Ending::Refused(format!("registration {id} is in use")));
        }
        match entered.register(id, make) {
            Ok(()) => self.output.put(&Event::Pending { id }),
            Err(error) => self.output.put(&Event::Failed { id, reason: error.to_string() }),
        }
        Ok(())
    }

    /// Tells what has changed, each registration's last state only.
    fn tell(&mut self) {
        let Some(entered) = &self.entered else { return };
        while self.output.has_room() {
            let Some(id) = self.changes.ids.lock().pop_first() else { return };
            let again = self.ready.contains(&id);
            let event = entered.session().with(id, |wish| match wish {
                Wish::Flow(hold) => match hold.status() {
                    Status::Pending => None,
                    Status::Ready(steered) if again => {
                        Some(Event::FlowChanged { id, steered: (*steered).clone() })
                    }
                    Status::Ready(steered) => Some(Event::FlowReady { id, steered: (*steered).clone() }),
                    Status::Failed(reason) => Some(Event::Failed { id, reason: reason.to_string() }),
                },
                Wish::Lanes(hold, _) => match hold.status() {
                    LanesStatus::Pending => None,
                    LanesStatus::Ready(lanes) if again => {
                        Some(Event::LanesChanged { id, lanes: (*lanes).clone() })
                    }
                    LanesStatus::Ready(lanes) => Some(Event::LanesReady { id, lanes: (*lanes).clone() }),
                    LanesStatus::Failed(reason) => Some(Event::Failed { id, reason: reason.to_string() }),
                },
            });
            let Some(Some(event)) = event else { continue };
            match event {
                // The client has no further use for the id, and may give it to another flow.
                Event::Failed { .. } if !again => entered.deregister(id),
                Event::Failed { .. } => {}
                _ => drop(self.ready.insert(id)),
            }
            self.output.put(&event);
        }
        // The rest once the client has read.
        self.changes.notify.notify_one();
    }

    fn pass(&mut self, answer: Answer) {
        self.output.put(&answer.event);
        if answer.last {
            self.working = false;
        }
    }

    /// Does blocking work for this client elsewhere. What it asks meanwhile waits.
    fn elsewhere(&mut self, work: Work, job: impl FnOnce(&mpsc::Sender<Answer>) + Send + 'static) {
        self.working = true;
        let answers = self.answers.0.clone();
        self.turns.work(work, self.place.clone(), move || job(&answers));
    }

    fn settle(&mut self, token: u32) {
        let Some(entered) = &self.entered else { return };
        let ((done, over), place) = (oneshot::channel(), self.place.clone());
        entered.session().host().steer().settle_then(move || {
            // An error means that the client is gone, here and below.
            let _gone = done.send(());
            drop(place);
        });
        self.working = true;
        let answers = self.answers.0.clone();
        tokio::spawn(async move {
            let settled = tokio::time::timeout(SETTLE_PATIENCE, over);
            tokio::select! {
                _ = settled => {
                    let answer = Answer { event: Event::Settled { token }, last: true };
                    let _gone = answers.send(answer).await;
                }
                () = answers.closed() => {}
            }
        });
    }

    fn mark(&mut self, token: u32, slot: Slot) -> Result<(), Ending> {
        let Some(entered) = &self.entered else { return Ok(()) };
        let host = Arc::clone(entered.session().host());
        let Some(socket) = self.input.descriptor() else {
            return Err(Ending::Refused("no socket came with what is to be marked".to_owned()));
        };
        // The client may hold the socket's lock for as long as it likes, and closing may take its time as well.
        self.elsewhere(Work::Mark, move |answers| {
            let refusal = host.mark(&socket, slot).err().map(|error| chain(&error)).unwrap_or_default();
            drop(socket);
            let _gone = answers.blocking_send(Answer { event: Event::Marked { token, refusal }, last: true });
        });
        Ok(())
    }

    fn answer(&mut self, token: u32, json: String) {
        let (agent, uid) = (Arc::clone(&self.agent), self.peer.uid);
        self.elsewhere(Work::Control, move |answers| {
            control::answer(&agent, uid, &json, &mut |json, more| {
                let event = Event::Answer { token, more, json };
                answers.blocking_send(Answer { event, last: !more }).is_ok()
            });
        });
    }
}
