//! Messages as chunks over several byte streams: no sockets, no memory, no clock.
//!
//! On the sending side [`SendQueue`] cuts the posted messages into chunks, in order, and each
//! subflow's [`Outgoing`] pulls the next one when it has room. On the receiving side each subflow's
//! [`Incoming`] turns its stream back into chunks, and [`ReceiveQueue`] says where in which posted
//! buffer they land, or that they have to wait because nothing is posted for them yet.

mod chunk;
#[cfg(test)]
mod model;
mod receive;
mod send;

pub(crate) use chunk::Chunk;
pub use chunk::Violation;
pub(crate) use receive::{Incoming, ReceiveQueue, Refused};
pub(crate) use send::{Outgoing, SendQueue};
