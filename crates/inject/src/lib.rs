//! What a Kubernetes job needs to be steered, put into its manifest and taken out again.
//!
//! [`inject_pod`] works on one pod as JSON has it, for an admission webhook; [`inject`] on a text of YAML documents, of which it
//! changes the lines that it must. Both leave a record in the pod, by which [`remove_pod`] and [`remove`] give back what was
//! there. Nothing here does I/O.

mod error;
mod manifest;
pub mod names;
mod options;
mod pod;
mod pytorch;
mod report;
mod yaml;

pub use error::Error;
pub use manifest::{Injected, check, inject, remove};
pub use options::{Mode, Options, Pytorch};
pub use pod::{check_pod, inject_pod, remove_pod};
pub use report::{Report, State};
