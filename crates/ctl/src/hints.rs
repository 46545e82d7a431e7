//! `srv6ctl hints`: how much each path of a flow is to carry, as transports are told.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use srv6_hints::HintsView;
use srv6_hints::mpib::{MpibView, Pair, SLOTS, Unit};
use srv6_steer::{AgentSession, Attachment};

use crate::table;

/// Shows and sets the weights of paths that the agent gives to transports
#[derive(Debug, clap::Args)]
pub(crate) struct HintsArgs {
    #[command(subcommand)]
    command: HintsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum HintsCommand {
    Show(ShowArgs),
    Set(SetArgs),
}

/// Lists the slots in use, from the shared memory that transports read
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The agent's file of hints
    #[arg(long, value_name = "FILE", default_value = "/run/srv6/hints", conflicts_with = "mpib")]
    file: PathBuf,
    /// Show what clients of the MPIB transport agent read instead, in this unit: multiplier or per1024
    #[arg(long, value_name = "UNIT")]
    mpib: Option<Unit>,
    /// Where those clients look for it
    #[arg(long, value_name = "FILE", default_value = "/tmp/mpib/hints", requires = "mpib")]
    mpib_file: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Sets the weights of a slot, or of all in use, through the agent
#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Number of a slot, or all
    #[arg(value_name = "SLOT|all")]
    slot: String,
    /// A weight from 0 to 1000 for each path, or - for none, as in 1000,500,-; with --mpib a number, or a share such as 25%
    value: String,
    /// Set what clients of the MPIB transport agent read
    #[arg(long)]
    mpib: bool,
    /// The agent's socket
    #[arg(long, value_name = "PATH", default_value = srv6_steer::AGENT_SOCKET)]
    socket: PathBuf,
}

/// Longest wait for the agent's answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &HintsArgs) -> anyhow::Result<()> {
    match &args.command {
        HintsCommand::Show(args) => match args.mpib {
            None => show(args),
            Some(unit) => show_mpib(args, unit),
        },
        HintsCommand::Set(args) => set(args),
    }
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let view = HintsView::open(&args.file)?;
    let entries = view.entries();
    let silence = view.silence();
    if args.json {
        let slots: Vec<Value> = entries
            .iter()
            .map(|entry| {
                json!({
                    "slot": entry.slot,
                    "namespace": entry.key.namespace,
                    "src": entry.key.flow.src,
                    "dst": entry.key.flow.dst,
                    "weights": entry.weights.get(),
                })
            })
            .collect();
        let writer = json!({ "pid": view.writer(), "silence_s": silence.as_secs_f64() });
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({ "writer": writer, "size": view.slots(), "slots": slots }))?
        );
        return Ok(());
    }
    let mut rows = table::new(&["slot", "namespace", "src", "dst", "weights"]);
    for entry in &entries {
        let cells: [&dyn Display; 5] =
            [&entry.slot, &entry.key.namespace, &entry.key.flow.src, &entry.key.flow.dst, &entry.weights];
        rows.add_row(cells.map(ToString::to_string));
    }
    println!("{rows}");
    println!(
        "{} of {} slots in use; written by process {}, last heard of {:.1} s ago",
        entries.len(),
        view.slots(),
        view.writer(),
        silence.as_secs_f64()
    );
    Ok(())
}

fn show_mpib(args: &ShowArgs, unit: Unit) -> anyhow::Result<()> {
    let view = MpibView::open(&args.mpib_file)?;
    // The file doesn't say which slots a flow has; those without addresses have none.
    let used = (0..SLOTS)
        .filter_map(|slot| Some((slot, view.read(slot)?)))
        .filter(|(_, content)| content.pair != Pair::default());
    if args.json {
        let slots: Vec<Value> = used
            .map(|(slot, content)| {
                json!({
                    "slot": slot,
                    "src": content.pair.src,
                    "dst": content.pair.dst,
                    "flow": content.pair.to_string(),
                    "value": content.value,
                    "scale_up": unit.share(content.value).to_string(),
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "unit": unit.to_string(), "slots": slots }))?);
        return Ok(());
    }
    let mut rows = table::new(&["slot", "flow", "value", "over scale-up"]);
    for (slot, content) in used {
        let cells: [&dyn Display; 4] = [&slot, &content.pair, &content.value, &unit.share(content.value)];
        rows.add_row(cells.map(ToString::to_string));
    }
    println!("{rows}");
    Ok(())
}

fn set(args: &SetArgs) -> anyhow::Result<()> {
    let slot: Option<u32> = match args.slot.as_str() {
        "all" => None,
        text => match text.parse() {
            Ok(slot) => Some(slot),
            Err(_) => bail!("{text:?} is no slot; want a number that `srv6ctl hints show` lists, or all"),
        },
    };
    let mut agent = AgentSession::open(&Attachment::new(args.socket.clone()))?;
    let order = json!({ "command": "set_hints", "mpib": args.mpib, "slot": slot, "value": args.value });
    let mut answer = Value::Null;
    agent.control(&order.to_string(), Some(PATIENCE), |text| {
        answer = serde_json::from_str(text).unwrap_or_default();
    })?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        bail!("{error}");
    }
    match answer.get("set").and_then(Value::as_u64) {
        Some(1) => println!("1 slot set to {}", args.value),
        Some(count) => println!("{count} slots set to {}", args.value),
        None => bail!("the agent's answer is none: {answer}"),
    }
    Ok(())
}
