//! `srv6ctl undrain`: switches and links back into use, on this host.

use serde_json::{Value, json};

use crate::agent_socket::AgentArgs;
use crate::drain::{PATIENCE, answered, ask, show};

/// Gives a drained switch or link back; flows that had left it return
#[derive(Debug, clap::Args)]
pub(crate) struct UndrainArgs {
    /// As it was given to drain
    place: String,
    /// Print the agent's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) fn run(args: &UndrainArgs) -> anyhow::Result<()> {
    let answer = ask(&args.agent, &json!({ "command": "undrain", "place": args.place }), PATIENCE)?;
    show(args.json, &answer, |answer| {
        let moved = answer.get("moved").and_then(Value::as_u64).unwrap_or_default();
        println!("{} is in use again: {moved} moved", args.place);
    })?;
    answered(&answer, "in use again")
}
