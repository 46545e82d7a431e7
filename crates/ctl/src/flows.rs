//! `srv6ctl flows`: what the processes of this host have registered with the agent.

use serde_json::{Value, json};

use crate::agent::word;
use crate::agent_socket::AgentArgs;
use crate::table;
use crate::watch::{Listing, ListingArgs};

/// Lists the flows that jobs have registered with the agent: who, from where to where, by which path, in which state
#[derive(Debug, clap::Args)]
pub(crate) struct FlowsArgs {
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

pub(crate) fn run(args: &FlowsArgs) -> anyhow::Result<()> {
    args.listing.show(|| {
        let answers = args.agent.ask(&json!({ "command": "flows" }))?;
        let flows: Vec<&Value> = answers
            .iter()
            .filter_map(|answer| answer.get("flows").and_then(Value::as_array))
            .flatten()
            .collect();
        Ok(Listing { json: json!(flows), text: shown(&flows) })
    })
}

fn shown(flows: &[&Value]) -> String {
    let mut rows =
        table::new(&["job", "rank", "pid", "source", "destination", "state", "slot", "path", "carrier"]);
    for flow in flows {
        let columns = ["job", "rank", "pid", "src", "dst", "state"].map(|key| word(flow, key));
        let paths = flow.get("paths").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if paths.is_empty() {
            // The reason stands where the path would.
            rows.add_row(
                [columns.as_slice(), &["-".to_owned(), word(flow, "reason"), "-".to_owned()]].concat(),
            );
        }
        for path in paths {
            let hops = path.get("hops").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let hops: Vec<&str> = hops.iter().filter_map(Value::as_str).collect();
            let path = [word(path, "slot"), hops.join(" > "), word(path, "carrier")];
            rows.add_row([columns.as_slice(), path.as_slice()].concat());
        }
    }
    rows.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_path_and_the_reason_where_there_is_none() {
        let lanes = json!({
            "job": "gpt", "rank": 1, "pid": 7, "src": "2001:db8::1", "dst": "2001:db8::2", "state": "ready",
            "paths": [
                { "slot": 0, "hops": ["a", "b"], "carrier": "fc00::1" },
                { "slot": 1, "hops": ["a", "c"], "carrier": "fc00::2" },
            ],
        });
        let failed = json!({
            "job": "", "rank": null, "pid": 8, "src": "2001:db8::1", "dst": "2001:db8::3", "state": "failed",
            "reason": "no path", "paths": [],
        });
        let text = shown(&[&lanes, &failed]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("a > c") && text.contains("fc00::2"), "{text}");
        assert!(text.lines().last().unwrap().contains("no path"), "{text}");
    }
}
