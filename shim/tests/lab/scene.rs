//! A lab, and Python programs in its hosts that run with the library.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use srv6_lab::{Lab, Options};
use srv6_paths::read_topology;
use srv6_pathserver::{Faults, Running, Server};

/// Far more than anything here takes, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accepts connections, one thread each, and gives back what comes.
const SERVER: &str = "
import socket, sys, threading
def echo(peer):
    while data := peer.recv(65536):
        peer.sendall(data)
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], 5000), family=family)
print('listening', flush=True)
def serve():
    while True:
        threading.Thread(target=echo, args=listener.accept()[:1], daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
";

/// Connects, has a few bytes given back, and stays until its input ends.
const CLIENT: &str = "
import socket, sys
connection = socket.create_connection((sys.argv[1], 5000), timeout=None)
connection.sendall(b'ping')
assert connection.recv(4) == b'ping'
print('connected', connection.getsockname()[0], flush=True)
sys.stdin.read()
";

/// A fabric of examples/fabrics in a lab.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    topology: PathBuf,
}

/// A program in a lab host.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The library, as cargo built it for these tests.
pub(crate) fn library() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libsrv6_shim.so");
    assert!(built.exists(), "{} is not built", built.display());
    built
}

impl Scene {
    pub(crate) fn up(fabric: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/fabrics/{fabric}.json"));
        let (_, topology) = read_topology(&file, "fabric_graph", "hosts").unwrap();
        Self { lab: Lab::up(&topology, &Options::default()).unwrap(), topology: file }
    }

    /// A command in a host that will have the library, and paths from the topology file.
    pub(crate) fn command(&self, host: &str, program: &str) -> Command {
        let mut command = self.lab.node(host).unwrap().command(program);
        command.env("LD_PRELOAD", library()).env("SRV6_TOPOLOGY", &self.topology).env("SRV6_LOG", "warn");
        // However slow the machine is, the first packet has its route.
        command.env("SRV6_CONNECT_TIMEOUT_MS", "60000").env("SRV6_SHIM_WAIT_MS", "60000");
        command
    }

    /// Starts a Python program and gives it when it has written its first line.
    pub(crate) fn python(
        &self,
        host: &str,
        source: &str,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Program {
        let mut command = self.command(host, "python3");
        command.args(["-c", source]).args(arguments).envs(settings.iter().copied());
        Program::start(&mut command)
    }

    pub(crate) fn server(&self, host: &str, address: &str) -> Program {
        let mut server = self.python(host, SERVER, &[address], &[]);
        server.expect("listening");
        server
    }

    /// A server without the library.
    pub(crate) fn plain_server(&self, host: &str, address: &str) -> Program {
        let mut command = self.lab.node(host).unwrap().command("python3");
        let mut server = Program::start(command.args(["-c", SERVER, address]));
        server.expect("listening");
        server
    }

    pub(crate) fn client(&self, host: &str, address: &str, settings: &[(&str, &str)]) -> Program {
        self.python(host, CLIENT, &[address], settings)
    }

    /// The topology file, served by the path API in the management network, which holds each answer back for a while.
    pub(crate) fn api(&self, delay: Duration) -> (Running, String) {
        let (documents, _) = read_topology(&self.topology, "fabric_graph", "hosts").unwrap();
        let management = self.lab.management();
        let address = self.lab.management_address(management.name()).unwrap();
        let server = management
            .run(move || Server::bind((address, 8000).into(), &documents, Default::default())?.spawn())
            .unwrap();
        server.set_faults(Faults { delay, ..Default::default() });
        (server, format!("http://{address}:8000"))
    }

    /// Our routes in a host.
    pub(crate) fn routes(&self, host: &str) -> String {
        self.lab.node(host).unwrap().sh("ip -6 route show proto 83; ip route show proto 83").unwrap()
    }

    /// Waits until a host has a route that begins so.
    pub(crate) fn await_route(&self, host: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            let routes = self.routes(host);
            if routes.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{host} has no {wanted}:\n{routes}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Its next line must be this one.
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Ends its input, waits for it, and gives the rest of what it printed.
    pub(crate) fn end(mut self) -> String {
        self.input = None;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {rest}");
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Over already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
