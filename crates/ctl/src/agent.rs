//! `srv6ctl agent status`: the host's agent, and who is attached.

use serde_json::Value;

use crate::agent_socket::AgentArgs;
use crate::table;
use crate::watch::{Listing, ListingArgs};

/// Asks srv6d, the agent of this host
#[derive(Debug, clap::Args)]
pub(crate) struct AgentCommandArgs {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AgentCommand {
    Status(StatusArgs),
}

/// Shows since when it runs, which network namespaces it serves, and which processes are attached
#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

pub(crate) fn run(args: &AgentCommandArgs) -> anyhow::Result<()> {
    let AgentCommand::Status(args) = &args.command;
    args.listing.show(|| {
        let status = args.agent.ask(&serde_json::json!({ "command": "status" }))?.pop().unwrap_or_default();
        Ok(Listing { text: shown(&status), json: status })
    })
}

fn shown(status: &Value) -> String {
    let list = |key: &str| status.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let columns = ["job", "rank", "pid", "uid", "namespace", "ready", "pending", "failed"];
    let mut rows = table::new(&columns);
    for session in list("sessions") {
        rows.add_row(columns.map(|column| word(session, column)));
    }
    format!(
        "srv6d {} at {}, process {}, up {} s; {} namespaces, topology read {} times\n{rows}",
        word(status, "version"),
        word(status, "socket"),
        word(status, "pid"),
        status.get("uptime_s").and_then(Value::as_f64).unwrap_or_default().round(),
        list("namespaces").len(),
        word(status, "topologies_read"),
    )
}

/// A member as people want it: a text without quotes, and a dash where there is none.
pub(crate) fn word(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_for_people() {
        let object = serde_json::json!({ "job": "gpt", "rank": 3, "none": null, "empty": "" });
        let words = ["job", "rank", "none", "empty", "missing"].map(|key| word(&object, key));
        assert_eq!(words, ["gpt", "3", "-", "-", "-"]);
    }
}
