//! A process that has flows steered by the agent: the test program itself, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use srv6_fabric::Flow;
use srv6_lab::Node;
use srv6_steer::{Attachment, Hold, LanesHold, LanesStatus, LanesWanted, Status, Steer};

use crate::scene::PATIENCE;

/// First argument of a client; the agent's socket and flows follow.
pub(crate) const CLIENT: &str = "client";

enum Claim {
    Flow(Hold),
    Lanes(LanesHold),
}

impl Claim {
    fn word(&self) -> Option<String> {
        match self {
            Self::Flow(hold) => match hold.status() {
                Status::Pending => None,
                Status::Ready(steered) => {
                    Some(format!("ready {} {}", steered.hops.join(">"), steered.carrier))
                }
                Status::Failed(reason) => Some(format!("failed {reason}")),
            },
            Self::Lanes(hold) => match hold.status() {
                LanesStatus::Pending => None,
                LanesStatus::Ready(lanes) => Some(format!("ready {lanes}")),
                LanesStatus::Failed(reason) => Some(format!("failed {reason}")),
            },
        }
    }
}

/// Registers flows, prints each state that one of them gets, and gives all back when its standard input ends.
pub(crate) fn run(socket: &str, flows: &[&str]) {
    let attachment = Attachment {
        deadline: PATIENCE,
        job: "test".to_owned(),
        rank: Some(std::process::id()),
        ..Attachment::new(socket.into())
    };
    let steer = Steer::attach(attachment).unwrap();
    let claims: Vec<Claim> = flows
        .iter()
        .map(|text| match text.strip_prefix("lanes:") {
            Some(flow) => {
                let wanted = LanesWanted { count: 2, pinning: None, along: Vec::new() };
                Claim::Lanes(steer.request_lanes(parse(flow), wanted))
            }
            None => Claim::Flow(steer.request(parse(text))),
        })
        .collect();
    let (over, ended) = mpsc::channel();
    std::thread::spawn(move || {
        // Ends with the parent, too.
        let _lines = std::io::stdin().lines().count();
        let _parent_gone = over.send(());
    });
    let mut said = vec![String::new(); claims.len()];
    while ended.recv_timeout(Duration::from_millis(5)).is_err() {
        for (number, (claim, said)) in claims.iter().zip(&mut said).enumerate() {
            if let Some(word) = claim.word()
                && word != *said
            {
                println!("{number} {word}");
                std::io::stdout().flush().unwrap();
                *said = word;
            }
        }
    }
    drop(claims);
    steer.settle(PATIENCE);
}

fn parse(text: &str) -> Flow {
    let (src, dst) = text.split_once(',').unwrap();
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

/// A running client.
pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Client {
    /// In a host, with all rights there.
    pub(crate) fn start(host: &Node, socket: &str, flows: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        Self::spawn(host.command(program.to_str().unwrap()), socket, flows)
    }

    /// In a host, without any.
    pub(crate) fn unprivileged(host: &Node, socket: &str, flows: &[&str]) -> Self {
        let mut command = host.command("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
        command.arg(std::env::current_exe().unwrap());
        Self::spawn(command, socket, flows)
    }

    fn spawn(mut command: Command, socket: &str, flows: &[&str]) -> Self {
        command.args([CLIENT, socket]).args(flows).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says next.
    pub(crate) fn says(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of the client's")
    }

    /// Waits until it has said that so many flows are ready.
    pub(crate) fn ready(&self, count: usize) -> Vec<String> {
        let mut lines: Vec<String> = (0..count).map(|_| self.says()).collect();
        assert!(lines.iter().all(|line| line.contains(" ready ")), "{lines:?}");
        lines.sort();
        lines
    }

    /// Lets it give everything back and end.
    pub(crate) fn leave(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Both fail where it has ended and been waited for.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
