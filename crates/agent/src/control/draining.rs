//! Orders about switches and links that are taken out of use.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Agent, DrainError};

/// What flows keep off.
pub(super) fn denied(agent: &Agent) -> Value {
    let denials = agent.denied().denials();
    let names = |places: &std::collections::BTreeSet<srv6_steer::Place>| -> Vec<String> {
        places.iter().map(ToString::to_string).collect()
    };
    json!({ "drained": names(&denials.drained), "assumed_bad": names(&denials.bad) })
}

/// Drains, and says what became of it. Blocks.
pub(super) fn drain(agent: &Agent, place: &str, patience_ms: u64) -> Result<Value, DrainError> {
    let drained = agent.drains().drain(agent, place, Duration::from_millis(patience_ms))?;
    Ok(json!({
        "drained": drained.place.to_string(),
        "moved": drained.moved,
        "moved_after_ms": drained.moved_after.as_secs_f64() * 1e3,
        "connections": drained.connections,
        "empty_after_ms": drained.empty_after.as_secs_f64() * 1e3,
        "unfinished": drained.unfinished,
        "silent": drained.silent,
    }))
}

/// Gives back, and says how many moved. Blocks.
pub(super) fn undrain(agent: &Agent, place: &str) -> Result<Value, DrainError> {
    let undrained = agent.drains().undrain(agent, place)?;
    let place = undrained.place.to_string();
    Ok(json!({ "undrained": place, "moved": undrained.moved, "silent": undrained.silent }))
}
