//! A session for questions and orders of people: `srv6ctl`, and whether an agent answers at all.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use srv6_routes::Slot;

use super::Attachment;
use super::link::{Link, Sending};
use crate::SteerError;
use crate::protocol::{Event, Request};

/// An open session in which one thing is asked after the other. Calls block, each up to the session's patience.
#[derive(Debug)]
pub struct AgentSession {
    link: Link,
    sending: Sending,
    attachment: Attachment,
    agent: String,
    token: u32,
}

impl AgentSession {
    /// Opens a session. The attachment's deadline is the patience with every answer.
    ///
    /// # Errors
    /// Nobody there, no answer, or a refusal.
    pub fn open(attachment: &Attachment) -> Result<Self, SteerError> {
        let mut link = Link::open(&attachment.socket)?;
        let mut sending = link.sending()?;
        let unreachable = |source| SteerError::AgentUnreachable { socket: attachment.socket.clone(), source };
        sending.send(&Request::Hello(attachment.hello())).map_err(unreachable)?;
        link.set_patience(Some(attachment.deadline)).map_err(unreachable)?;
        match next(&mut link, attachment)? {
            Event::Welcome { agent, .. } => {
                Ok(Self { link, sending, attachment: attachment.clone(), agent, token: 0 })
            }
            Event::Refused { reason } => {
                Err(SteerError::AgentRefused { socket: attachment.socket.clone(), reason })
            }
            _ => Err(SteerError::AgentTimeout {
                socket: attachment.socket.clone(),
                waited: attachment.deadline,
            }),
        }
    }

    /// The agent's version.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Asks with one JSON object, and gives every answer to `each`, in order; the last one ends it. `patience` is for the time
    /// between two answers; none: until there is one.
    ///
    /// # Errors
    /// The session ends, or no answer in time.
    pub fn control(
        &mut self,
        json: &str,
        patience: Option<Duration>,
        mut each: impl FnMut(&str),
    ) -> Result<(), SteerError> {
        let token = self.send(|token| Request::Control { token, json: json.to_owned() })?;
        self.link.set_patience(patience).map_err(|source| self.unreachable(source))?;
        loop {
            match next(&mut self.link, &self.attachment)? {
                Event::Answer { token: of, more, json } if of == token => {
                    each(&json);
                    if !more {
                        return Ok(());
                    }
                }
                Event::Refused { reason } => return Err(self.refused(reason)),
                _ => {}
            }
        }
    }

    /// Gives a TCP socket that is bound to an address of this process's network namespace the mark of a slot.
    ///
    /// # Errors
    /// The agent's refusal, or no answer in time.
    pub fn mark(&mut self, socket: impl AsFd, slot: Slot) -> Result<(), SteerError> {
        self.token += 1;
        let request = Request::Mark { token: self.token, slot };
        let sent = self.sending.send_with(&request, socket.as_fd());
        sent.map_err(|source| self.unreachable(source))?;
        let patience = Some(self.attachment.deadline);
        self.link.set_patience(patience).map_err(|source| self.unreachable(source))?;
        loop {
            match next(&mut self.link, &self.attachment)? {
                Event::Marked { token, refusal } if token == self.token && refusal.is_empty() => {
                    return Ok(());
                }
                Event::Marked { token, refusal } if token == self.token => return Err(self.refused(refusal)),
                Event::Refused { reason } => return Err(self.refused(reason)),
                _ => {}
            }
        }
    }

    fn send(&mut self, request: impl FnOnce(u32) -> Request) -> Result<u32, SteerError> {
        self.token += 1;
        let sent = self.sending.send(&request(self.token));
        sent.map_err(|source| self.unreachable(source))?;
        Ok(self.token)
    }

    fn unreachable(&self, source: std::io::Error) -> SteerError {
        SteerError::AgentUnreachable { socket: self.attachment.socket.clone(), source }
    }

    fn refused(&self, reason: String) -> SteerError {
        SteerError::AgentRefused { socket: self.attachment.socket.clone(), reason }
    }
}

/// The next message; a read that took too long is told as what it is.
fn next(link: &mut Link, attachment: &Attachment) -> Result<Event, SteerError> {
    let started = Instant::now();
    link.next().map_err(|error| match error {
        SteerError::AgentUnreachable { socket, source }
            if source.kind() == std::io::ErrorKind::WouldBlock =>
        {
            SteerError::AgentTimeout { socket, waited: started.elapsed().max(Duration::from_millis(1)) }
        }
        other => {
            log::debug!("session with {} ended", attachment.socket.display());
            other
        }
    })
}
