//! A fabric that is up.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use srv6_fabric::Topology;

use crate::batch::{self, Tool};
use crate::plan::{Cable, Condition, End, Plan, Role};
use crate::{Error, Node, Options, netlink, steering};

/// How long the kernel may take for what it does in the background. On an idle machine it is milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fabric of network namespaces. Dropping it takes it down, and so does the end of its process.
#[derive(Debug)]
pub struct Lab {
    pub(crate) plan: Plan,
    // In the plan's order.
    nodes: Vec<Node>,
}

impl Lab {
    /// Builds the fabric of a topology, with a management network beside it.
    ///
    /// Returns when every link has carrier and every route is in place. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN:
    /// an ordinary user calls [`crate::enter_user_namespace`] first.
    ///
    /// # Errors
    /// Topologies that a lab can't be made of, a missing tool or kernel feature (named), whatever the kernel
    /// refuses (with node, command and its words). Nothing is left behind.
    pub fn up(topology: &Topology, options: &Options) -> Result<Self, Error> {
        let began = Instant::now();
        let plan = Plan::new(topology, options)?;
        let nodes = plan.nodes.iter().map(|n| Node::create(&n.name)).collect::<Result<Vec<_>, _>>()?;
        let lab = Self { plan, nodes };

        let cpus = if options.receive_steering { steering::cpus() } else { Vec::new() };
        let steered = lab.on_all(|i| {
            let name = lab.plan.name_of(i).to_owned();
            let role = lab.plan.nodes.get(i).map_or(Role::Host, |n| n.role);
            let settings = role.settings();
            let congestion = options.congestion.clone().filter(|_| role == Role::Host);
            let mask = steering::mask(i, &cpus);
            move || {
                settings.iter().try_for_each(|(file, value)| set(&name, file, value))?;
                congestion.map_or(Ok(()), |congestion| set(&name, CONGESTION, &congestion))?;
                mask.map_or(Ok(true), |m| steering::steer_new(&name, &m))
            }
        })?;

        lab.batches(Tool::Ip, |i| lab.plan.make(i, |peer| lab.namespace(peer)))?;
        lab.batches(Tool::Ip, |i| lab.plan.switch_on(i))?;
        lab.await_carrier(|_| Some(true))?;
        lab.batches(Tool::Ip, |i| lab.plan.configure(i, |_| Condition::On))?;
        lab.await_addresses(|_| Condition::On)?;
        lab.batches(Tool::Tc, |i| lab.plan.shape(i))?;
        if steered.contains(&false) {
            lab.steer_interfaces(&cpus)?;
        }
        log::info!(
            "nodes={} links={} up_ms={}",
            lab.nodes.len(),
            lab.plan.cables.len(),
            began.elapsed().as_millis()
        );
        Ok(lab)
    }

    /// Joins a fabric that another process holds; `thread` gives the thread that lives in a node.
    ///
    /// Dropping this leaves the fabric up.
    pub(crate) fn attach(
        topology: &Topology,
        options: &Options,
        pid: u32,
        thread: impl Fn(&str) -> Result<u32, Error>,
    ) -> Result<Self, Error> {
        let plan = Plan::new(topology, options)?;
        let nodes = plan
            .nodes
            .iter()
            .map(|n| Node::join(&n.name, pid, thread(&n.name)?))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { plan, nodes })
    }

    /// A node by its name (`host00`, `spine01`, `mgmt`) or vertex id (`hosts/host00`).
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        self.plan.node(name).and_then(|i| self.nodes.get(i)).ok_or_else(|| {
            let known: Vec<&str> = self.nodes.iter().map(Node::name).collect();
            Error::UnknownNode { name: name.to_owned(), known: known.join(" ") }
        })
    }

    /// All nodes: the topology's vertices in order, then the management network.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The hosts in the topology's order.
    pub fn hosts(&self) -> impl Iterator<Item = &Node> {
        self.with_role(Role::Host)
    }

    /// The switches in the topology's order.
    pub fn switches(&self) -> impl Iterator<Item = &Node> {
        self.with_role(Role::Switch)
    }

    /// The node that joins all hosts outside the fabric, at 198.18.0.1: for path servers and rendezvous.
    pub fn management(&self) -> &Node {
        #[expect(clippy::expect_used, reason = "every plan ends with the management network")]
        self.nodes.last().expect("a lab has nodes")
    }

    /// A host's address on the management network, or of that network's own node.
    ///
    /// # Errors
    /// Unknown names; switches have no such address.
    pub fn management_address(&self, name: &str) -> Result<Ipv4Addr, Error> {
        let node = self.plan.node(name).and_then(|i| self.plan.nodes.get(i));
        node.and_then(|n| n.management).ok_or_else(|| {
            let known = self.plan.nodes.iter().filter(|n| n.management.is_some()).map(|n| n.name.as_str());
            Error::UnknownNode { name: name.to_owned(), known: known.collect::<Vec<_>>().join(" ") }
        })
    }

    /// Runs lines in every node at once.
    pub(crate) fn batches(&self, tool: Tool, lines: impl Fn(usize) -> Vec<String>) -> Result<(), Error> {
        self.on_all(|i| {
            let (name, lines) = (self.plan.name_of(i).to_owned(), lines(i));
            move || batch::run(&name, tool, &lines)
        })?;
        Ok(())
    }

    /// Runs one job in every node at once, and gives back all results or the first error in node order.
    pub(crate) fn on_all<T, J>(&self, job: impl Fn(usize) -> J) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        J: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        let running: Vec<(&Node, mpsc::Receiver<_>)> =
            self.nodes.iter().enumerate().map(|(i, node)| (node, node.submit(job(i)))).collect();
        // All are waited for, also after an error: a job still running would outlive what it works on.
        let results: Vec<Result<T, Error>> = running
            .into_iter()
            .map(|(node, result)| match result.recv() {
                Ok(Ok(result)) => result,
                Ok(Err(payload)) => std::panic::resume_unwind(payload),
                Err(_) => Err(Error::Namespace {
                    node: node.name().to_owned(),
                    action: "run a job on its thread",
                    source: std::io::ErrorKind::BrokenPipe.into(),
                }),
            })
            .collect();
        results.into_iter().collect()
    }

    /// Waits until all ends of cables that `wanted` has an opinion about run (true) or don't (false).
    pub(crate) fn await_carrier(&self, wanted: impl Fn(&Cable) -> Option<bool>) -> Result<(), Error> {
        self.on_all(|i| {
            let node = self.plan.name_of(i).to_owned();
            let ends: Vec<(u32, String, bool)> = self
                .plan
                .ends_of(i)
                .filter_map(|(cable, end)| Some((end.ifindex, end.interface.clone(), wanted(cable)?)))
                .collect();
            move || {
                for (running, problem) in [(true, "no carrier on"), (false, "still carrier on")] {
                    let chosen = || ends.iter().filter(|(.., wanted)| *wanted == running);
                    let indexes: Vec<u32> = chosen().map(|(index, ..)| *index).collect();
                    if indexes.is_empty() {
                        continue;
                    }
                    let late = netlink::await_running(&indexes, running, PATIENCE).map_err(|source| {
                        Error::Netlink { node: node.clone(), action: "wait for carrier", source }
                    })?;
                    let names: Vec<&str> = chosen()
                        .filter(|(i, ..)| late.contains(i))
                        .map(|(_, name, _)| name.as_str())
                        .collect();
                    if !names.is_empty() {
                        let missing = format!("{problem} {}", names.join(" "));
                        return Err(Error::Late { node, missing, waited: PATIENCE });
                    }
                }
                Ok(())
            }
        })?;
        Ok(())
    }

    /// Waits until every node answers to its addresses on interfaces that are on.
    pub(crate) fn await_addresses(&self, condition: impl Fn(&End) -> Condition) -> Result<(), Error> {
        self.on_all(|i| {
            let node = self.plan.name_of(i).to_owned();
            let addresses = self.plan.addresses(i, &condition);
            move || {
                if addresses.is_empty() {
                    return Ok(());
                }
                let late = netlink::await_local(&addresses, PATIENCE).map_err(|source| Error::Netlink {
                    node: node.clone(),
                    action: "wait for addresses",
                    source,
                })?;
                if late.is_empty() {
                    return Ok(());
                }
                let late: Vec<String> = late.iter().map(ToString::to_string).collect();
                let missing = format!("no local route of {}", late.join(" "));
                Err(Error::Late { node, missing, waited: PATIENCE })
            }
        })?;
        Ok(())
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.plan
            .nodes
            .iter()
            .zip(&self.nodes)
            .filter(move |(plan, _)| plan.role == role)
            .map(|(_, node)| node)
    }

    fn namespace(&self, node: usize) -> Box<Path> {
        self.nodes.get(node).map(Node::namespace_path).unwrap_or_default().into()
    }

    /// For kernels that know no mask for new interfaces.
    fn steer_interfaces(&self, cpus: &[usize]) -> Result<(), Error> {
        let steered = self.on_all(|i| {
            let name = self.plan.name_of(i).to_owned();
            let interfaces: Vec<String> = self.plan.ends_of(i).map(|(_, e)| e.interface.clone()).collect();
            let mask = steering::mask(i, cpus);
            move || mask.map_or(Ok(true), |m| steering::steer(&name, &m, &interfaces))
        })?;
        if steered.contains(&false) {
            log::warn!(
                "receive steering is off, so links may reorder packets and TCP retransmit needlessly: this kernel \
                 (before 6.3) only lets root switch it on"
            );
        }
        Ok(())
    }
}

/// TCP's congestion control of a network namespace, below /proc/sys.
pub(crate) const CONGESTION: &str = "net/ipv4/tcp_congestion_control";

/// Writes a setting below /proc/sys, in the calling thread's namespace.
pub(crate) fn set(node: &str, file: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(file);
    std::fs::write(&path, value).map_err(|source| Error::Sysctl {
        node: node.to_owned(),
        path,
        value: value.to_owned(),
        source,
    })
}
