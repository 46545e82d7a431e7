//! Questions and orders of people, as JSON: what `srv6ctl` says to the agent. docs/PROTOCOL.md has the list.

mod draining;
mod listing;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Agent, DrainError, Kind, Which};
use srv6_fabric::chain;

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    /// The agent itself, and who is attached.
    Status {},
    /// Every registration.
    Flows {},
    /// What is drained, and what is assumed bad.
    Denied {},
    /// Takes a switch or link out of use, and waits until nothing is under way over it.
    Drain {
        /// Name or id.
        place: String,
        /// Longest wait in milliseconds.
        patience_ms: u64,
    },
    /// Gives it back.
    Undrain {
        /// Name or id.
        place: String,
    },
    /// Weights of paths, or hints for MPIB's clients: of one slot, or of all in use.
    SetHints {
        /// MPIB's.
        mpib: bool,
        /// Which; all if none.
        slot: Option<u32>,
        /// What they are to say.
        value: String,
    },
}

/// Where answers go: the JSON, and whether more follow. False: nobody listens any more.
type Say<'a> = &'a mut dyn FnMut(String, bool) -> bool;

/// Answers one question of a user. Blocks.
pub(crate) fn answer(agent: &Agent, uid: u32, json: &str, say: Say<'_>) {
    match serde_json::from_str(json) {
        Ok(Order::Status {}) => last(say, &listing::status(agent)),
        Ok(Order::Flows {}) => listing::flows(agent, say),
        Ok(Order::Denied {}) => last(say, &draining::denied(agent)),
        Ok(Order::Drain { .. } | Order::Undrain { .. }) if !may_order(uid) => refuse(say, &not_allowed(uid)),
        Ok(Order::Drain { place, patience_ms }) => told(say, draining::drain(agent, &place, patience_ms)),
        Ok(Order::Undrain { place }) => told(say, draining::undrain(agent, &place)),
        Ok(Order::SetHints { .. }) if !may_order(uid) => refuse(say, &not_allowed(uid)),
        Ok(Order::SetHints { mpib, slot, value }) => {
            let kind = if mpib { Kind::Mpib } else { Kind::Paths };
            match agent.hinting().set(kind, slot.map_or(Which::All, Which::Slot), &value) {
                Ok(count) => last(say, &json!({ "set": count })),
                Err(error) => refuse(say, &chain(&error)),
            }
        }
        Err(error) => refuse(say, &format!("want an order that this agent knows: {error}")),
    }
}

/// Whether a user may change what concerns the jobs of others: root, and who runs the agent.
fn may_order(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn not_allowed(uid: u32) -> String {
    format!("user {uid} may not change what concerns other users' jobs; want root")
}

fn last(say: Say<'_>, value: &Value) {
    say(value.to_string(), false);
}

fn told(say: Say<'_>, result: Result<Value, DrainError>) {
    match result {
        Ok(value) => last(say, &value),
        Err(error) => refuse(say, &chain(&error)),
    }
}

fn refuse(say: Say<'_>, reason: &str) {
    last(say, &json!({ "error": reason }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Layers};

    #[test]
    fn only_root_and_the_agents_own_user_change_what_concerns_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let fabric = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/4x4.json");
        let settings = [
            ("SRV6_TOPOLOGY", fabric.to_owned()),
            ("SRV6D_STATE", path("drained.json")),
            ("SRV6D_HINTS", path("hints")),
            ("ROUTE_PLATFORM", "none".to_owned()),
        ];
        let values = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        let agent = Agent::start(Config::read(Layers::of_environment(values)).unwrap()).unwrap();
        let ask = |uid: u32, order: &str| {
            let mut said = Vec::new();
            answer(&agent, uid, order, &mut |json, _| {
                said.push(json);
                true
            });
            said.concat()
        };
        let drain = r#"{"command":"drain","place":"spine01","patience_ms":1}"#;
        let undrain = r#"{"command":"undrain","place":"spine01"}"#;
        let hints = r#"{"command":"set_hints","mpib":false,"slot":null,"value":"1"}"#;
        let own = rustix::process::geteuid().as_raw();
        let other = own + 1234;
        for order in [drain, undrain, hints] {
            let refused = ask(other, order);
            assert!(refused.contains(&format!("user {other} may not change")), "{order}: {refused}");
        }
        let listed: Value = serde_json::from_str(&ask(other, r#"{"command":"denied"}"#)).unwrap();
        assert_eq!(listed, json!({ "drained": [], "assumed_bad": [] }));
        for order in [drain, undrain, hints] {
            let done = ask(own, order);
            assert!(!done.contains("error"), "{order}: {done}");
        }
    }
}
