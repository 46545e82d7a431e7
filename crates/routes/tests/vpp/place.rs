//! A VPP to test against, and what it says of itself.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use srv6_fabric::{Prefix, Segments};
use srv6_routes::vpp::message::{
    DeletePolicy, PoliciesDump, PolicyDetails, SegmentList, Steer, SteeringDump,
};
use srv6_routes::vpp::{Client, VppConfig, VppRoutes};
use srv6_routes::{Dataplane, EncapMode, Plan, Route, RouteKey, Target};
use srv6_vpp_standin::{Setup, StandIn};

/// A real VPP on a busy machine may take its time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) vppctl: Option<String>,
}

impl Server {
    pub(crate) fn version(&self) -> String {
        let socket = self.socket.as_ref().expect("a socket");
        let mut client = Client::connect(socket, TIMEOUT).expect("VPP answers");
        format!("version {}, {} messages", client.version().expect("a version"), client.messages())
    }
}

/// One VPP, for one test.
pub(crate) struct Place {
    standin: Option<StandIn>,
    socket: PathBuf,
    vppctl: Option<String>,
    pub(crate) range: Prefix,
}

impl Place {
    pub(crate) fn new(server: &Server) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let range = "fd53:5256:36:c4ec::/64".parse().unwrap();
        let (standin, socket) = match &server.socket {
            Some(socket) => (None, socket.clone()),
            None => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("vpp-{}-{number}.sock", std::process::id());
                let socket = std::env::temp_dir().join(name);
                (Some(StandIn::start(&socket, Setup::default()).unwrap()), socket)
            }
        };
        let place = Self { standin, socket, vppctl: server.vppctl.clone(), range };
        place.clear();
        place
    }

    pub(crate) fn config(&self) -> VppConfig {
        VppConfig { socket: self.socket.clone(), range: self.range, source: Some(source()), timeout: TIMEOUT }
    }

    pub(crate) fn routes(&self) -> VppRoutes {
        VppRoutes::new(self.config())
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket, TIMEOUT).unwrap()
    }

    /// Policies of our range, by VPP's own dump.
    pub(crate) fn policies(&self) -> BTreeMap<Ipv6Addr, PolicyDetails> {
        let all = self.client().dump(&PoliciesDump).unwrap();
        all.into_iter().filter(|p| self.range.contains(p.bsid.into())).map(|p| (p.bsid, p)).collect()
    }

    /// What is steered into policies of our range, by VPP's own dump.
    pub(crate) fn steering(&self) -> BTreeMap<Prefix, Ipv6Addr> {
        let all = self.client().dump(&SteeringDump).unwrap();
        let ours = all.into_iter().filter(|s| self.range.contains(s.bsid.into()));
        ours.filter_map(|s| Some((s.prefix?.1, s.bsid))).collect()
    }

    /// The segments that packets to a destination get: the first list of the policy that it is steered into.
    pub(crate) fn lists_to(&self, destination: &str) -> Vec<SegmentList> {
        let bsid = self.steering()[&destination.parse().unwrap()];
        self.policies()[&bsid].lists.clone()
    }

    /// VPP's command line agrees that this is shown, or isn't. Nothing is asked where there is none.
    pub(crate) fn assert_shown(&self, command: &str, text: &str, shown: bool) {
        let Some(vppctl) = &self.vppctl else { return };
        let output = Command::new("sh").args(["-c", &format!("{vppctl} {command}")]).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("vppctl {command}:\n{output}");
        assert_eq!(output.contains(text), shown, "{text} in\n{output}");
    }

    /// Removes what is in our range.
    pub(crate) fn clear(&self) {
        let mut routes = self.routes();
        let remove = routes.owned().unwrap().iter().map(|route| route.key).collect();
        assert!(routes.apply(&Plan { set: Vec::new(), remove }).is_empty());
        assert_eq!((self.policies().len(), self.steering().len()), (0, 0));
    }

    /// Removes what a test did in somebody else's name.
    pub(crate) fn clear_foreign(&self, bsid: Ipv6Addr, prefix: Prefix) {
        let mut client = self.client();
        client.call(&Steer { delete: true, bsid, table: 0, prefix }).unwrap();
        client.call(&DeletePolicy(bsid)).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.clear();
        if let Some(standin) = &self.standin {
            assert_eq!(standin.abuse(), None);
        }
    }
}

/// The source address of outer packets.
pub(crate) fn source() -> Ipv6Addr {
    "2001:db8:1000::2".parse().unwrap()
}

/// A route to one destination over these carriers.
pub(crate) fn route(destination: &str, carriers: &[&str]) -> Route {
    let segments = Segments::new(carriers.iter().map(|carrier| carrier.parse().unwrap()).collect()).unwrap();
    Route {
        key: RouteKey { table: 0, destination: destination.parse().unwrap() },
        interface: 0,
        source: None,
        mtu: None,
        target: Target::Encap { mode: EncapMode::Reduced, segments },
    }
}
