//! What the programs talk to in host01.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::scene::{Program, Scene};

/// Where all of them listen.
pub(crate) const HOST: &str = "2001:db8:1001::2";

/// A web server with one short page.
pub(crate) const WEB: &str = "
import http.server, socket, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '6')
        self.end_headers()
        self.wfile.write(b'hello\\n')
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
server = Server((sys.argv[1], 8000), Page)
print('listening', flush=True)
server.serve_forever()
";

/// An SSH server of a version that no client of today talks to.
pub(crate) const SSH: &str = "
import socket, sys
listener = socket.create_server((sys.argv[1], 2222), family=socket.AF_INET6)
print('listening', flush=True)
while True:
    peer = listener.accept()[0]
    peer.sendall(b'SSH-1.5-before\\r\\n')
    while peer.recv(4096):
        pass
";

/// Enough of a PostgreSQL server for one query: the start-up and simple query parts of its protocol 3.0.
pub(crate) const POSTGRES: &str = "
import socket, struct, sys
def message(kind, body):
    return kind + struct.pack('!i', 4 + len(body)) + body
ready = message(b'Z', b'I')
def serve(peer):
    stream = peer.makefile('rb')
    while True:
        length, code = struct.unpack('!ii', stream.read(8))
        stream.read(length - 8)
        if code == 196608:
            break
        peer.sendall(b'N')
    peer.sendall(message(b'R', struct.pack('!i', 0)) + message(b'S', b'server_version\\0' + b'15.0\\0') + ready)
    while (kind := stream.read(1)) == b'Q':
        stream.read(struct.unpack('!i', stream.read(4))[0] - 4)
        field = b'answer\\0' + struct.pack('!ihihih', 0, 0, 23, 4, -1, 0)
        peer.sendall(message(b'T', struct.pack('!h', 1) + field) + message(b'D', struct.pack('!hi', 1, 2) + b'42')
                     + message(b'C', b'SELECT 1\\0') + ready)
listener = socket.create_server((sys.argv[1], 5432), family=socket.AF_INET6)
print('listening', flush=True)
while True:
    serve(listener.accept()[0])
";

/// Starts a Python server without the library.
pub(crate) fn start(scene: &Scene, source: &str) -> Program {
    let mut command = scene.lab.node("host01").unwrap().command("python3");
    let mut server = Program::start(command.args(["-c", source, HOST]));
    server.expect("listening");
    server
}

/// Waits until a shell command line succeeds in host00.
pub(crate) fn until(scene: &Scene, line: &str) {
    let started = Instant::now();
    while let Err(error) = scene.lab.node("host00").unwrap().sh(line) {
        assert!(started.elapsed() < Duration::from_secs(60), "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A Redis server with the library, which keeps nothing.
pub(crate) fn redis(scene: &Scene) -> Program {
    let mut command: Command = scene.command("host01", "redis-server");
    let arguments =
        ["--bind", HOST, "--port", "6379", "--save", "", "--appendonly", "no", "--protected-mode", "no"];
    let server = Program::start(command.args(arguments).args(["--loglevel", "warning"]));
    until(scene, &format!("redis-cli -h {HOST} ping"));
    server
}
