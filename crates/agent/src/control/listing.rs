//! What the agent and its clients do at the moment.

use std::time::Duration;

use serde_json::{Value, json};
use srv6_steer::{Awaited, Lanes, LanesStatus, Status, Steered};

use super::Say;
use crate::{Agent, HintClaim, Session, Wish};

/// Flows per answer: a message has a longest length.
const PER_ANSWER: usize = 200;

/// Longest wait for the steering threads.
const PATIENCE: Duration = Duration::from_secs(2);

/// The agent, its namespaces and its sessions.
pub(super) fn status(agent: &Agent) -> Value {
    let hosts = agent.hosts().all();
    let asked: Vec<_> = hosts.iter().map(|host| (host.id(), host.steer().report())).collect();
    let namespaces: Vec<Value> = asked
        .into_iter()
        .map(|(id, report): (_, Awaited<_>)| {
            let report = report.wait(PATIENCE);
            json!({
                "namespace": id.inode,
                "flows": report.as_ref().map(|report| report.flows.len()),
                "answers": report.is_some(),
            })
        })
        .collect();
    let sessions: Vec<Value> = agent.registry().sessions().iter().map(|session| one(session)).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_s": agent.started().elapsed().as_secs_f64(),
        "socket": agent.config().socket.display().to_string(),
        "topology_known": agent.paths().known().is_some(),
        "topologies_read": agent.paths().topologies_read(),
        "namespaces": namespaces,
        "sessions": sessions,
    })
}

fn one(session: &Session) -> Value {
    let (mut ready, mut pending, mut failed) = (0_usize, 0_usize, 0_usize);
    session.each(|_, wish| {
        let count = match wish {
            Wish::Flow(hold) => match hold.status() {
                Status::Ready(_) => &mut ready,
                Status::Pending => &mut pending,
                Status::Failed(_) => &mut failed,
            },
            Wish::Lanes(hold, _) => match hold.status() {
                LanesStatus::Ready(_) => &mut ready,
                LanesStatus::Pending => &mut pending,
                LanesStatus::Failed(_) => &mut failed,
            },
        };
        *count += 1;
    });
    let mut value = who(session);
    value.set("age_s", json!(session.since().elapsed().as_secs_f64()));
    value.set("ready", json!(ready));
    value.set("pending", json!(pending));
    value.set("failed", json!(failed));
    value
}

fn who(session: &Session) -> Value {
    let hello = session.hello();
    let labels: serde_json::Map<String, Value> =
        hello.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "session": session.number(),
        "pid": session.pid(),
        "uid": session.uid(),
        "namespace": session.host().id().inode,
        "job": hello.job,
        "rank": hello.rank,
        "labels": labels,
    })
}

/// Every registration with the process that made it, a part of them per answer.
pub(super) fn flows(agent: &Agent, say: Say<'_>) {
    let mut part = Vec::new();
    for session in agent.registry().sessions() {
        let who = who(&session);
        let mut own = Vec::new();
        session.each(|id, wish| own.push(registration(id, wish)));
        for mut value in own {
            for key in ["pid", "uid", "namespace", "job", "rank"] {
                value.set(key, who.get(key).cloned().unwrap_or_default());
            }
            part.push(value);
            if part.len() == PER_ANSWER
                && !say(json!({ "flows": std::mem::take(&mut part) }).to_string(), true)
            {
                return;
            }
        }
    }
    say(json!({ "flows": part }).to_string(), false);
}

fn registration(id: u32, wish: &Wish) -> Value {
    let flow = wish.flow();
    let mut value = json!({ "id": id, "src": flow.src, "dst": flow.dst, "paths": [] });
    let (state, reason) = match wish {
        Wish::Flow(hold) => match hold.status() {
            Status::Pending => ("pending", None),
            Status::Ready(steered) => {
                value.set("paths", json!([path(&steered)]));
                ("ready", None)
            }
            Status::Failed(reason) => ("failed", Some(reason.to_string())),
        },
        Wish::Lanes(hold, hint) => match hold.status() {
            LanesStatus::Pending => ("pending", None),
            LanesStatus::Ready(lanes) => {
                value.set("pinning", json!(lanes.pinning.to_string()));
                value.set("hint_slot", json!(hint.as_ref().map(HintClaim::slot)));
                value.set("paths", lane_paths(&lanes));
                ("ready", None)
            }
            LanesStatus::Failed(reason) => ("failed", Some(reason.to_string())),
        },
    };
    value.set("state", json!(state));
    value.set("reason", json!(reason));
    value
}

fn path(steered: &Steered) -> Value {
    json!({
        "hops": steered.hops,
        "carrier": steered.carrier,
        "origin": steered.origin,
        "took_ms": steered.took.as_secs_f64() * 1e3,
    })
}

fn lane_paths(lanes: &Lanes) -> Value {
    let one = |lane: &srv6_steer::LanePath| {
        let mut value = path(&lane.steered);
        value.set("slot", json!(lane.slot.number()));
        value
    };
    lanes.lanes.iter().map(one).collect()
}

/// A member more for an object; nothing for what is none.
trait Set {
    fn set(&mut self, key: &str, member: Value);
}

impl Set for Value {
    fn set(&mut self, key: &str, member: Value) {
        if let Some(object) = self.as_object_mut() {
            object.insert(key.to_owned(), member);
        }
    }
}
