//! A lab with an agent in two of its hosts, and a transfer between them by ordinary sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use srv6_agent::{Agent, Config, Host, Layers, Namespace};
use srv6_fabric::Flow;
use srv6_lab::{Lab, Options};
use srv6_steer::{FlowReport, Hold, Status, Steered};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const HOST00: &str = "2001:db8:1000::2";
pub(crate) const HOST01: &str = "2001:db8:1001::2";

pub(crate) fn flow(src: &str, dst: &str) -> Flow {
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

pub(crate) fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

pub(crate) fn lab() -> Lab {
    let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
    Lab::up(&topology, &Options::default()).unwrap()
}

/// An agent in a host's namespace, with its state in a folder.
pub(crate) struct Beside {
    pub(crate) agent: Agent,
    pub(crate) host: Arc<Host>,
}

impl Beside {
    pub(crate) fn start(lab: &Lab, host: &str, folder: &Path) -> Self {
        Self::with(lab, host, folder, &[("SRV6_TOPOLOGY", fabric().to_str().unwrap())])
    }

    /// With these settings, the source of paths among them.
    pub(crate) fn with(lab: &Lab, host: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let state = folder.join(format!("{host}.json"));
        let own = [("SRV6D_STATE", state.to_str().unwrap()), ("SRV6D_HINTS", "off")];
        let all = own.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let layers = Layers::of_environment(all);
        let config = Config::read(layers).unwrap();
        lab.node(host).unwrap().run(move || {
            let agent = Agent::start(config).unwrap();
            let host = agent.hosts().enter(Namespace::own().unwrap()).unwrap();
            Self { agent, host }
        })
    }

    /// Steers a flow.
    pub(crate) fn steer(&self, flow: Flow) -> (Hold, Arc<Steered>) {
        let hold = self.host.steer().request(flow);
        let steered = steered(&hold);
        (hold, steered)
    }

    pub(crate) fn flows(&self) -> Vec<FlowReport> {
        self.host.steer().report().wait(PATIENCE).unwrap().flows
    }
}

pub(crate) fn steered(hold: &Hold) -> Arc<Steered> {
    let mut answer = None;
    eventually("the flow is steered", || match hold.status() {
        Status::Ready(steered) => {
            answer = Some(steered);
            true
        }
        Status::Pending => false,
        Status::Failed(reason) => panic!("{reason}"),
    });
    answer.unwrap()
}

pub(crate) fn spine(hold: &Hold) -> String {
    steered(hold).hops[2].clone()
}

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Our routes in a host as `ip` shows them.
pub(crate) fn routes(lab: &Lab, host: &str) -> String {
    lab.node(host).unwrap().sh("ip -6 route show table all proto 83").unwrap()
}

/// A transfer from host00 to host01, at a rate that any machine can keep up, by sockets that nobody has touched.
pub(crate) struct Transfer {
    over: Arc<AtomicBool>,
    arrived: Arc<AtomicU64>,
    sending: JoinHandle<u64>,
    receiving: JoinHandle<()>,
}

impl Transfer {
    pub(crate) fn start(lab: &Lab) -> Self {
        let listener = lab
            .node("host01")
            .unwrap()
            .run(|| TcpListener::bind(SocketAddr::new(HOST01.parse().unwrap(), 9000)).unwrap());
        let stream = lab
            .node("host00")
            .unwrap()
            .run(|| TcpStream::connect(SocketAddr::new(HOST01.parse().unwrap(), 9000)).unwrap());
        let (over, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (mut incoming, _) = listener.accept().unwrap();
        let counting = Arc::clone(&arrived);
        let receiving = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = incoming.read(&mut buffer) {
                counting.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        let ending = Arc::clone(&over);
        let sending = std::thread::spawn(move || {
            let (mut stream, chunk, mut sent) = (stream, vec![1; 1 << 14], 0);
            while !ending.load(Ordering::Relaxed) {
                stream.write_all(&chunk).unwrap();
                sent += chunk.len() as u64;
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Self { over, arrived, sending, receiving }
    }

    /// Waits until so many more bytes have arrived.
    pub(crate) fn more(&self, bytes: u64) {
        let goal = self.arrived.load(Ordering::Relaxed) + bytes;
        eventually("the transfer goes on", || self.arrived.load(Ordering::Relaxed) >= goal);
    }

    /// Ends it: nothing may have got lost.
    pub(crate) fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.sending.join().unwrap();
        self.receiving.join().unwrap();
        assert_eq!(self.arrived.load(Ordering::Relaxed), sent);
    }
}
