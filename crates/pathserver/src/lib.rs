//! A Jalapeno-compatible path API over topology documents, embedded in one process.
//!
//! A [`Server`] answers what the FastAPI application in front of ArangoDB answers for the same documents: routes,
//! field sets and their order, refusals, side effects and faults, so that a client can't tell them apart. Beyond
//! that it serves requests side by side, checks its documents before it serves them, and has two calls of its own:
//! `POST /srv6/v1/load/reset` and `POST /srv6/v1/topology`.
#![forbid(unsafe_code)]

mod answering;
mod api;
mod error;
mod faults;
mod http;
mod options;
mod search;
mod server;
mod srv6;
mod store;

pub use error::ServerError;
pub use faults::{Faults, FaultyReply};
pub use options::{Generation, Options};
pub use server::{Running, Server};
