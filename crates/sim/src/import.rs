//! The Clos that a topology's documents describe, if they describe one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use srv6_fabric::{Topology, VertexIndex};

use crate::{Clos, Error, Names, Node};

/// Finds planes, pods and tiers of a topology, and numbers its nodes in the order of their ids: then spread's choice
/// here is [`srv6_fabric::spread`]'s there. `rate` counts where the documents have none, in Gbit/s.
///
/// # Errors
/// Leaves with different numbers of hosts, hosts that aren't in every plane at the same place, a cable too many or too
/// few, links of different rates, ids that don't sort plane by plane.
pub fn import(topology: &Topology, rate: f64) -> Result<(Clos, Names), Error> {
    Import { topology }.read(rate)
}

struct Import<'a> {
    topology: &'a Topology,
}

/// Switches of one plane by tier: for each pod its leaves and its spines, and the cores of each spine position.
#[derive(Debug, PartialEq, Eq)]
struct Plane {
    leaves: Vec<Vec<VertexIndex>>,
    spines: Vec<Vec<VertexIndex>>,
    cores: Vec<Vec<VertexIndex>>,
}

impl Import<'_> {
    fn read(&self, rate: f64) -> Result<(Clos, Names), Error> {
        let leaves = self.topology.leaves();
        let switches = self.topology.vertices().filter(|(_, v)| !v.is_host()).map(|(i, _)| i);
        let mut planes = self
            .components(&switches.collect())
            .into_iter()
            .map(|plane| self.plane(&plane, &leaves))
            .collect::<Result<Vec<_>, _>>()?;
        planes.sort_by_key(|plane| plane.leaves.first().and_then(|pod| pod.first()).copied());
        let in_order: Vec<VertexIndex> =
            planes.iter().flat_map(|p| p.leaves.iter().flatten()).copied().collect();
        if in_order != leaves {
            return Err(self.irregular(
                "leaves",
                "their ids mix planes or pods",
                "ids that sort plane by plane",
            ));
        }
        let Some(first) = planes.first() else {
            return Err(self.irregular("topology", "no switch", "leaves and spines"));
        };
        let shape = |plane: &Plane| {
            let lengths = |rows: &[Vec<VertexIndex>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
            [lengths(&plane.leaves), lengths(&plane.spines), lengths(&plane.cores)]
        };
        let hosts = self.hosts(&planes)?;
        let length = |rows: &[Vec<VertexIndex>]| rows.first().map_or(0, Vec::len);
        let clos = Clos {
            planes: planes.len(),
            pods: first.leaves.len(),
            leaves: length(&first.leaves),
            spines: length(&first.spines),
            cores: length(&first.cores),
            hosts_per_leaf: hosts.len() / first.leaves.iter().map(Vec::len).sum::<usize>().max(1),
            host_rate: self.rate(true)?.unwrap_or(rate),
            fabric_rate: self.rate(false)?.unwrap_or(rate),
        };
        let even = planes.iter().all(|plane| {
            let [leaves, spines, cores] = shape(plane);
            leaves.iter().all(|&n| n == clos.leaves)
                && spines.iter().all(|&n| n == clos.spines)
                && cores.iter().all(|&n| n == clos.cores)
                && (leaves.len(), spines.len()) == (clos.pods, clos.pods)
                && (clos.cores == 0 || cores.len() == clos.spines)
        });
        if !even || hosts.len() != clos.hosts() {
            return Err(self.irregular("topology", "planes, pods or leaves differ in size", "equal ones"));
        }
        let clos = clos.check()?;
        let nodes = number(&clos, &planes, &hosts);
        self.compare_cables(&clos, &nodes)?;
        let names = nodes.into_iter().map(|(vertex, node)| (node, self.topology.vertex(vertex).name.clone()));
        Ok((clos, Names::Given(names.collect())))
    }

    /// Sets of switches that links join.
    fn components(&self, switches: &BTreeSet<VertexIndex>) -> Vec<BTreeSet<VertexIndex>> {
        let mut left = switches.clone();
        let mut found = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut component = BTreeSet::from([first]);
            let mut open = vec![first];
            while let Some(vertex) = open.pop() {
                for edge in self.topology.outgoing(vertex).filter(|edge| switches.contains(&edge.to)) {
                    if component.insert(edge.to) {
                        left.remove(&edge.to);
                        open.push(edge.to);
                    }
                }
            }
            found.push(component);
        }
        found
    }

    fn neighbours(&self, vertex: VertexIndex, among: &BTreeSet<VertexIndex>) -> BTreeSet<VertexIndex> {
        self.topology.outgoing(vertex).map(|edge| edge.to).filter(|to| among.contains(to)).collect()
    }

    fn plane(&self, switches: &BTreeSet<VertexIndex>, all_leaves: &[VertexIndex]) -> Result<Plane, Error> {
        let leaves: BTreeSet<VertexIndex> =
            all_leaves.iter().copied().filter(|leaf| switches.contains(leaf)).collect();
        if leaves.is_empty() {
            let vertex = switches.first().map_or("topology", |&v| self.topology.vertex(v).id.as_str());
            return Err(self.irregular(vertex, "no way to a host", "switches that hosts can reach"));
        }
        let upper: BTreeSet<VertexIndex> = switches.difference(&leaves).copied().collect();
        let spines: BTreeSet<VertexIndex> =
            leaves.iter().flat_map(|&leaf| self.neighbours(leaf, &upper)).collect();
        let cores: BTreeSet<VertexIndex> = upper.difference(&spines).copied().collect();
        if cores.is_empty() {
            let row = |set: BTreeSet<VertexIndex>| vec![set.into_iter().collect()];
            return Ok(Plane { leaves: row(leaves), spines: row(spines), cores: Vec::new() });
        }
        let lower: BTreeSet<VertexIndex> = leaves.union(&spines).copied().collect();
        let mut pods = self.components(&lower);
        pods.sort_by_key(|pod| pod.first().copied());
        let of_pods = |tier: &BTreeSet<VertexIndex>| -> Vec<Vec<VertexIndex>> {
            pods.iter().map(|pod| pod.intersection(tier).copied().collect()).collect()
        };
        let (leaves, spines) = (of_pods(&leaves), of_pods(&spines));
        let groups = spines.first().into_iter().flatten();
        let cores = groups.map(|&spine| self.neighbours(spine, &cores).into_iter().collect()).collect();
        Ok(Plane { leaves, spines, cores })
    }

    /// Hosts in the order of their leaves of the first plane; each must be on the leaf of the same place in every other.
    fn hosts(&self, planes: &[Plane]) -> Result<Vec<VertexIndex>, Error> {
        let rows = |plane: &Plane| -> Vec<Vec<VertexIndex>> {
            plane.leaves.iter().flatten().map(|&leaf| self.topology.hosts_of(leaf)).collect()
        };
        let mut all = planes.iter().map(rows);
        let first = all.next().unwrap_or_default();
        let size = first.first().map_or(0, Vec::len);
        if let Some(row) = first.iter().find(|row| row.len() != size) {
            let found = format!("on a leaf with {} hosts where others have {size}", row.len());
            let vertex = row.first().map_or("leaf", |&host| self.topology.vertex(host).id.as_str());
            return Err(self.irregular(vertex, &found, "as many hosts on every leaf"));
        }
        if all.any(|rows| rows != first) {
            return Err(self.irregular(
                "hosts",
                "other neighbours in another plane",
                "the same in every plane",
            ));
        }
        Ok(first.concat())
    }

    /// The rate of all links with or without a host, in Gbit/s; none where no document says it.
    fn rate(&self, hosts: bool) -> Result<Option<f64>, Error> {
        let is_host = |vertex| self.topology.vertex(vertex).is_host();
        let of_kind = self.topology.edges().iter().filter(|e| (is_host(e.from) || is_host(e.to)) == hosts);
        let rates: BTreeMap<Option<u32>, &str> = of_kind.map(|e| (e.rate_mbps, e.id.as_str())).collect();
        match rates.len() {
            0 | 1 => Ok(rates.into_keys().next().flatten().map(|mbps| f64::from(mbps) / 1e3)),
            _ => {
                let (rate, id) = rates.into_iter().next_back().unwrap_or((None, ""));
                let found = format!("rate_mbps {} where others differ", rate.unwrap_or(0));
                Err(self.irregular(id, &found, "one rate for hosts' links and one for switches'"))
            }
        }
    }

    fn compare_cables(&self, clos: &Clos, nodes: &HashMap<VertexIndex, Node>) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for edge in self.topology.edges() {
            let ends = nodes.get(&edge.from).zip(nodes.get(&edge.to));
            let fits = ends.is_some_and(|(&a, &b)| clos.joins(a, b) || clos.joins(b, a));
            if !fits || !seen.insert((edge.from, edge.to)) {
                return Err(self.irregular(
                    &edge.id,
                    "a cable too many",
                    "one between each leaf and each spine of a pod",
                ));
            }
        }
        let wanted = 2
            * clos.planes
            * (clos.hosts() + clos.all_leaves() * clos.spines + clos.pods * clos.spines * clos.cores);
        if seen.len() != wanted {
            let found = format!("{} directed links where {wanted} would be complete", seen.len());
            return Err(self.irregular(
                "topology",
                &found,
                "every leaf on every spine of its pod; --fail takes some away",
            ));
        }
        Ok(())
    }

    fn irregular(&self, vertex: &str, found: &str, want: &'static str) -> Error {
        Error::Irregular { vertex: vertex.to_owned(), found: found.to_owned(), want }
    }
}

fn number(clos: &Clos, planes: &[Plane], hosts: &[VertexIndex]) -> HashMap<VertexIndex, Node> {
    let mut nodes: HashMap<VertexIndex, Node> =
        hosts.iter().enumerate().map(|(position, &host)| (host, Node::Host(position))).collect();
    for (p, plane) in planes.iter().enumerate() {
        let leaves = plane.leaves.iter().flatten().enumerate();
        nodes.extend(leaves.map(|(position, &leaf)| (leaf, Node::Leaf(p, position))));
        let spines = plane.spines.iter().flatten().enumerate();
        nodes.extend(spines.map(|(position, &spine)| (spine, Node::Spine(p, position))));
        for (group, cores) in plane.cores.iter().enumerate() {
            let cores = cores.iter().enumerate();
            nodes.extend(cores.map(|(core, &vertex)| (vertex, Node::Core(p, group * clos.cores + core))));
        }
    }
    nodes
}
