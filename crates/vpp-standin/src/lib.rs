//! Stands in for VPP in tests: its API socket, with a model of segment routing behind it.
//!
//! It speaks the handshake, framing, messages and CRCs of VPP 26.10-rc0 (revision b575ec2), and answers with VPP's own
//! return values. It shares no code with the client that is tested against it. What would end a real VPP, or leave it with a
//! dangling index, ends this one too: [`StandIn::abuse`] says what it was.
#![forbid(unsafe_code)]

mod answers;
mod bytes;
mod catalog;
mod model;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use srv6_fabric::Prefix;

pub use catalog::Offer;
use model::Model;
use server::Server;

/// What this VPP is configured with, before anybody programs it.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Names of interfaces, and their addresses with the length of the network; their indexes are 1, 2, …
    pub interfaces: Vec<(String, Vec<(IpAddr, u8)>)>,
    /// Tables beside the default ones: number, and whether it is IPv6.
    pub tables: Vec<(u32, bool)>,
    /// Routes: table, destination, next hop, index of the interface.
    pub routes: Vec<(u32, Prefix, IpAddr, u32)>,
    /// Which messages it has.
    pub offer: Offer,
}

impl Setup {
    /// A VPP that has a host's interface `eth1` with this address, and a route to the uSID block `fc00::/32` by the first address of
    /// the address's /64.
    pub fn of_host(address: Ipv6Addr) -> Self {
        let net = u128::from(address) & !u128::from(u64::MAX);
        let block = Prefix::new(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0).into(), 32);
        Self {
            interfaces: vec![("eth1".to_owned(), vec![(address.into(), 64)])],
            routes: block.map(|block| (0, block, Ipv6Addr::from(net | 1).into(), 1)).into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What goes wrong from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// No answers.
    Silent,
    /// Answers of random bytes, in right frames.
    Garbage,
    /// Answers without their last bytes, the frame made to match.
    Cut,
    /// A frame that announces more than any message has.
    Endless,
    /// Answers that come byte by byte.
    Slow,
    /// The connection is closed instead of an answer.
    Close,
}

/// A policy as `show sr policies` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPolicy {
    /// Source address of outer packets.
    pub source: Ipv6Addr,
    /// Weight and segments of each list.
    pub lists: Vec<(u32, Vec<Ipv6Addr>)>,
}

/// A VPP that isn't one. Ends on drop.
#[derive(Debug)]
pub struct StandIn {
    socket: PathBuf,
    setup: Setup,
    model: Arc<Mutex<Model>>,
    server: Option<Server>,
}

impl StandIn {
    /// Listens on a socket.
    ///
    /// # Errors
    /// The socket can't be made.
    pub fn start(socket: &Path, setup: Setup) -> io::Result<Self> {
        let model = Arc::new(Mutex::new(Model::new(setup.clone())));
        let server = Server::start(socket, Arc::clone(&model))?;
        Ok(Self { socket: socket.to_owned(), setup, model, server: Some(server) })
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends as by SIGKILL: every connection breaks, everything is forgotten.
    pub fn kill(&mut self) {
        self.server = None;
        *self.model.lock() = Model::new(self.setup.clone());
    }

    /// Begins anew after [`Self::kill`], with nothing but its setup.
    ///
    /// # Errors
    /// The socket can't be made.
    pub fn revive(&mut self) -> io::Result<()> {
        self.server = None;
        self.server = Some(Server::start(&self.socket, Arc::clone(&self.model))?);
        Ok(())
    }

    /// Goes wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.model.lock().fault = fault;
    }

    /// Has these interfaces from now on; addresses move while it runs.
    pub fn interfaces(&self, interfaces: Vec<(String, Vec<(IpAddr, u8)>)>) {
        self.model.lock().setup.interfaces = interfaces;
    }

    /// All policies by binding SID.
    pub fn policies(&self) -> BTreeMap<Ipv6Addr, ShownPolicy> {
        self.model.lock().shown_policies()
    }

    /// Everything that is steered: table and destination, and the policy's binding SID.
    pub fn steering(&self) -> BTreeMap<(u32, Prefix), Ipv6Addr> {
        self.model.lock().shown_steering()
    }

    /// The source address of policies without one of their own.
    pub fn source(&self) -> Ipv6Addr {
        self.model.lock().source
    }

    /// How many requests of each name were served.
    pub fn served(&self) -> BTreeMap<&'static str, usize> {
        self.model.lock().served.clone()
    }

    /// What was done that would have ended a real VPP or left it inconsistent.
    pub fn abuse(&self) -> Option<String> {
        self.model.lock().abuse.clone()
    }

    /// Somebody else's policy, made by another way than the socket.
    pub fn foreign_policy(&self, bsid: Ipv6Addr, segments: &[Ipv6Addr]) {
        let list = (1, segments.to_vec());
        self.model.lock().add_policy(bsid, Ipv6Addr::UNSPECIFIED, true, 0, list, 0);
    }

    /// Steers a destination as somebody else would.
    pub fn foreign_steering(&self, table: u32, prefix: Prefix, bsid: Ipv6Addr) {
        let traffic = if prefix.address().is_ipv4() { 4 } else { 6 };
        self.model.lock().steer(false, bsid, table, prefix, traffic);
    }
}
