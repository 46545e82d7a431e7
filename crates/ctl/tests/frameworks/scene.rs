//! A lab with a path server, and programs in its hosts with and without the shim.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use srv6_fabric::{Family, Topology};
use srv6_lab::{Lab, Options};
use srv6_pathserver::{Running, Server};

/// A fabric of examples/fabrics, and its path server in the management network.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) topology: Topology,
    pub(crate) family: Family,
    /// For what a run writes.
    pub(crate) folder: PathBuf,
    _server: Running,
    settings: Vec<(&'static str, String)>,
}

/// Whether a program gets the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shim {
    Preloaded,
    Absent,
}

/// What all programs of a fabric use for data.
pub(crate) const INTERFACE: &str = "eth1";

/// Longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(60);

impl Scene {
    /// Raises a fabric whose hosts talk to each other by addresses of one family.
    pub(crate) fn raise(name: &str, fabric: &str, family: Family) -> Self {
        let file = repository().join("examples/fabrics").join(fabric);
        let (documents, topology) = srv6_paths::read_topology(&file, "fabric_graph", "hosts").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let address = lab.management_address(lab.management().name()).unwrap();
        let server = lab.management().run(move || {
            Server::bind((address, 8000).into(), &documents, srv6_pathserver::Options::default())
                .unwrap()
                .spawn()
                .unwrap()
        });
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("frameworks-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = vec![("JALAPENO_API_ENDPOINT", server.url()), ("SRV6_MODE", "local".to_owned())];
        Self { lab, topology, family, folder, _server: server, settings }
    }

    /// Lets all connects wait for their routes, also those that must not block, however long a busy machine takes.
    pub(crate) fn patient(mut self) -> Self {
        for setting in ["SRV6_CONNECT_TIMEOUT_MS", "SRV6_SHIM_WAIT_MS"] {
            self.settings.push((setting, PATIENCE.as_millis().to_string()));
        }
        self
    }

    /// A host's address in the fabric, of the scene's family.
    pub(crate) fn address(&self, host: &str) -> IpAddr {
        let vertex = self.topology.vertex(self.topology.by_name(host).unwrap());
        let own = vertex.addresses.iter().find(|address| Family::of(**address) == self.family);
        *own.unwrap_or_else(|| panic!("{host} has no address of {:?}", self.family))
    }

    /// A host's address beside the fabric.
    pub(crate) fn management_address(&self, host: &str) -> String {
        self.lab.management_address(host).unwrap().to_string()
    }

    /// A program in a host.
    pub(crate) fn command(&self, host: &str, program: impl AsRef<Path>, shim: Shim) -> Command {
        let mut command = self.lab.node(host).unwrap().command(program.as_ref().to_str().unwrap());
        if shim == Shim::Preloaded {
            command.envs(self.preloading());
        }
        command
    }

    /// What a program's environment has if it is preloaded.
    pub(crate) fn preloading(&self) -> Vec<(String, String)> {
        let mut variables = self.steering();
        variables.push(("LD_PRELOAD".to_owned(), shim().display().to_string()));
        variables
    }

    /// The shim's settings.
    pub(crate) fn steering(&self) -> Vec<(String, String)> {
        self.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Waits until somebody listens on a TCP port of a host.
    pub(crate) fn await_listener(&self, host: &str, port: u16) {
        let started = Instant::now();
        let node = self.lab.node(host).unwrap();
        while node.sh(&format!("ss -Hltn 'sport = :{port}'")).unwrap().is_empty() {
            assert!(started.elapsed() < PATIENCE, "nobody listens on port {port} of {host}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Our routes in a host, of either family, as `ip` shows them.
    pub(crate) fn routes(&self, host: &str) -> String {
        let node = self.lab.node(host).unwrap();
        node.sh("ip -6 route show proto 83; ip -4 route show proto 83").unwrap()
    }

    pub(crate) fn assert_no_routes(&self) {
        for host in self.lab.hosts() {
            assert_eq!(self.routes(host.name()), "", "{} has routes left", host.name());
        }
    }
}

/// The shim as cargo built it beside this test.
pub(crate) fn shim() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libsrv6_shim.so");
    assert!(built.exists(), "{} is not built", built.display());
    built
}

/// Debian's Python, for which Debian's PyTorch is.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
