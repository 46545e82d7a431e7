//! The processes that register flows: the benchmark itself, started again.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use srv6_fabric::Flow;
use srv6_lab::Node;
use srv6_steer::{Attachment, Hold, Status, Steer};

use crate::PATIENCE;

/// First argument of a client; socket, first flow and number of flows follow.
pub(crate) const CLIENT: &str = "client";

/// Registers flows, prints how many milliseconds each took, and keeps them until standard input ends.
pub(crate) fn run(socket: &str, first: usize, count: usize) {
    let attachment = Attachment { deadline: PATIENCE, ..Attachment::new(socket.into()) };
    let steer = Steer::attach(attachment).unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let holds: Vec<Hold> = (first..first + count).map(|number| steer.request(flow(number))).collect();
    for hold in &holds {
        loop {
            match hold.status() {
                Status::Pending => std::thread::sleep(Duration::from_millis(1)),
                Status::Ready(steered) => {
                    println!("{}", steered.took.as_secs_f64() * 1e3);
                    break;
                }
                Status::Failed(reason) => panic!("{}: {reason}", hold.flow()),
            }
        }
    }
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// Every address of a host's prefix is that host's.
fn flow(number: usize) -> Flow {
    Flow {
        src: "2001:db8:1000::2".parse().unwrap(),
        dst: format!("2001:db8:100{}::1:{:x}", 1 + number % 3, number / 3).parse().unwrap(),
    }
}

/// Running clients.
pub(crate) struct Clients(Vec<(Child, mpsc::Receiver<String>, usize)>);

impl Clients {
    /// So many processes in a host that have so many flows together. They register at the same time.
    pub(crate) fn start(host: &Node, socket: &Path, processes: usize, flows: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut clients = Vec::new();
        for process in 0..processes {
            let (first, end) = (flows * process / processes, flows * (process + 1) / processes);
            let mut child = host
                .command(program.to_str().unwrap())
                .arg(CLIENT)
                .arg(socket)
                .args([first.to_string(), (end - first).to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let said = lines(child.stdout.take().unwrap());
            clients.push((child, said, end - first));
        }
        for (child, _, _) in &mut clients {
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }
        Self(clients)
    }

    /// How long each flow took from its registration to ready.
    pub(crate) fn took_ms(&self) -> Vec<f64> {
        let of_one = |(_, said, count): &(Child, mpsc::Receiver<String>, usize)| -> Vec<f64> {
            (0..*count)
                .map(|_| said.recv_timeout(PATIENCE).expect("a flow is ready").parse().unwrap())
                .collect()
        };
        self.0.iter().flat_map(of_one).collect()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for (child, _, _) in &mut self.0 {
            drop(child.stdin.take());
            // An error means that it has ended.
            let _ended = child.kill();
            let _waited = child.wait();
        }
    }
}

/// Lines as they come.
pub(crate) fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (say, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
