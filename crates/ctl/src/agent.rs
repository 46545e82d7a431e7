//! `srv6ctl agent status`: the host's agent, and who is attached.

use serde_json::Value;

use crate::agent_socket::AgentArgs;
use crate::table;

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
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &AgentCommandArgs) -> anyhow::Result<()> {
    let AgentCommand::Status(args) = &args.command;
    let mut answers = args.agent.ask(&serde_json::json!({ "command": "status" }))?;
    let status = answers.pop().unwrap_or_default();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    let list = |key: &str| status.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    println!(
        "srv6d {} at {}, process {}, up {} s; {} namespaces, topology read {} times",
        word(&status, "version"),
        word(&status, "socket"),
        word(&status, "pid"),
        status.get("uptime_s").and_then(Value::as_f64).unwrap_or_default().round(),
        list("namespaces").len(),
        word(&status, "topologies_read"),
    );
    let columns = ["job", "rank", "pid", "uid", "namespace", "ready", "pending", "failed"];
    let mut rows = table::new(&columns);
    for session in list("sessions") {
        rows.add_row(columns.map(|column| word(&session, column)));
    }
    println!("{rows}");
    Ok(())
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
