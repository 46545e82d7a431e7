//! The service thread: everything but sending and receiving, as NCCL's proxy service thread does it.
//!
//! Commands run in order. Connects and accepts that are not done are polled in a busy loop, each once per round, with
//! commands served in between: a net that blocks in one stalls all others, here as in NCCL.

mod attempt;

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use crate::Error;
use crate::driver::Table;
use crate::handle::HandleBuffers;
use crate::idle::{Idle, Waiting};
pub(crate) use attempt::{Attempt, Attempting};

/// The thread and the way to it.
pub(crate) struct Service {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has at hand.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) table: Table,
    pub(crate) buffers: HandleBuffers,
}

enum Command {
    Call(Box<dyn FnOnce(&mut Desk) + Send>),
    Poll(Box<Attempt>),
}

impl Service {
    pub(crate) fn start(table: &Table) -> Result<Self, Error> {
        let (commands, receiver) = channel();
        let mut desk = Desk { table: table.clone(), buffers: HandleBuffers::default() };
        let thread = std::thread::Builder::new()
            .name(NAME.into())
            .spawn(move || serve(&receiver, &mut desk))
            .map_err(|source| Error::Thread { name: NAME, source })?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Runs one call on the thread and waits for what it gives.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Desk) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = channel();
        self.send(Command::Call(Box::new(move |desk| {
            // The caller waits below; if it is gone nobody wants the answer.
            let _ = reply.send(call(desk));
        })))?;
        answer.recv().map_err(|_| Error::ThreadGone { name: NAME })?
    }

    /// Has the thread poll an attempt until it is done.
    pub(crate) fn poll(&self, attempt: Attempt) -> Result<(), Error> {
        self.send(Command::Poll(Box::new(attempt)))
    }

    /// Ends the thread; attempts still pending are abandoned.
    pub(crate) fn stop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the service thread panicked");
        }
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        let gone = || Error::ThreadGone { name: NAME };
        self.commands.as_ref().ok_or_else(gone)?.send(command).map_err(|_| gone())
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

const NAME: &str = "NCCL Service";

fn serve(commands: &Receiver<Command>, desk: &mut Desk) {
    let mut pending: Vec<Box<Attempt>> = Vec::new();
    let mut waiting = Idle::new(Waiting::Nap);
    loop {
        let command = if pending.is_empty() {
            match commands.recv() {
                Ok(command) => Some(command),
                Err(_) => return,
            }
        } else {
            match commands.try_recv() {
                Ok(command) => Some(command),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => {
                    pending.into_iter().for_each(|attempt| attempt.abandon(desk));
                    return;
                }
            }
        };
        let before = pending.len();
        match command {
            Some(Command::Call(call)) => call(desk),
            Some(Command::Poll(attempt)) => pending.push(attempt),
            None => {}
        }
        pending = pending.into_iter().filter_map(|attempt| attempt.poll(desk)).collect();
        if pending.len() != before {
            waiting.reset();
        } else if !pending.is_empty() {
            waiting.wait();
        }
    }
}
