//! Preload library that steers what no net plugin is asked about: gloo, UCX, MPI, rendezvous and bootstrap sockets.
//!
//! `LD_PRELOAD=libsrv6-shim.so` puts its `connect` and `accept` before libc's (`interpose`). A destination that is a host of
//! the fabric (`hosts`) gets its route before the first packet leaves (`steering`); all others cost one lookup. Whatever
//! goes wrong here, the program gets what libc would have given it (`quiet`).
#![deny(unsafe_code)]

mod address;
#[allow(unsafe_code, reason = "a C interface")]
mod api;
mod bell;
mod config;
mod hosts;
#[allow(unsafe_code, reason = "stands in for functions of libc")]
mod interpose;
#[allow(unsafe_code, reason = "init_array, pthread_atfork and atexit")]
mod lifetime;
mod log;
#[allow(unsafe_code, reason = "dlsym")]
mod next;
mod outcome;
mod process;
#[allow(unsafe_code, reason = "a pointer that readers load without a lock")]
mod published;
#[allow(unsafe_code, reason = "errno and the state of cancellation")]
mod quiet;
mod steering;

pub use api::{srv6_shim_error, srv6_shim_steer};
