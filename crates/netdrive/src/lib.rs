//! Loads any NCCL net plugin and drives it as NCCL's proxy does.
//!
//! - [`Driver`]: a table (a plugin's of v6 to v12, or NCCL's own) with a service and a progress thread.
//! - [`Listener`], [`SendComm`], [`RecvComm`]: connections; [`MessageSender`] and [`MessageReceiver`] move single messages.
//! - [`Ring`] and [`Mesh`]: all ranks connected, and NCCL's collectives over host memory ([`Operation`]).
//! - [`Streams`]: messages between pairs of ranks, as many pairs at once as wanted, with the time of each arrival.
//! - [`start_log`]: what nets log, printed as NCCL prints it.

mod abort;
mod arrival;
mod collective;
mod comm;
mod driver;
mod element;
mod error;
mod fifo;
mod handle;
mod idle;
mod memory;
mod mesh;
mod message;
mod nccl_log;
mod progress;
mod ring;
mod service;
mod source;
mod streams;

pub use abort::Abort;
pub use arrival::{Arrival, monotonic};
pub use collective::{Buffers, Collective, Operation};
pub use comm::{Listener, Pending, RecvComm, SendComm};
pub use driver::{Device, Driver, DriverOptions};
pub use element::{DataType, Reduction};
pub use error::Error;
pub use handle::{HANDLE_BYTES, Handle};
pub use idle::Waiting;
pub use mesh::{Mesh, MeshOptions};
pub use message::{MessageReceiver, MessageSender};
pub use nccl_log::{LogLevel, LogSettings, SettingsError, Subsystems, hostname, start as start_log};
pub use nccl_net_abi::{Properties, Stock, Version};
pub use progress::Pulse;
pub use ring::{Exchange, Ring, RingOptions};
pub use source::NetSource;
pub use streams::{Amount, Load, SlotMemory, Stream, Streams, StreamsOptions};
