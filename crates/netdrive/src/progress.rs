//! The progress thread: sends, receives and tests, as NCCL's proxy progress thread does it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use crate::idle::{Idle, Waiting};
use crate::{Abort, Error};

/// What the thread runs: one pass over its comms per step.
trait Work: Send {
    /// Does what can be done now, without waiting.
    fn step(&mut self) -> Progressed;
}

/// A state and what to do with it, until it is over.
struct Job<S, F> {
    state: Option<S>,
    step: F,
    abort: Abort,
    reply: Sender<(S, Result<(), Error>)>,
}

impl<S: Send, F: FnMut(&mut S) -> Result<Progressed, Error> + Send> Work for Job<S, F> {
    fn step(&mut self) -> Progressed {
        let Some(state) = &mut self.state else { return Progressed::Over };
        let result = match self.abort.check().and_then(|()| (self.step)(state)) {
            Ok(Progressed::Over) => Ok(()),
            Ok(progressed) => return progressed,
            Err(error) => Err(error),
        };
        if let Some(state) = self.state.take() {
            // The owner waits in `run`.
            let _ = self.reply.send((state, result));
        }
        Progressed::Over
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progressed {
    /// Nothing could be done.
    Idle,
    /// Something was done.
    Moved,
    /// There is no more to do.
    Over,
}

impl Progressed {
    /// Over or not, and if not, whether anything moved.
    pub(crate) fn of(over: bool, moved: bool) -> Self {
        match (over, moved) {
            (true, _) => Self::Over,
            (false, true) => Self::Moved,
            (false, false) => Self::Idle,
        }
    }
}

/// Shows whether anything moves: who watches it can tell a slow network from a dead one.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Grows whenever the progress thread has moved something, for whatever connection.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The thread and the way to it.
pub(crate) struct Progress {
    pulse: Pulse,
    works: Option<Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn start(waiting: Waiting) -> Result<Self, Error> {
        let (works, receiver) = channel();
        let pulse = Pulse::default();
        let beaten = pulse.clone();
        let thread = std::thread::Builder::new()
            .name(NAME.into())
            .spawn(move || run(&receiver, &beaten, Idle::new(waiting)))
            .map_err(|source| Error::Thread { name: NAME, source })?;
        Ok(Self { pulse, works: Some(works), thread: Some(thread) })
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Has the thread call `step` with `state` until it is over, and waits for it.
    ///
    /// When this returns, whatever the outcome, neither `step` nor `state` is used there any more: they may hold
    /// pointers to what the caller borrows.
    ///
    /// # Errors
    /// If the thread is gone, and the state with it. What `step` says, or the abort order, comes with the state.
    pub(crate) fn run<S: Send + 'static>(
        &self,
        abort: &Abort,
        state: S,
        step: impl FnMut(&mut S) -> Result<Progressed, Error> + Send + 'static,
    ) -> Result<(S, Result<(), Error>), Error> {
        let (reply, answer) = channel();
        let job = Job { state: Some(state), step, abort: abort.clone(), reply };
        let gone = || Error::ThreadGone { name: NAME };
        self.works.as_ref().ok_or_else(gone)?.send(Box::new(job)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }

    /// Ends the thread.
    pub(crate) fn stop(&mut self) {
        self.works = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the progress thread panicked");
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

const NAME: &str = "NCCL Progress";

fn run(works: &Receiver<Box<dyn Work>>, pulse: &Pulse, mut waiting: Idle) {
    let mut active: Vec<Box<dyn Work>> = Vec::new();
    loop {
        let work = if active.is_empty() {
            match works.recv() {
                Ok(work) => Some(work),
                Err(_) => return,
            }
        } else {
            match works.try_recv() {
                Ok(work) => Some(work),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            }
        };
        active.extend(work);
        let mut idle = true;
        active.retain_mut(|work| {
            let progressed = work.step();
            idle &= progressed == Progressed::Idle;
            progressed != Progressed::Over
        });
        if !idle {
            pulse.beat();
            waiting.reset();
        } else if !active.is_empty() {
            waiting.wait();
        }
    }
}
