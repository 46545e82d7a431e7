//! Why a net could not be loaded or driven.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nccl_net_abi::Code;

use crate::Collective;

/// Why a net could not be loaded or driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The memory for messages can't be laid out as wanted.
    #[error("can't lay out the memory for messages")]
    Memory {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// No usable table in the file.
    #[error(transparent)]
    Abi(#[from] nccl_net_abi::Error),
    /// The libnccl is of a release whose tables we don't know.
    #[error("{} is NCCL {code}: the layout of its tables is known for 2.13 to 2.32", path.display())]
    UnknownRelease {
        /// The libnccl.
        path: PathBuf,
        /// What its `ncclGetVersion` says.
        code: i32,
    },
    /// The libnccl can't be read.
    #[error("can't read the symbols of {}", path.display())]
    Symbols {
        /// The libnccl.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The libnccl is no ELF file that has a symbol table.
    #[error("can't read the symbols of {}", path.display())]
    SymbolTable {
        /// The libnccl.
        path: PathBuf,
        /// The parser's reason.
        #[source]
        source: object::Error,
    },
    /// The libnccl was stripped, so its log function can't be found.
    #[error("{} has no symbol ncclDebugLog: it is stripped, its log function can't be found", path.display())]
    NoLogger {
        /// The libnccl.
        path: PathBuf,
    },
    /// A log file can't be created.
    #[error("can't create the log file {}", path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A call of the net failed.
    #[error("{call} of net {net} failed")]
    Call {
        /// The net's name.
        net: String,
        /// NCCL's name of the call.
        call: &'static str,
        /// What it returned.
        #[source]
        source: Code,
    },
    /// A call succeeded and gave NULL where it must not.
    #[error("{call} of net {net} returned success and NULL")]
    Null {
        /// The net's name.
        net: String,
        /// NCCL's name of the call.
        call: &'static str,
    },
    /// The net says that it can't be used here.
    #[error("net {net} has {count} devices: it can't be used here (NCCL would go on with another net)")]
    NoDevices {
        /// The net's name.
        net: String,
        /// What devices() said.
        count: i32,
    },
    /// There is no such device.
    #[error("net {net} has no device {dev}: it has 0 to {}", count - 1)]
    NoSuchDevice {
        /// The net's name.
        net: String,
        /// What was asked for.
        dev: usize,
        /// How many there are.
        count: usize,
    },
    /// A property that NCCL refuses.
    #[error("device {dev} of net {net} has {property} {value}: NCCL wants {wanted}")]
    Property {
        /// The net's name.
        net: String,
        /// The device.
        dev: usize,
        /// NCCL's name of the property.
        property: &'static str,
        /// What it is.
        value: u64,
        /// What it should be.
        wanted: &'static str,
    },
    /// The net says that a device comm exists where it promised a host device.
    #[error("{call} of net {net} set a device handle although the device is a host device")]
    DeviceHandle {
        /// The net's name.
        net: String,
        /// NCCL's name of the call.
        call: &'static str,
    },
    /// A connection did not come up in time.
    #[error("{call} of net {net} is not done after {waited:?}")]
    ConnectTimeout {
        /// The net's name.
        net: String,
        /// NCCL's name of the call.
        call: &'static str,
        /// How long it was tried.
        waited: Duration,
    },
    /// Somebody gave the driver an order to stop.
    #[error("stopped: {reason}")]
    Aborted {
        /// Why.
        reason: String,
    },
    /// A message has another length than the algorithm expects.
    #[error("received a message of {got} bytes instead of {wanted}")]
    MessageSize {
        /// What should have come.
        wanted: usize,
        /// What came.
        got: i64,
    },
    /// A message doesn't fit the registered memory.
    #[error("a message of {bytes} bytes doesn't fit slots of {slot_bytes}")]
    MessageTooLong {
        /// The message.
        bytes: usize,
        /// The slot.
        slot_bytes: usize,
    },
    /// Something with one peer went wrong.
    #[error("{direction} rank {rank}")]
    Peer {
        /// "sending to" and the like.
        direction: &'static str,
        /// The peer.
        rank: usize,
        /// What went wrong.
        #[source]
        source: Box<Self>,
    },
    /// The ranks could not exchange their handles.
    #[error("can't exchange connection handles with the other ranks")]
    Exchange {
        /// The exchange's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A rank sent something else than its handles.
    #[error(
        "rank {rank} sent {got} bytes of handles instead of {wanted}: do all ranks use the same options?"
    )]
    HandleBytes {
        /// The rank.
        rank: usize,
        /// What it sent.
        got: usize,
        /// What was wanted.
        wanted: usize,
    },
    /// A buffer has another length than the collective needs.
    #[error("{option} is {value} bytes long: wanted {wanted}")]
    BufferBytes {
        /// Which buffer.
        option: &'static str,
        /// Its bytes.
        value: usize,
        /// What is needed.
        wanted: usize,
    },
    /// The connections don't serve this collective.
    #[error("{collective:?} doesn't go over a {links}")]
    NotOver {
        /// What was asked for.
        collective: Collective,
        /// How the ranks are connected.
        links: &'static str,
    },
    /// A ring or mesh of these options can't be.
    #[error("{option} is {value}: wanted {wanted}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it is.
        value: usize,
        /// What it should be.
        wanted: &'static str,
    },
    /// A thread can't be started.
    #[error("can't start thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A thread of the driver is gone: it panicked.
    #[error("thread {name} of the driver is gone")]
    ThreadGone {
        /// Its name.
        name: &'static str,
    },
    /// Connections that failed can't go on: requests may be outstanding.
    #[error("these connections failed before")]
    Broken,
}

impl Error {
    /// Whether the net asked for a CUDA driver and found none (`ncclUnhandledCudaError`).
    pub fn is_unhandled_cuda(&self) -> bool {
        match self {
            Self::Call { source, .. } => source.raw() == 1,
            Self::Peer { source, .. } => source.is_unhandled_cuda(),
            _ => false,
        }
    }

    /// Says with which rank it went wrong.
    pub(crate) fn with_peer(self, direction: &'static str, rank: usize) -> Self {
        match self {
            // Not the peer's doing.
            Self::Aborted { .. } => self,
            source => Self::Peer { direction, rank, source: Box::new(source) },
        }
    }
}
