//! srv6d: one process per host that holds the privilege and steers for all jobs.
//!
//! [`Agent`] is the state that everything hangs on: [`Hosts`] has one [`srv6_steer::Steer`] per network namespace in which
//! somebody is steered, all of them over one path source. What listens, probes or counts runs beside it and asks it.
#![forbid(unsafe_code)]

mod agent;
mod check;
mod config;
mod control;
mod counted;
mod denied;
mod drain;
mod error;
mod hinting;
mod home;
mod hosts;
mod http;
mod listening;
mod metrics;
mod probe;
mod registry;
mod server;
mod snapshot;
mod subflows;
mod throttle;
mod traffic;
mod webhook;

pub use agent::Agent;
pub use check::{Finding, findings};
pub use config::{
    Config, FIELDS, FileError, HintsConfig, Layers, Limits, MpibConfig, SHARED, Scope, WebhookConfig, command,
};
pub use counted::Counts;
pub use denied::Denied;
pub use drain::{DrainError, Drained, Drains, Undrained};
pub use error::AgentError;
pub use hinting::{
    HintClaim, Hinting, HintingError, Kind, Line, LineError, Mpib, MpibCounts, Which, read_lines,
};
pub use hosts::{Host, Hosts, Namespace, NamespaceId};
pub use http::Http;
pub use metrics::Metrics;
pub use probe::{Health, Probed, Prober, Trust, Way, Ways};
pub use registry::{LimitError, Registry, Session, Wish};
pub use server::Server;
pub use snapshot::{MpibState, NamespaceState, Owner, Snapshot};
pub use subflows::{PathSubflows, Subflows};
pub use traffic::{Carried, Traffic};
pub use webhook::{Webhook, WebhookError};
