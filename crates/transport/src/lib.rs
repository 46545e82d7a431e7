//! Non-blocking multi-socket TCP transport: one connection is 1 to 8 TCP subflows, each over a path of its own.
//!
//! A connection carries messages one way, from a [`SendComm`] to a [`RecvComm`]. Messages are cut
//! into chunks; the subflow that has room takes the next one, so each path's share follows what it
//! can carry. The receiver reads payload straight into the buffer that was posted for the message, and tells the
//! sender what has come. A path that stops carrying costs milliseconds: what was on it goes over the others, and its
//! subflow gets a new socket when it carries again.
//!
//! No call blocks: bytes move inside `post` and `test`. Messages and
//! receives match in the order of posting. Up to [`MAX_REQUESTS`] requests are outstanding per comm.
//!
//! # Layers
//!
//! `proto` is the protocol as two state machines, which know neither sockets nor memory nor the clock, so that every
//! schedule of chunks, deaths and revivals can be tried without a network. `subflow` is one socket, [`Pin`] ties it
//! to a path. `comm` joins them. `connect` and `listen` make the sockets and check with `hello` that both sides mean
//! the same connection.
//!
//! # Number of subflows
//!
//! The listener's number is part of its [`ListenAddress`], and the connector uses the smaller of
//! that and its number of [`Lane`]s. So both sides know it before the first packet, and a connect completes without
//! the peer having called accept: ranks that connect in a ring before they accept don't deadlock.
//!
//! # Threads
//!
//! Comms are `Send`; `post` and `test` take `&mut self`. Connecting, accepting and dropping may
//! happen on another thread than posting and testing. One thread per process, `srv6-senders`, looks after senders
//! whose caller doesn't call while the receiver may lack something; it sleeps while there are none.
//!
//! [`connections()`] gives any thread the numbers of all live connections. A process that calls [`serve_connections`] has a
//! second thread while it has connections, `srv6-stats`, which gives them to other processes that [ask](read_connections).
//!
//! A process that forks registers [`before_fork`] and the other two with `pthread_atfork`, so that its children can
//! have connections of their own and keep none of its.

#![deny(unsafe_code)]

mod address;
mod buffer;
mod comm;
mod config;
mod congestion;
mod connect;
mod connections;
mod error;
mod fields;
mod fork;
mod hello;
mod keeper;
mod listen;
mod marker;
mod pin;
mod poller;
mod proto;
mod request;
mod shares;
mod sockopt;
mod splice;
mod subflow;
mod uninherited;

pub use address::{AddressError, ListenAddress};
pub use buffer::RawBuf;
pub use comm::{RecvComm, SendComm};
pub use config::{Config, MAX_PATHS};
pub use congestion::{Congestion, CongestionError};
pub use connect::{Connector, LaneStatus};
pub use connections::{
    ConnectionStats, Direction, HostConnections, ProcessConnections, SubflowState, SubflowStats, Unread,
    connections, read_connections, serve_connections,
};
pub use error::{Activity, Error, Result, Trouble};
pub use fork::{after_fork_in_child, after_fork_in_parent, before_fork};
pub use hello::{Identity, Objection, Terms, VERSION};
pub use keeper::PathKeeper;
pub use listen::Listener;
pub use marker::{MarkAnswer, Marker, SocketCopy};
pub use pin::{Lane, Pin};
pub use proto::Violation;
pub use request::{MAX_REQUESTS, RequestId, UnknownRequest};
pub use shares::{Share, Shares};
pub use subflow::TcpInfo;
