//! Single messages over one connection, for those who have no collective to run.

use crate::comm::Region;
use crate::fifo::{RecvFifo, STEPS, SendFifo, Slots};
use crate::memory::Memory;
use crate::progress::Progressed;
use crate::{Error, RecvComm, SendComm};

/// Sends messages over a connection, up to eight under way at a time.
#[derive(Debug)]
pub struct MessageSender(Option<(SendComm, SendFifo)>, usize);

impl MessageSender {
    /// Registers eight slots of `slot_bytes` (rounded up to 16) on the comm.
    ///
    /// # Errors
    /// What the net says to regMr.
    pub fn new(mut comm: SendComm, slot_bytes: usize) -> Result<Self, Error> {
        let slot_bytes = slot_bytes.next_multiple_of(16);
        let region: Region = comm.register(Memory::new(slot_bytes * STEPS))?;
        let fifo = SendFifo::new(Slots::new(region, slot_bytes)?, 0);
        Ok(Self(Some((comm, fifo)), slot_bytes))
    }

    /// Sends messages in order and waits until all are done.
    ///
    /// # Errors
    /// If a message doesn't fit a slot, or the net fails; then the sender can't be used again.
    pub fn send(&mut self, messages: Vec<Vec<u8>>) -> Result<(), Error> {
        let slot_bytes = self.1;
        if let Some(message) = messages.iter().find(|message| message.len() > slot_bytes) {
            return Err(Error::MessageTooLong { bytes: message.len(), slot_bytes });
        }
        let (comm, fifo) = self.0.take().ok_or(Error::Broken)?;
        let inner = std::sync::Arc::clone(comm.comm().inner());
        let mut messages = messages.into_iter().peekable();
        let (state, result) =
            inner.progress.run(&inner.options.abort, (comm, fifo), move |(comm, fifo)| {
                let mut moved = false;
                while messages.peek().is_some()
                    && let Some(free) = fifo.free()
                    && let Some(message) = messages.next()
                {
                    free.iter_mut().zip(&message).for_each(|(to, from)| *to = *from);
                    fifo.fill(message.len());
                    moved = true;
                }
                moved |= fifo.advance(comm)?;
                Ok(match messages.peek() {
                    None if fifo.is_empty() => Progressed::Over,
                    _ if moved => Progressed::Moved,
                    _ => Progressed::Idle,
                })
            })?;
        result?;
        self.0 = Some(state);
        Ok(())
    }

    /// Closes the comm.
    ///
    /// # Errors
    /// What the net says to deregMr and closeSend.
    pub fn close(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |(comm, _)| comm.close())
    }
}

/// Receives messages over a connection, up to eight under way at a time.
#[derive(Debug)]
pub struct MessageReceiver(Option<(RecvComm, RecvFifo)>);

impl MessageReceiver {
    /// Registers eight slots of `slot_bytes` (rounded up to 16) on the comm.
    ///
    /// # Errors
    /// What the net says to regMr.
    pub fn new(mut comm: RecvComm, slot_bytes: usize) -> Result<Self, Error> {
        let slot_bytes = slot_bytes.next_multiple_of(16);
        let region: Region = comm.register(Memory::new(slot_bytes * STEPS))?;
        Ok(Self(Some((comm, RecvFifo::new(&[(Slots::new(region, slot_bytes)?, 0)])))))
    }

    /// Waits for so many messages and gives them in order.
    ///
    /// # Errors
    /// If the net fails; then the receiver can't be used again.
    pub fn receive(&mut self, count: usize) -> Result<Vec<Vec<u8>>, Error> {
        let (comm, mut fifo) = self.0.take().ok_or(Error::Broken)?;
        fifo.expect(count as u64);
        let inner = std::sync::Arc::clone(comm.comm().inner());
        let state = (comm, fifo, Vec::with_capacity(count));
        let ((comm, fifo, messages), result) =
            inner.progress.run(&inner.options.abort, state, move |(comm, fifo, messages)| {
                let mut moved = fifo.advance(comm)?;
                while let Some(message) = fifo.ready(0) {
                    messages.push(message.to_vec());
                    fifo.consume(0);
                    moved = true;
                }
                Ok(if messages.len() >= count {
                    Progressed::Over
                } else if moved {
                    Progressed::Moved
                } else {
                    Progressed::Idle
                })
            })?;
        result?;
        self.0 = Some((comm, fifo));
        Ok(messages)
    }

    /// Closes the comm.
    ///
    /// # Errors
    /// What the net says to deregMr and closeRecv.
    pub fn close(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |(comm, _)| comm.close())
    }
}
