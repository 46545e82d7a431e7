//! Checks that must not happen in this process: each in a child that is srv6ctl itself, with a time limit.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Begins the line of a child's output that holds its answer: libraries loaded there print lines of their own.
const MARK: &str = "srv6ctl-answer ";

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    /// Its answer, or why there is none.
    pub(crate) answer: Result<T, String>,
    /// What it printed besides, standard error included.
    pub(crate) log: String,
}

/// Starts srv6ctl with these arguments and waits for its answer, `limit` at most.
pub(crate) fn ask<T: DeserializeOwned>(
    arguments: &[&str],
    prepare: impl FnOnce(&mut Command),
    limit: Duration,
) -> Outcome<T> {
    let failed = |reason: String| Outcome { answer: Err(reason), log: String::new() };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(format!("srv6ctl can't find itself: {error}")),
    };
    let mut command = Command::new(program);
    command.arg("doctor").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("srv6ctl can't start itself: {error}")),
    };
    let (output, status) = finish(&mut child, limit);
    let answer = output.lines().rev().find_map(|line| line.strip_prefix(MARK));
    let answer = match (answer, status) {
        (Some(answer), _) => serde_json::from_str(answer).map_err(|error| error.to_string()),
        (None, Some(status)) => Err(format!("it ended without an answer ({status})")),
        (None, None) => Err(format!("no answer within {} s", limit.as_secs())),
    };
    let log = output.lines().filter(|line| !line.starts_with(MARK)).collect::<Vec<_>>().join("\n");
    Outcome { answer, log }
}

/// Prints a child's answer.
///
/// # Errors
/// What can't be written as JSON.
pub(crate) fn answer(answer: &impl Serialize) -> anyhow::Result<()> {
    println!("{MARK}{}", serde_json::to_string(answer)?);
    Ok(())
}

/// All output of a child, and how it ended; `None` if it had to be killed.
fn finish(child: &mut Child, limit: Duration) -> (String, Option<ExitStatus>) {
    let (sender, received) = mpsc::channel();
    let streams: Vec<Box<dyn Read + Send>> = [
        child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>),
        child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    .collect();
    let count = streams.len();
    for mut stream in streams {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is told all the same; the receiver may have given up.
            let _read = stream.read_to_end(&mut bytes);
            let _given_up = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    let deadline = Instant::now() + limit;
    let mut texts = Vec::new();
    let mut killed = false;
    while texts.len() < count {
        match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => texts.push(text),
            Err(_) if killed => break,
            Err(_) => {
                killed = true;
                // An error means that it has ended by itself.
                let _ended = child.kill();
                if let Ok(text) = received.recv_timeout(Duration::from_secs(1)) {
                    texts.push(text);
                }
            }
        }
    }
    let status = child.wait().ok().filter(|_| !killed);
    (texts.join("\n"), status)
}
