//! The host's agent as subcommands ask it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use srv6_steer::{AgentSession, Attachment};

use crate::config::Environment;

/// Longest wait between two parts of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the agent is.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// The agent's socket [default: SRV6_AGENT_SOCKET, or /run/srv6/agent.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl AgentArgs {
    /// All parts of the answer to one order.
    ///
    /// # Errors
    /// No agent, or its refusal.
    pub(crate) fn ask(&self, order: &Value) -> anyhow::Result<Vec<Value>> {
        self.ask_within(order, PATIENCE)
    }

    /// As [`Self::ask`], for an order that takes its time.
    ///
    /// # Errors
    /// No agent, or its refusal.
    pub(crate) fn ask_within(&self, order: &Value, patience: Duration) -> anyhow::Result<Vec<Value>> {
        let environment = Environment::of_process();
        let socket = self.socket.clone().unwrap_or_else(|| {
            environment.get("SRV6_AGENT_SOCKET").unwrap_or(srv6_steer::AGENT_SOCKET).into()
        });
        let mut session = AgentSession::open(&Attachment::new(socket)).context("asking the agent")?;
        let mut answers = Vec::new();
        session
            .control(&order.to_string(), Some(patience), |json| answers.push(serde_json::from_str(json)))?;
        let answers: Vec<Value> =
            answers.into_iter().collect::<Result<_, _>>().context("the agent's answer")?;
        match answers.iter().find_map(|answer| answer.get("error").and_then(Value::as_str)) {
            Some(error) => bail!("{error}"),
            None => Ok(answers),
        }
    }
}
