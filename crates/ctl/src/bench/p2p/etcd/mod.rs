//! Addresses through etcd: every agent is registered under its name for as long as it lives.
//!
//! A key is `NAMESPACE/NAME/srv6ctl-p2p`, as NIXL's own agents keep theirs below `NAMESPACE/NAME/`; both may share a
//! namespace. Its value is JSON, and it hangs on a lease that its process keeps alive.

mod client;
mod registry;

pub(super) use client::Endpoints;
pub(super) use registry::{Entry, Namespace, RETRY, Registration, Role};
