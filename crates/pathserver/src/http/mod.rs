//! HTTP as FastAPI speaks it: where requests go, how parameters are read, how refusals are worded.

mod parameters;
mod reply;
mod target;

pub(crate) use parameters::Parameters;
pub(crate) use reply::{CROSS_ORIGIN, Failure, Reply, json_response};
pub(crate) use target::{Addition, Call, GraphCall, Links, Target};
