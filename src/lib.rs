//! NCCL net plugin that pins every connection to an SRv6 path.
//!
//! NCCL finds our tables (`ffi::tables`) by `dlsym`. At the first init one transport is chosen and wrapped
//! (`inner`); each connect then waits for its route (`connect`, `steering`) before the inner transport goes
//! on; the data path is the inner transport's own.
#![deny(unsafe_code)]

mod attempts;
mod config;
mod connect;
mod device;
mod error;
#[allow(unsafe_code, reason = "the C boundary")]
mod ffi;
mod handle;
#[allow(unsafe_code, reason = "calls the inner transport's finalize")]
mod inner;
#[allow(unsafe_code, reason = "pthread_atfork and atexit")]
mod lifetime;
mod log;
#[allow(unsafe_code, reason = "a net whose comms are raw pointers")]
mod multipath;
mod plugin;
mod steering;

pub use ffi::tables::{
    ncclNetPlugin_v6, ncclNetPlugin_v7, ncclNetPlugin_v8, ncclNetPlugin_v9, ncclNetPlugin_v10,
    ncclNetPlugin_v11, ncclNetPlugin_v12,
};
pub use inner::wrap;
