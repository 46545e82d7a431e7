//! Loads any NCCL net plugin and drives it as NCCL's proxy does.
//!
//! - [`Driver`]: a table (a plugin's of v6 to v12, or NCCL's own) with a service and a progress thread.
//! - [`Listener`], [`SendComm`], [`RecvComm`]: connections; [`MessageSender`] and [`MessageReceiver`] move single messages.
//! - [`Ring`]: all ranks connected in rings, and a ring all-reduce of floats in host memory.
//! - [`start_log`]: what nets log, printed as NCCL prints it.

mod abort;
mod comm;
mod driver;
mod error;
mod fifo;
mod handle;
mod idle;
mod memory;
mod message;
mod nccl_log;
mod progress;
mod ring;
mod service;
mod source;

pub use abort::Abort;
pub use comm::{Listener, Pending, RecvComm, SendComm};
pub use driver::{Device, Driver, DriverOptions};
pub use error::Error;
pub use handle::{HANDLE_BYTES, Handle};
pub use message::{MessageReceiver, MessageSender};
pub use nccl_log::{LogLevel, LogSettings, SettingsError, Subsystems, hostname, start as start_log};
pub use nccl_net_abi::{Properties, Stock, Version};
pub use ring::{Exchange, Ring, RingOptions};
pub use source::NetSource;
