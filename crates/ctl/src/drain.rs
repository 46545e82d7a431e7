//! `srv6ctl drain`: switches and links out of use, on this host.

use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::agent_socket::AgentArgs;

/// Moves this host's flows off a switch or link, and waits until what they had sent over it has arrived; without a place, lists what is drained
#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// A switch or link by name or id, such as spine01 or leaf00-spine01
    place: Option<String>,
    /// Longest wait for what is under way
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Print the agent's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

/// How much longer than its own wait the agent may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &DrainArgs) -> anyhow::Result<()> {
    let wait = Duration::from_secs(args.wait);
    let Some(place) = &args.place else {
        let answer = ask(&args.agent, &json!({ "command": "denied" }), PATIENCE)?;
        return show(args.json, &answer, |answer| {
            for (what, key) in [("drained", "drained"), ("assumed bad", "assumed_bad")] {
                let places = answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                for place in places.iter().filter_map(Value::as_str) {
                    println!("{place} {what}");
                }
            }
        });
    };
    let order = json!({ "command": "drain", "place": place, "patience_ms": args.wait * 1000 });
    let answer = ask(&args.agent, &order, wait + PATIENCE)?;
    let number = |key: &str| answer.get(key).and_then(Value::as_f64).unwrap_or_default();
    show(args.json, &answer, |_| {
        println!(
            "{place} is drained: {} moved in {:.1} ms; what {} connections had sent before arrived after {:.1} ms",
            number("moved"),
            number("moved_after_ms"),
            number("connections"),
            number("empty_after_ms")
        );
    })?;
    answered(&answer, "drained")?;
    if number("unfinished") > 0.0 {
        bail!(
            "{} connections still wait for acknowledgements of what they sent before they moved; {place} stays drained",
            number("unfinished")
        );
    }
    Ok(())
}

/// Fails where steering in a network namespace didn't say what it has done.
pub(crate) fn answered(answer: &Value, done: &str) -> anyhow::Result<()> {
    let silent = answer.get("silent").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if silent.is_empty() {
        return Ok(());
    }
    let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
    bail!(
        "it is {done}, but in network namespace {} steering doesn't answer: its flows may still be where they were",
        silent.join(", ")
    )
}

/// Gives the agent an order that is answered by one object.
pub(crate) fn ask(agent: &AgentArgs, order: &Value, patience: Duration) -> anyhow::Result<Value> {
    Ok(agent.ask_within(order, patience)?.pop().unwrap_or_default())
}

/// Prints the agent's answer for programs, or lets `people` print it.
pub(crate) fn show(json: bool, answer: &Value, people: impl FnOnce(&Value)) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(answer)?);
    } else {
        people(answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_namespace_is_a_failure_that_names_it() {
        answered(&json!({ "drained": "spine01", "silent": [] }), "drained").unwrap();
        let error =
            answered(&json!({ "silent": [4_026_531_840_u64, 7] }), "drained").unwrap_err().to_string();
        assert!(error.contains("it is drained, but in network namespace 4026531840, 7 "), "{error}");
    }
}
