//! `srv6ctl hints`: how much each path of a flow is to carry, as transports are told.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::{Value, json};
use srv6_hints::HintsView;
use srv6_hints::mpib::{MpibView, Pair, SLOTS, Unit};

use crate::agent_socket::AgentArgs;
use crate::drain::show;
use crate::table;
use crate::watch::{Listing, ListingArgs};

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
    #[command(flatten)]
    listing: ListingArgs,
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
    /// Print the agent's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) fn run(args: &HintsArgs) -> anyhow::Result<()> {
    match &args.command {
        HintsCommand::Show(args) => match args.mpib {
            None => args.listing.show(|| ours(&args.file)),
            Some(unit) => args.listing.show(|| mpib(&args.mpib_file, unit)),
        },
        HintsCommand::Set(args) => set(args),
    }
}

fn ours(file: &Path) -> anyhow::Result<Listing> {
    let view = HintsView::open(file)?;
    let entries = view.entries();
    let silence = view.silence();
    let mut rows = table::new(&["slot", "namespace", "src", "dst", "weights"]);
    for entry in &entries {
        let cells: [&dyn Display; 5] =
            [&entry.slot, &entry.key.namespace, &entry.key.flow.src, &entry.key.flow.dst, &entry.weights];
        rows.add_row(cells.map(ToString::to_string));
    }
    let text = format!(
        "{rows}\n{} of {} slots in use; written by process {}, last heard of {:.1} s ago",
        entries.len(),
        view.slots(),
        view.writer(),
        silence.as_secs_f64()
    );
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
    Ok(Listing { json: json!({ "writer": writer, "size": view.slots(), "slots": slots }), text })
}

fn mpib(file: &Path, unit: Unit) -> anyhow::Result<Listing> {
    let view = MpibView::open(file)?;
    // The file doesn't say which slots a flow has; those without addresses have none.
    let used = (0..SLOTS)
        .filter_map(|slot| Some((slot, view.read(slot)?)))
        .filter(|(_, content)| content.pair != Pair::default());
    let mut rows = table::new(&["slot", "flow", "value", "over scale-up"]);
    let mut slots = Vec::new();
    for (slot, content) in used {
        let share = unit.share(content.value);
        let cells: [&dyn Display; 4] = [&slot, &content.pair, &content.value, &share];
        rows.add_row(cells.map(ToString::to_string));
        slots.push(json!({
            "slot": slot,
            "src": content.pair.src,
            "dst": content.pair.dst,
            "flow": content.pair.to_string(),
            "value": content.value,
            "scale_up": share.to_string(),
        }));
    }
    Ok(Listing { json: json!({ "unit": unit.to_string(), "slots": slots }), text: rows.to_string() })
}

fn set(args: &SetArgs) -> anyhow::Result<()> {
    let slot: Option<u32> = match args.slot.as_str() {
        "all" => None,
        text => match text.parse() {
            Ok(slot) => Some(slot),
            Err(_) => bail!("{text:?} is no slot; want a number that `srv6ctl hints show` lists, or all"),
        },
    };
    let order = json!({ "command": "set_hints", "mpib": args.mpib, "slot": slot, "value": args.value });
    let answer = args.agent.ask(&order)?.pop().unwrap_or_default();
    let Some(count) = answer.get("set").and_then(Value::as_u64) else {
        bail!("the agent's answer is none: {answer}");
    };
    show(args.json, &answer, |_| {
        println!("{count} slot{} set to {}", if count == 1 { "" } else { "s" }, args.value);
    })
}
