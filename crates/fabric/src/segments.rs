//! From a path to the segment list that makes packets take it.

use crate::{Block, CarrierError, Family, Path, Segments, Sid, SidFormat, Topology, Vertex};

/// What a carrier is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Family of the packets inside.
    pub family: Family,
    /// Flexible algorithm whose SIDs are used (0: the ordinary shortest-path ones).
    pub algo: u8,
    /// Decapsulation function to use instead of the topology's, such as `0xfe06`.
    pub function: Option<u32>,
    /// Lengths for SIDs whose document doesn't say how their bits divide.
    pub format: SidFormat,
}

impl Encoding {
    /// For packets of `family`, algorithm 0, everything else from the topology.
    pub fn of(family: Family) -> Self {
        Self { family, algo: 0, function: None, format: SidFormat::F3216 }
    }
}

/// Packs the SIDs of a path's switches and the decapsulation function behind them.
///
/// The function is, in this order: the one asked for, the destination host's own SID, a decapsulation
/// SID of the last switch.
///
/// # Errors
/// A switch without a SID of the algorithm, SIDs in different blocks, no function for the family.
pub fn segments(topology: &Topology, path: &Path, encoding: &Encoding) -> Result<Segments, CarrierError> {
    let Waypoints { block, mut usids, last, destination } = waypoints(topology, path, encoding)?;
    let function = function(last, destination, block, encoding)?;
    if !usids.ends_with(&function) {
        usids.extend(&function);
    }
    Segments::pack(block, &usids, function.len() + 1)
}

/// Packs the SIDs of a path's switches and nothing behind them: for a routing header on the socket.
///
/// The packet isn't encapsulated then, so no switch may decapsulate it: the last one ends the carrier with its plain End
/// and takes the next segment, the destination itself, out of the header (RFC 8986 section 4.1).
///
/// # Errors
/// A switch without a SID of the algorithm, SIDs in different blocks.
pub fn header_segments(
    topology: &Topology,
    path: &Path,
    encoding: &Encoding,
) -> Result<Segments, CarrierError> {
    let Waypoints { block, usids, .. } = waypoints(topology, path, encoding)?;
    Segments::pack(block, &usids, 1)
}

/// The switches of a path as uSIDs.
struct Waypoints<'a> {
    block: Block,
    usids: Vec<u32>,
    last: &'a Vertex,
    destination: &'a Vertex,
}

fn waypoints<'a>(
    topology: &'a Topology,
    path: &Path,
    encoding: &Encoding,
) -> Result<Waypoints<'a>, CarrierError> {
    let vertices: Vec<&Vertex> = path.vertices.iter().map(|&v| topology.vertex(v)).collect();
    let too_short = CarrierError::TooShort { vertices: vertices.len() };
    let [_source, switches @ .., destination] = vertices.as_slice() else { return Err(too_short) };
    let Some(last) = switches.last() else { return Err(too_short) };

    let mut block: Option<Block> = None;
    let mut usids = Vec::with_capacity(switches.len() + 2);
    for switch in switches {
        let sid = node_sid(switch, encoding.algo)?;
        let format = format_of(sid, encoding.format)?;
        let here = Block::of(sid.address, format);
        match block {
            None => block = Some(here),
            Some(block) if block == here => {}
            Some(block) => return Err(mixed(switch, sid, block)),
        }
        usids.push(format.field(sid.address, 0));
    }
    let block = block.ok_or(CarrierError::NoSegments)?;
    Ok(Waypoints { block, usids, last, destination })
}

/// The switch's uN: of the SIDs with this algorithm the first of the uN family, else the first.
fn node_sid(switch: &Vertex, algo: u8) -> Result<&Sid, CarrierError> {
    let mut with_algo = switch.sids.iter().filter(|s| s.algo == algo).peekable();
    let first = with_algo.peek().copied();
    with_algo
        .find(|s| s.behavior.is_some_and(|b| b.is_node()))
        .or(first)
        .ok_or_else(|| CarrierError::NoSid { vertex: switch.id.clone(), algo })
}

fn format_of(sid: &Sid, otherwise: SidFormat) -> Result<SidFormat, CarrierError> {
    match sid.structure {
        Some(structure) => SidFormat::new(structure.block, structure.node),
        None => Ok(otherwise),
    }
}

/// uSIDs of the decapsulation function, without the node they belong to.
fn function(
    last: &Vertex,
    destination: &Vertex,
    block: Block,
    encoding: &Encoding,
) -> Result<Vec<u32>, CarrierError> {
    if let Some(function) = encoding.function {
        return Ok(vec![function]);
    }
    let decapsulates = |s: &&Sid| s.behavior.is_some_and(|b| b.decapsulates(encoding.family));
    let of_algo = |s: &&Sid| s.algo == encoding.algo;
    // A host's SID names the function that serves it, whatever behavior its document claims (the labs say
    // 48); one that claims to decapsulate the other family is not meant for this packet.
    let other = match encoding.family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    };
    let node_usid = block.format().field(node_sid(last, encoding.algo)?.address, 0);
    // One that names the leaf and nothing else is a way to reach the host, not a function.
    let is_function =
        |s: &&Sid| block.format().field(s.address, 0) != node_usid || block.format().field(s.address, 1) != 0;
    let own = destination.sids.iter().filter(of_algo).find(decapsulates).or_else(|| {
        let mut functions = destination.sids.iter().filter(of_algo).filter(is_function);
        functions.find(|s| !s.behavior.is_some_and(|b| b.decapsulates(other)))
    });
    let (sid, owner) = match own {
        Some(sid) => (sid, destination),
        None => {
            let sid = last.sids.iter().filter(of_algo).find(decapsulates).ok_or_else(|| {
                CarrierError::NoFunction { vertex: last.id.clone(), family: encoding.family.name() }
            })?;
            (sid, last)
        }
    };
    let format = block.format();
    if Block::of(sid.address, format) != block {
        return Err(mixed(owner, sid, block));
    }
    let usids: Vec<u32> =
        (0..format.capacity()).map(|i| format.field(sid.address, i)).take_while(|&u| u != 0).collect();
    let function = match usids.as_slice() {
        [first, rest @ ..] if *first == node_usid && !rest.is_empty() => rest.to_vec(),
        _ => usids,
    };
    if function.is_empty() {
        return Err(CarrierError::NoFunction { vertex: owner.id.clone(), family: encoding.family.name() });
    }
    Ok(function)
}

fn mixed(vertex: &Vertex, sid: &Sid, block: Block) -> CarrierError {
    CarrierError::MixedBlocks { vertex: vertex.id.clone(), sid: sid.address, block: block.to_string() }
}
