//! Non-blocking multi-socket TCP transport: one connection is 1 to 8 TCP subflows.
//!
//! A connection carries messages one way, from a [`SendComm`] to a [`RecvComm`]. Messages are cut
//! into chunks; the subflow that has room takes the next one, so each path's share follows what it
//! can carry. The receiver reads payload straight into the buffer that was posted for the message.
//!
//! No call blocks, and there are no threads: bytes move inside `post` and `test` only. Messages and
//! receives match in the order of posting. Up to [`MAX_REQUESTS`] requests are outstanding per comm.
//!
//! # Layers
//!
//! `message` cuts and reassembles, and knows neither sockets nor memory, so that every schedule of
//! chunks can be tried without a network. `subflow` is one socket. `comm` joins the two. `connect`
//! and `listen` make the sockets and check with `hello` that both sides mean the same connection.
//!
//! # Number of subflows
//!
//! The listener's number is part of its [`ListenAddress`], and the connector uses the smaller of
//! that and its own. So both sides know it before the first packet, and a connect completes without
//! the peer having called accept: ranks that connect in a ring before they accept don't deadlock.
//!
//! # Threads
//!
//! Comms are `Send`; `post` and `test` take `&mut self`. Connecting, accepting and dropping may
//! happen on another thread than posting and testing.

#![deny(unsafe_code)]

mod address;
mod buffer;
mod comm;
mod config;
mod connect;
mod error;
mod fields;
mod hello;
mod listen;
mod message;
mod request;
mod subflow;

pub use address::{AddressError, ListenAddress};
pub use buffer::RawBuf;
pub use comm::{RecvComm, SendComm};
pub use config::{Config, MAX_PATHS};
pub use connect::Connector;
pub use error::{Activity, Error, Result};
pub use hello::{Terms, VERSION};
pub use listen::Listener;
pub use message::Violation;
pub use request::{MAX_REQUESTS, RequestId, UnknownRequest};
pub use subflow::{SubflowStats, TcpInfo};
