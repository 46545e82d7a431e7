//! A fabric as a graph: hosts, switches, directed edges, and who has which address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::document::{kind, text};
use crate::{Behavior, Documents, Prefix, Sid, SidStructure, TopologyError};

/// Position of a vertex in its topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexIndex(pub(crate) usize);

/// A host (it has an address) or a switch.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// `collection/key`, as the path API calls it.
    pub id: String,
    /// Short name for people; the key where the document has none.
    pub name: String,
    /// `ipv4_address` and `ipv6_address`; empty for switches.
    pub addresses: Vec<IpAddr>,
    /// `prefix`/`prefix_len`, where the document has them.
    pub prefix: Option<Prefix>,
    /// SIDs in document order.
    pub sids: Vec<Sid>,
    /// Data interface of a host.
    pub interface: Option<String>,
    /// A switch's router id.
    pub router_id: Option<String>,
    /// A switch's autonomous system.
    pub asn: Option<u32>,
}

impl Vertex {
    /// Whether this is an end of flows and not a switch: it has an address, or it is a prefix that a fabric
    /// announces (`bgp_prefix_v6`, `ls_prefix`) and has no SIDs.
    pub fn is_host(&self) -> bool {
        !self.addresses.is_empty() || (self.prefix.is_some() && self.sids.is_empty())
    }
}

/// One direction of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// `collection/key`.
    pub id: String,
    /// Where it starts.
    pub from: VertexIndex,
    /// Where it ends.
    pub to: VertexIndex,
    /// IPv6 MTU of the link in bytes, where the document says it.
    pub mtu: Option<u32>,
    /// Rate of the link in Mbit/s, where the document says it.
    pub rate_mbps: Option<u32>,
    /// Latency, in the documents' own unit; 1 where there is none, as the path API counts it.
    pub latency: f64,
    /// Outgoing utilization in percent; 1 where there is none, as the path API counts it.
    pub utilization: f64,
}

/// A fabric. Vertices are sorted by id, so positions mean the same on every host.
#[derive(Debug, Clone)]
pub struct Topology {
    vertices: Vec<Vertex>,
    edges: Vec<Edge>,
    outgoing: Vec<Vec<usize>>,
    by_id: HashMap<String, VertexIndex>,
    by_address: HashMap<IpAddr, VertexIndex>,
}

impl Topology {
    /// Builds the graph of one edge collection and every vertex document.
    ///
    /// # Errors
    /// A field that isn't what it must be (with document and field), two hosts with one address, an edge that
    /// leads nowhere, or a topology without hosts, switches or edges.
    pub fn new(documents: &Documents, graph: &str) -> Result<Self, TopologyError> {
        let mut faults = Vec::new();
        let topology = Self::build(documents, graph, &mut faults)?;
        faults.into_iter().next().map_or(Ok(topology), Err)
    }

    /// Builds the graph as [`Topology::new`] does, but leaves out documents that can't be used and says why:
    /// in a live database one broken document must not stop every flow.
    ///
    /// # Errors
    /// Nothing usable is left: no hosts, no switches or no edges.
    pub fn tolerant(documents: &Documents, graph: &str) -> Result<(Self, Vec<TopologyError>), TopologyError> {
        let mut faults = Vec::new();
        let topology = Self::build(documents, graph, &mut faults);
        topology.map(|topology| (topology, faults))
    }

    fn build(
        documents: &Documents,
        graph: &str,
        faults: &mut Vec<TopologyError>,
    ) -> Result<Self, TopologyError> {
        let mut vertices = Vec::new();
        for collection in documents.collections().values().filter(|c| !c.is_edges()) {
            for document in &collection.documents {
                match vertex(document) {
                    Ok(vertex) => vertices.push(vertex),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        vertices.sort_by(|a, b| a.id.cmp(&b.id));
        if !vertices.iter().any(Vertex::is_host) {
            return Err(faults.pop().unwrap_or(TopologyError::Empty { what: "hosts" }));
        }
        if vertices.iter().all(Vertex::is_host) {
            return Err(faults.pop().unwrap_or(TopologyError::Empty { what: "switches" }));
        }
        let by_id: HashMap<String, VertexIndex> =
            vertices.iter().enumerate().map(|(i, v)| (v.id.clone(), VertexIndex(i))).collect();
        let by_address = addresses(&vertices, faults);

        let documents = documents.collection(graph).map(|c| c.documents.as_slice()).unwrap_or_default();
        let mut edges = Vec::new();
        for document in documents {
            match edge(document, &by_id) {
                Ok(edge) => edges.push(edge),
                Err(fault) => faults.push(fault),
            }
        }
        if edges.is_empty() {
            return Err(faults.pop().unwrap_or(TopologyError::Empty { what: "edges" }));
        }
        let mut outgoing = vec![Vec::new(); vertices.len()];
        for (i, edge) in edges.iter().enumerate() {
            if let Some(list) = outgoing.get_mut(edge.from.0) {
                list.push(i);
            }
        }
        Ok(Self { vertices, edges, outgoing, by_id, by_address })
    }

    /// All vertices, sorted by id, with their positions.
    pub fn vertices(&self) -> impl Iterator<Item = (VertexIndex, &Vertex)> {
        self.vertices.iter().enumerate().map(|(i, v)| (VertexIndex(i), v))
    }

    /// All edges in document order.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The vertex at a position of this topology.
    ///
    /// # Panics
    /// The position belongs to a larger topology.
    #[expect(clippy::indexing_slicing, reason = "positions are only made by this topology")]
    pub fn vertex(&self, index: VertexIndex) -> &Vertex {
        &self.vertices[index.0]
    }

    /// Position of a vertex id such as `hosts/host00`.
    pub fn by_id(&self, id: &str) -> Option<VertexIndex> {
        self.by_id.get(id).copied()
    }

    /// The first vertex with this name, such as `spine01`.
    pub fn by_name(&self, name: &str) -> Option<VertexIndex> {
        self.vertices().find(|(_, v)| v.name == name).map(|(i, _)| i)
    }

    /// The host that an address belongs to: exact match first, then the longest prefix.
    ///
    /// Addresses are compared by value, since the documents' text isn't canonical.
    pub fn host_of(&self, address: IpAddr) -> Option<VertexIndex> {
        let address = address.to_canonical();
        self.by_address.get(&address).copied().or_else(|| {
            self.vertices()
                .filter(|(_, v)| v.is_host())
                .filter_map(|(i, v)| v.prefix.filter(|p| p.contains(address)).map(|p| (p.length(), i)))
                .max_by_key(|&(length, i)| (length, std::cmp::Reverse(i)))
                .map(|(_, i)| i)
        })
    }

    /// Edges that leave a vertex.
    pub fn outgoing(&self, from: VertexIndex) -> impl Iterator<Item = &Edge> {
        self.outgoing.get(from.0).into_iter().flatten().filter_map(|&i| self.edges.get(i))
    }

    /// The edge from one vertex to another; of parallel ones the first in document order.
    pub fn edge(&self, from: VertexIndex, to: VertexIndex) -> Option<&Edge> {
        self.outgoing(from).find(|e| e.to == to)
    }

    /// The switches a host hangs on, sorted.
    pub fn leaves_of(&self, host: VertexIndex) -> Vec<VertexIndex> {
        let mut leaves: Vec<VertexIndex> =
            self.outgoing(host).map(|e| e.to).filter(|&v| !self.vertex(v).is_host()).collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    /// The hosts of a switch, sorted.
    pub fn hosts_of(&self, leaf: VertexIndex) -> Vec<VertexIndex> {
        let mut hosts: Vec<VertexIndex> =
            self.outgoing(leaf).map(|e| e.to).filter(|&v| self.vertex(v).is_host()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// All switches that hosts hang on, sorted.
    pub fn leaves(&self) -> Vec<VertexIndex> {
        let mut leaves: Vec<VertexIndex> =
            self.vertices().filter(|(_, v)| v.is_host()).flat_map(|(i, _)| self.leaves_of(i)).collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }
}

/// Hosts by address; of two with the same address the first keeps it.
fn addresses(vertices: &[Vertex], faults: &mut Vec<TopologyError>) -> HashMap<IpAddr, VertexIndex> {
    let mut by_address: HashMap<IpAddr, VertexIndex> = HashMap::new();
    for (i, vertex) in vertices.iter().enumerate() {
        for &address in &vertex.addresses {
            let first = *by_address.entry(address).or_insert(VertexIndex(i));
            if first.0 != i {
                faults.push(TopologyError::SharedAddress {
                    address: address.to_string(),
                    first: vertices.get(first.0).map(|v| v.id.clone()).unwrap_or_default(),
                    second: vertex.id.clone(),
                });
            }
        }
    }
    by_address
}

/// One document being read: makes errors that name it.
struct Reader<'a> {
    document: &'a Map<String, Value>,
    id: &'a str,
}

impl<'a> Reader<'a> {
    fn new(document: &'a Map<String, Value>) -> Self {
        Self { document, id: text(document, "_id").unwrap_or_default() }
    }

    fn wrong(&self, field: &str, found: impl Into<String>, want: &'static str) -> TopologyError {
        TopologyError::Field {
            document: self.id.to_owned(),
            field: field.to_owned(),
            found: found.into(),
            want,
        }
    }

    /// A field that may be absent or null but not of another type.
    fn text(&self, field: &str) -> Result<Option<&'a str>, TopologyError> {
        match self.document.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, other.to_string(), "text")),
        }
    }

    fn number(&self, field: &str) -> Result<Option<u32>, TopologyError> {
        match self.document.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(field, value.to_string(), "a whole number from 0 to 4294967295")),
            },
        }
    }

    /// A metric of an edge. Missing, null and non-numbers count as 1, as in the database's own path search.
    fn weight(&self, field: &str) -> f64 {
        self.document.get(field).and_then(Value::as_f64).unwrap_or(1.0)
    }

    fn address(&self, field: &str, want: &'static str) -> Result<Option<IpAddr>, TopologyError> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_ipv4() == (want == "an IPv4 address") => Ok(Some(address)),
            _ => Err(self.wrong(field, format!("{text:?}"), want)),
        }
    }

    fn prefix(&self) -> Result<Option<Prefix>, TopologyError> {
        let (Some(prefix), Some(length)) = (self.text("prefix")?, self.number("prefix_len")?) else {
            return Ok(None);
        };
        let address: IpAddr =
            prefix.parse().map_err(|_| self.wrong("prefix", format!("{prefix:?}"), "an IP address"))?;
        u8::try_from(length)
            .ok()
            .and_then(|l| Prefix::new(address, l).ok())
            .map(Some)
            .ok_or_else(|| self.wrong("prefix_len", length.to_string(), "0 to 128 (IPv6), 0 to 32 (IPv4)"))
    }

    fn sids(&self) -> Result<Vec<Sid>, TopologyError> {
        match self.document.get("sids") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(sids)) => sids.iter().enumerate().map(|(i, sid)| self.sid(i, sid)).collect(),
            Some(other) => Err(self.wrong("sids", kind(other), "an array of SIDs")),
        }
    }

    fn sid(&self, index: usize, sid: &Value) -> Result<Sid, TopologyError> {
        let name = format!("sids[{index}].srv6_sid");
        let text = sid
            .get("srv6_sid")
            .and_then(Value::as_str)
            .ok_or_else(|| self.wrong(&name, "missing", "an IPv6 address"))?;
        let address: Ipv6Addr =
            text.parse().map_err(|_| self.wrong(&name, format!("{text:?}"), "an IPv6 address"))?;
        let small = |object: &str, field: &str| -> Result<Option<u16>, TopologyError> {
            match sid.get(object).and_then(|o| o.get(field)) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => {
                    value.as_u64().and_then(|n| u16::try_from(n).ok()).map(Some).ok_or_else(|| {
                        self.wrong(
                            &format!("sids[{index}].{object}.{field}"),
                            value.to_string(),
                            "0 to 65535",
                        )
                    })
                }
            }
        };
        let behavior = small("srv6_endpoint_behavior", "endpoint_behavior")?.map(Behavior);
        let algo = small("srv6_endpoint_behavior", "algo")?.unwrap_or(0);
        let algo = u8::try_from(algo).map_err(|_| {
            self.wrong(&format!("sids[{index}].srv6_endpoint_behavior.algo"), algo.to_string(), "0 to 255")
        })?;
        let part = |field: &str| -> Result<Option<u8>, TopologyError> {
            match small("srv6_sid_structure", field)? {
                None => Ok(None),
                Some(bits) => u8::try_from(bits).ok().filter(|&b| b <= 128).map(Some).ok_or_else(|| {
                    self.wrong(
                        &format!("sids[{index}].srv6_sid_structure.{field}"),
                        bits.to_string(),
                        "0 to 128 bits",
                    )
                }),
            }
        };
        let structure = match (part("locator_block_length")?, part("locator_node_length")?) {
            (Some(block), Some(node)) => Some(SidStructure {
                block,
                node,
                function: part("function_length")?.unwrap_or(0),
                argument: part("argument_length")?.unwrap_or(0),
            }),
            _ => None,
        };
        Ok(Sid { address, behavior, algo, structure })
    }
}

fn vertex(document: &Map<String, Value>) -> Result<Vertex, TopologyError> {
    let reader = Reader::new(document);
    let key = text(document, "_key").unwrap_or_default();
    let v4 = reader.address("ipv4_address", "an IPv4 address")?;
    let v6 = reader.address("ipv6_address", "an IPv6 address")?;
    Ok(Vertex {
        id: reader.id.to_owned(),
        name: reader.text("name")?.unwrap_or(key).to_owned(),
        addresses: v6.into_iter().chain(v4).collect(),
        prefix: reader.prefix()?,
        sids: reader.sids()?,
        interface: reader.text("interface")?.map(str::to_owned),
        router_id: reader.text("router_id")?.map(str::to_owned),
        asn: reader.number("asn")?,
    })
}

fn edge(document: &Map<String, Value>, by_id: &HashMap<String, VertexIndex>) -> Result<Edge, TopologyError> {
    let reader = Reader::new(document);
    let end = |field: &'static str| -> Result<VertexIndex, TopologyError> {
        let id = reader.text(field)?.ok_or_else(|| reader.wrong(field, "missing", "a vertex id"))?;
        by_id.get(id).copied().ok_or_else(|| TopologyError::Dangling {
            edge: reader.id.to_owned(),
            end: field,
            vertex: id.to_owned(),
        })
    };
    Ok(Edge {
        id: reader.id.to_owned(),
        from: end("_from")?,
        to: end("_to")?,
        mtu: reader.number("mtu")?,
        rate_mbps: reader.number("rate_mbps")?,
        latency: reader.weight("latency"),
        utilization: reader.weight("percent_util_out"),
    })
}
