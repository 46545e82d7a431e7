//! What a process says to the agent.

use srv6_fabric::{Flow, Segments};
use srv6_routes::Slot;

use super::bytes::{Reader, Writer};
use super::frames::frame;
use super::{MAGIC, ProtocolError, pinning_code, pinning_of};
use crate::LanesWanted;

/// One message of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The first one: who speaks.
    Hello(Hello),
    /// A flow is to be steered.
    RegisterFlow {
        /// Chosen by the process; not in use in this session.
        id: u32,
        /// Which flow.
        flow: Flow,
    },
    /// A connection wants several paths of a flow.
    RegisterLanes {
        /// Chosen by the process; not in use in this session.
        id: u32,
        /// Which flow.
        flow: Flow,
        /// What the connection wants.
        wanted: LanesWanted,
    },
    /// A flow or connection is given up. Closing the session gives up all.
    Deregister {
        /// Which.
        id: u32,
    },
    /// A lane's present path doesn't work: [`crate::LanesHold::avoid`].
    Avoid {
        /// Which connection.
        id: u32,
        /// Which lane of it.
        lane: u8,
        /// The path that it saw dead.
        seen: Segments,
        /// The same by name.
        hops: Vec<String>,
    },
    /// The path of the peer's lane: [`crate::LanesHold::follow`].
    Follow {
        /// Which connection.
        id: u32,
        /// Which lane of it.
        lane: u8,
        /// Names of hosts and switches.
        path: Vec<String>,
    },
    /// To be answered once everything before it is done.
    Settle {
        /// Comes back with the answer.
        token: u32,
    },
    /// The TCP socket that comes with this frame's first byte (`SCM_RIGHTS`) is to have the mark of a slot.
    Mark {
        /// Comes back with the answer.
        token: u32,
        /// Whose mark.
        slot: Slot,
    },
    /// A question or an order of a person, as JSON.
    Control {
        /// Comes back with each answer.
        token: u32,
        /// One object.
        json: String,
    },
}

/// Who speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// Version of the protocol that the process speaks.
    pub version: u16,
    /// What it can do without the agent.
    pub abilities: Abilities,
    /// Name of its job; empty if it doesn't know.
    pub job: String,
    /// Its rank in the job.
    pub rank: Option<u32>,
    /// Whatever else it wants to be found by.
    pub labels: Vec<(String, String)>,
}

/// What a process can do without the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Set a mark on its sockets. One that can't gets lanes by ports unless it asks for marks, which the agent sets then.
    pub marks: bool,
}

const HELLO: u8 = 0x01;
const REGISTER_FLOW: u8 = 0x02;
const REGISTER_LANES: u8 = 0x03;
const DEREGISTER: u8 = 0x04;
const AVOID: u8 = 0x05;
const FOLLOW: u8 = 0x06;
const SETTLE: u8 = 0x07;
const MARK: u8 = 0x08;
const CONTROL: u8 = 0x09;

/// A rank that isn't known.
const NO_RANK: u32 = u32::MAX;

const MARKS: u8 = 1;

impl Request {
    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        let kind = match self {
            Self::Hello(hello) => {
                to.u32(MAGIC);
                to.u16(hello.version);
                to.u8(if hello.abilities.marks { MARKS } else { 0 });
                to.text(&hello.job);
                to.u32(hello.rank.unwrap_or(NO_RANK));
                to.list(&hello.labels, |to, (name, value)| {
                    to.text(name);
                    to.text(value);
                });
                HELLO
            }
            Self::RegisterFlow { id, flow } => {
                write_flow(&mut to, *id, *flow);
                REGISTER_FLOW
            }
            Self::RegisterLanes { id, flow, wanted } => {
                write_flow(&mut to, *id, *flow);
                to.u8(u8::try_from(wanted.count).unwrap_or(u8::MAX));
                to.u8(pinning_code(wanted.pinning));
                to.list(&wanted.along, |to, path| to.path(path));
                REGISTER_LANES
            }
            Self::Deregister { id } => {
                to.u32(*id);
                DEREGISTER
            }
            Self::Avoid { id, lane, seen, hops } => {
                to.u32(*id);
                to.u8(*lane);
                to.segments(seen);
                to.path(hops);
                AVOID
            }
            Self::Follow { id, lane, path } => {
                to.u32(*id);
                to.u8(*lane);
                to.path(path);
                FOLLOW
            }
            Self::Settle { token } => {
                to.u32(*token);
                SETTLE
            }
            Self::Mark { token, slot } => {
                to.u32(*token);
                to.u8(slot.number());
                MARK
            }
            Self::Control { token, json } => {
                to.u32(*token);
                to.rest(json);
                CONTROL
            }
        };
        frame(kind, &to.0)
    }

    /// The message in a frame of this type.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut from = Reader::new(payload, kind);
        let request = match kind {
            HELLO => {
                let magic = from.u32()?;
                if magic != MAGIC {
                    return Err(from.bad("magic", magic.into(), "0x53525636"));
                }
                Self::Hello(Hello {
                    version: from.u16()?,
                    abilities: Abilities { marks: from.u8()? & MARKS != 0 },
                    job: from.text()?,
                    rank: Some(from.u32()?).filter(|&rank| rank != NO_RANK),
                    labels: from.list(|from| Ok((from.text()?, from.text()?)))?,
                })
            }
            REGISTER_FLOW => {
                let (id, flow) = read_flow(&mut from)?;
                Self::RegisterFlow { id, flow }
            }
            REGISTER_LANES => {
                let (id, flow) = read_flow(&mut from)?;
                let count = from.u8()?.into();
                let code = from.u8()?;
                let pinning = pinning_of(code);
                if pinning.is_none() && code != 0 {
                    return Err(from.bad("pinning", code.into(), "0 to 3"));
                }
                let along = from.list(Reader::path)?;
                Self::RegisterLanes { id, flow, wanted: LanesWanted { count, pinning, along } }
            }
            DEREGISTER => Self::Deregister { id: from.u32()? },
            AVOID => {
                Self::Avoid { id: from.u32()?, lane: from.u8()?, seen: from.segments()?, hops: from.path()? }
            }
            FOLLOW => Self::Follow { id: from.u32()?, lane: from.u8()?, path: from.path()? },
            SETTLE => Self::Settle { token: from.u32()? },
            MARK => {
                let (token, number) = (from.u32()?, from.u8()?);
                let slot = Slot::new(number.into());
                Self::Mark { token, slot: slot.ok_or_else(|| from.bad("slot", number.into(), "0 to 15"))? }
            }
            CONTROL => Self::Control { token: from.u32()?, json: from.rest()? },
            kind => return Err(ProtocolError::Kind { kind }),
        };
        from.end();
        Ok(request)
    }
}

fn write_flow(to: &mut Writer, id: u32, flow: Flow) {
    to.u32(id);
    to.address(flow.src);
    to.address(flow.dst);
}

fn read_flow(from: &mut Reader<'_>) -> Result<(u32, Flow), ProtocolError> {
    Ok((from.u32()?, Flow { src: from.address()?, dst: from.address()? }))
}
