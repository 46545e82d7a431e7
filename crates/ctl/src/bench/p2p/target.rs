//! The target: waits for initiators and does what they ask.

use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, bail};

use super::initiator::verification_failed;
use super::meeting::{self, Expected, Guest};
use super::pair::{NetOptions, Pair};
use super::wire::{Agent, Frame, Op};
use super::{say, sizes};

/// What a target does for every initiator.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) agent: Agent,
    pub(super) expected: Expected,
    pub(super) net: NetOptions,
    /// How many it serves, one after the other.
    pub(super) initiators: u32,
}

impl Target {
    /// Serves all initiators.
    ///
    /// # Errors
    /// If one does not come in time, fails, or receives or sends wrong data.
    pub(super) fn run(&self, listener: &TcpListener) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        for _ in 0..self.initiators {
            say("Waiting for initiator to connect...");
            let patience = self.net.patience;
            let guest =
                meeting::accept(listener, &self.agent, &self.expected, Instant::now() + patience, patience)?;
            let result = Pair::connect(&self.net, &guest.terms, &guest.control, &guest.abort, false)
                .and_then(|pair| serve(pair, &guest, &mut failed));
            result.map_err(|error| guest.control.explain(error))?;
        }
        match failed.as_slice() {
            [] => {
                say("Target completed all transfers");
                Ok(())
            }
            failed => bail!("data verification failed for {}", failed.join(", ")),
        }
    }
}

fn serve(mut pair: Pair<'_>, guest: &Guest, failed: &mut Vec<String>) -> anyhow::Result<()> {
    say(&format!("✓ Connected to initiator {}", guest.agent.name));
    let moved = match guest.terms.op {
        Op::Read => "Sent",
        Op::Write => "Received",
    };
    for &size in &guest.terms.sizes {
        let wrong = pair.measure(size, || {})?.wrong;
        if wrong == 0 {
            say(&format!("✓ {moved} {} - data verified", sizes::text(size)));
        } else {
            say(&verification_failed(size, wrong));
            failed.push(sizes::text(size));
        }
    }
    // For the initiator, who prints it.
    let _ = pair.carried()?;
    match guest.control.receive().context("waiting for the initiator's end")? {
        Frame::Bye => pair.close(),
        other => Err(guest.control.out_of_turn(&other)),
    }
}
