//! Work that a crowd of clients makes last holds up nobody else.

use std::io::Write;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use srv6_pathserver::{Faults, Options, Running, Server};
use srv6_routes::Slot;
use srv6_steer::protocol::{Event, Request};

use crate::raw::{Raw, flow};
use crate::scene::{Scene, fabric};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("settles_that_last_hold_up_nobody_else", settles),
    ("sockets_that_cannot_be_closed_hold_up_nobody_else", lingering),
];

/// More than an event loop has threads for blocking work, which is 512.
const CROWD: u32 = 600;

/// What the agent can say of itself.
const STATUS: &str = r#"{"command":"status"}"#;

/// The fabric over HTTP, in the test's own namespace.
pub(crate) fn server() -> Running {
    let text = std::fs::read_to_string(fabric()).unwrap();
    let documents = srv6_fabric::Documents::parse([("4x4", text.as_str())], "fabric_graph", "hosts").unwrap();
    Server::bind("127.0.0.1:0".parse().unwrap(), &documents, Options::default()).unwrap().spawn().unwrap()
}

fn settles() {
    let server = server();
    server.set_faults(Faults { delay: Duration::from_secs(3600), ..Faults::default() });
    let own = ["--route-platform", "none", "--backend-interface", "lo"];
    let scene = Scene::asking(&server, &[&own[..], &["--srv6-connect-timeout-ms", "600000"]].concat());
    let address = ["-6", "address", "replace", "2001:db8:1003::2/128", "dev", "lo"];
    assert!(Command::new("ip").args(address).status().unwrap().success());
    let mut asking = Raw::greeted(&scene);
    asking.send(&Request::RegisterFlow { id: 1, flow: flow("2001:db8:1003::2,2001:db8:1001::2") });
    assert_eq!(asking.hear(), Some(Event::Pending { id: 1 }));
    let mut crowd: Vec<Raw> = (0..CROWD).map(|_| Raw::greeted(&scene)).collect();
    for raw in &mut crowd {
        raw.send(&Request::Settle { token: 2 });
    }
    assert_eq!(scene.ask(STATUS).len(), 1);
    // A thread for each, and the answer would have come after the first hundred had given theirs back.
    let answered = answered(&crowd);
    assert!(answered < 50, "{answered} are settled, and nobody has read the fabric");
    assert!(threads(&scene) < 100, "{} threads", threads(&scene));
}

fn lingering() {
    let scene = Scene::start(&[]);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(4096).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(4096).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let crowd: Vec<Raw> = (0..CROWD)
        .map(|_| {
            let mut raw = Raw::greeted(&scene);
            let mut stuck = TcpStream::connect(address).unwrap();
            let socket = SockRef::from(&stuck);
            socket.set_send_buffer_size(4096).unwrap();
            socket.set_linger(Some(Duration::from_secs(3600))).unwrap();
            stuck.set_nonblocking(true).unwrap();
            while stuck.write(&[0; 4096]).is_ok() {}
            raw.send_with(&Request::Mark { token: 1, slot: Slot::new(0).unwrap() }, &stuck);
            // The agent's copy is the last one then, and its close waits for a reader that there isn't.
            raw
        })
        .collect();
    assert_eq!(scene.ask(STATUS).len(), 1);
    let answered = answered(&crowd);
    assert_eq!(answered, 0, "these could be closed");
    assert!(threads(&scene) < 100, "{} threads", threads(&scene));
}

/// How many have been told something that they haven't read.
fn answered(crowd: &[Raw]) -> usize {
    let told = |raw: &&Raw| {
        raw.stream.set_nonblocking(true).unwrap();
        SockRef::from(&raw.stream).peek(&mut [MaybeUninit::uninit()]).is_ok()
    };
    crowd.iter().filter(told).count()
}

fn threads(scene: &Scene) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", scene.agent_pid())).unwrap().count()
}
