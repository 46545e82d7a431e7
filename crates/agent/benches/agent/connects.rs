//! What a connect of the plugin takes where the agent steers, beside one where the process does it itself.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use srv6_lab::{Lab, Node};
use srv6_netdrive::{Driver, DriverOptions, HANDLE_BYTES, Handle, NetSource};

use crate::{PATIENCE, clients, fabric};

/// First argument of a rank; `listen` or `connect` follows.
pub(crate) const RANK: &str = "rank";

/// Connects of each mode. They alternate, so that a slow moment of the machine hits both.
const ROUNDS: usize = 50;

/// One line of standard input is one connection. A listening rank answers with its handle; a connecting one is given that, and
/// answers with the milliseconds that its connect took.
pub(crate) fn run(listens: bool) {
    let path = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    let source = NetSource::Plugin { path, version: None, nccl: None };
    let driver = Driver::load(&source, &DriverOptions::default()).unwrap();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if listens {
            let listener = driver.listen(0).unwrap();
            let hex = listener.handle().0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            say(&hex);
            listener.accept().unwrap().wait().unwrap().close().unwrap();
        } else {
            let mut handle = Handle([0; HANDLE_BYTES]);
            for (byte, pair) in handle.0.iter_mut().zip(line.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            }
            let began = Instant::now();
            let comm = driver.connect(0, &handle).unwrap().wait().unwrap();
            let took = began.elapsed();
            comm.close().unwrap();
            say(&(took.as_secs_f64() * 1e3).to_string());
        }
    }
}

fn say(word: &str) {
    println!("{word}");
    std::io::stdout().flush().unwrap();
}

/// Medians of both modes in milliseconds, over the multipath transport with its four lanes.
pub(crate) fn measure(lab: &Lab, socket: &Path) -> Value {
    let modes = ["agent", "local"];
    let mut pairs = modes.map(|mode| {
        (
            Rank::start(lab.node("host00").unwrap(), "connect", mode, socket),
            Rank::start(lab.node("host01").unwrap(), "listen", mode, socket),
        )
    });
    let mut took = [Vec::new(), Vec::new()];
    // The first of each mode isn't counted: it begins the steering of its process.
    for round in 0..=ROUNDS {
        for ((connecting, listening), took) in pairs.iter_mut().zip(&mut took) {
            let handle = listening.ask("next");
            let ms: f64 = connecting.ask(&handle).parse().unwrap();
            took.extend((round > 0).then_some(ms));
            // The routes of this connect are withdrawn before the other mode's begins.
            await_no_routes(lab);
        }
    }
    let [agent, local] = took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        took[ROUNDS / 2]
    });
    json!({ "rounds": ROUNDS, "agent_p50_ms": agent, "local_p50_ms": local })
}

fn await_no_routes(lab: &Lab) {
    let started = Instant::now();
    let left =
        |host: &str| !lab.node(host).unwrap().sh("ip -6 route show table all proto 83").unwrap().is_empty();
    while left("host00") || left("host01") {
        assert!(started.elapsed() < PATIENCE, "routes are left");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Rank {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Rank {
    fn start(host: &Node, role: &str, mode: &str, socket: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = host
            .command(program.to_str().unwrap())
            .args([RANK, role])
            .env("SRV6_MODE", mode)
            .env("SRV6_STRICT", "1")
            .env("SRV6_AGENT_SOCKET", socket)
            .env("SRV6_TOPOLOGY", fabric())
            .env("SRV6_TRANSPORT", "multipath")
            .env("SRV6_CONNECT_TIMEOUT_MS", "60000")
            .env("NCCL_SOCKET_IFNAME", "=eth1")
            .env("NCCL_SOCKET_FAMILY", "AF_INET6")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = clients::lines(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.said.recv_timeout(PATIENCE).expect("an answer of the rank's")
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // An error means that it has ended.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
