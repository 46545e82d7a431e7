//! A program without rights that has the preload library, whose routes the agent sets.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use srv6_lab::Node;

use crate::scene::{Scene, fabric};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_preloaded_program_without_rights_is_steered", || steered("agent")),
    ("a_preloaded_program_takes_the_agent_that_answers", || steered("auto")),
];

/// Takes one connection and gives back what comes.
const SERVER: &str = "
import socket
listener = socket.create_server(('2001:db8:1001::2', 5000), family=socket.AF_INET6)
print('listening', flush=True)
connection = listener.accept()[0]
while data := connection.recv(65536):
    connection.sendall(data)
";

/// Connects, and stays until its input ends.
const CLIENT: &str = "
import socket, sys
connection = socket.create_connection(('2001:db8:1001::2', 5000))
connection.sendall(b'ping')
assert connection.recv(4) == b'ping'
print('connected', flush=True)
sys.stdin.read()
";

struct Program(Child);

impl Program {
    /// Gives it when it has written its first line.
    fn start(command: &mut Command, word: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let program = Self(child);
        assert_eq!(line.trim(), word);
        program
    }

    fn leave(&mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has ended and been waited for.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn python<'a>(command: &'a mut Command, source: &str) -> &'a mut Command {
    command.args(["python3", "-c", source])
}

fn without_rights(host: &Node) -> Command {
    let mut command = host.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
    command
}

fn steered(mode: &str) {
    let scene = Scene::start(&[]);
    let mut server = Program::start(python(&mut without_rights(scene.host("host01")), SERVER), "listening");
    let library = std::env::current_exe().unwrap().with_file_name("libsrv6_shim.so");
    assert!(library.exists(), "{} is not built", library.display());
    let mut command = without_rights(scene.host("host00"));
    // The program itself, and not the one that takes its rights away, has the library.
    command.args(["env", &format!("LD_PRELOAD={}", library.display())]);
    command
        .env("SRV6_MODE", mode)
        .env("SRV6_AGENT_SOCKET", scene.socket())
        .env("SRV6_TOPOLOGY", fabric())
        .env("SRV6_JOB", "preloaded")
        .env("SRV6_CONNECT_TIMEOUT_MS", "60000")
        .env("SRV6_SHIM_WAIT_MS", "60000");
    let mut client = Program::start(python(&mut command, CLIENT), "connected");
    let shown = scene.routes("host00");
    assert!(shown.contains("2001:db8:1001::2") && shown.contains("encap seg6"), "{shown}");
    let flows = scene.flows();
    assert!(flows.iter().any(|flow| flow["job"] == "preloaded" && flow["state"] == "ready"), "{flows:?}");
    client.leave();
    server.leave();
    scene.eventually("nothing is left", || scene.routes("host00").is_empty());
}
