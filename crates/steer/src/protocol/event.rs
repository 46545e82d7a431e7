//! What the agent says to a process.

use srv6_routes::Slot;

use super::bytes::{Reader, Writer};
use super::frames::frame;
use super::{ProtocolError, pinning_code, pinning_of};
use crate::{LanePath, Lanes, Steered};

/// One message of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is open.
    Welcome {
        /// Version of the protocol that is spoken.
        version: u16,
        /// The agent's own version.
        agent: String,
    },
    /// The session ends, and why.
    Refused {
        /// For a person.
        reason: String,
    },
    /// A registration was understood, and its path is looked for.
    Pending {
        /// Which.
        id: u32,
    },
    /// A flow is steered.
    FlowReady {
        /// Which.
        id: u32,
        /// Its path.
        steered: Steered,
    },
    /// A connection has its lanes.
    LanesReady {
        /// Which.
        id: u32,
        /// Their paths.
        lanes: Lanes,
    },
    /// A flow or connection isn't steered, or no longer.
    Failed {
        /// Which.
        id: u32,
        /// For a person.
        reason: String,
    },
    /// A steered flow has moved to this path.
    FlowChanged {
        /// Which.
        id: u32,
        /// Its path now.
        steered: Steered,
    },
    /// A connection's lanes have moved.
    LanesChanged {
        /// Which.
        id: u32,
        /// Their paths now.
        lanes: Lanes,
    },
    /// Everything before [`super::Request::Settle`] is done.
    Settled {
        /// From the question.
        token: u32,
    },
    /// The socket of [`super::Request::Mark`] has its mark, or won't get it.
    Marked {
        /// From the question.
        token: u32,
        /// Why it won't; empty if it has.
        refusal: String,
    },
    /// An answer to a control message.
    Answer {
        /// From the question.
        token: u32,
        /// Whether further answers follow.
        more: bool,
        /// One object; with a key `error` if it went wrong.
        json: String,
    },
}

const WELCOME: u8 = 0x81;
const REFUSED: u8 = 0x82;
const PENDING: u8 = 0x83;
const FLOW_READY: u8 = 0x84;
const LANES_READY: u8 = 0x85;
const FAILED: u8 = 0x86;
const FLOW_CHANGED: u8 = 0x87;
const LANES_CHANGED: u8 = 0x88;
const SETTLED: u8 = 0x89;
const MARKED: u8 = 0x8a;
const ANSWER: u8 = 0x8b;

impl Event {
    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        let kind = match self {
            Self::Welcome { version, agent } => {
                to.u16(*version);
                to.text(agent);
                WELCOME
            }
            Self::Refused { reason } => {
                to.text(reason);
                REFUSED
            }
            Self::Pending { id } => {
                to.u32(*id);
                PENDING
            }
            Self::FlowReady { id, steered } => {
                write_flow(&mut to, *id, steered);
                FLOW_READY
            }
            Self::FlowChanged { id, steered } => {
                write_flow(&mut to, *id, steered);
                FLOW_CHANGED
            }
            Self::LanesReady { id, lanes } => {
                write_lanes(&mut to, *id, lanes);
                LANES_READY
            }
            Self::LanesChanged { id, lanes } => {
                write_lanes(&mut to, *id, lanes);
                LANES_CHANGED
            }
            Self::Failed { id, reason } => {
                to.u32(*id);
                to.text(reason);
                FAILED
            }
            Self::Settled { token } => {
                to.u32(*token);
                SETTLED
            }
            Self::Marked { token, refusal } => {
                to.u32(*token);
                to.text(refusal);
                MARKED
            }
            Self::Answer { token, more, json } => {
                to.u32(*token);
                to.u8(u8::from(*more));
                to.rest(json);
                ANSWER
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
        let event = match kind {
            WELCOME => Self::Welcome { version: from.u16()?, agent: from.text()? },
            REFUSED => Self::Refused { reason: from.text()? },
            PENDING => Self::Pending { id: from.u32()? },
            FLOW_READY => Self::FlowReady { id: from.u32()?, steered: read_flow(&mut from)? },
            FLOW_CHANGED => Self::FlowChanged { id: from.u32()?, steered: read_flow(&mut from)? },
            LANES_READY => Self::LanesReady { id: from.u32()?, lanes: read_lanes(&mut from)? },
            LANES_CHANGED => Self::LanesChanged { id: from.u32()?, lanes: read_lanes(&mut from)? },
            FAILED => Self::Failed { id: from.u32()?, reason: from.text()? },
            SETTLED => Self::Settled { token: from.u32()? },
            MARKED => Self::Marked { token: from.u32()?, refusal: from.text()? },
            ANSWER => Self::Answer { token: from.u32()?, more: from.u8()? != 0, json: from.rest()? },
            kind => return Err(ProtocolError::Kind { kind }),
        };
        from.end();
        Ok(event)
    }
}

fn write_flow(to: &mut Writer, id: u32, steered: &Steered) {
    to.u32(id);
    to.path(&steered.hops);
    to.text(&steered.carrier);
    write_origin(to, steered);
}

fn write_origin(to: &mut Writer, steered: &Steered) {
    to.text(&steered.origin);
    to.duration(steered.took);
    to.duration(steered.asking);
}

fn read_flow(from: &mut Reader<'_>) -> Result<Steered, ProtocolError> {
    Ok(Steered {
        hops: from.path()?,
        carrier: from.text()?,
        origin: from.text()?,
        took: from.duration()?,
        asking: from.duration()?,
    })
}

fn write_lanes(to: &mut Writer, id: u32, lanes: &Lanes) {
    to.u32(id);
    to.u8(pinning_code(Some(lanes.pinning)));
    to.u16(u16::try_from(lanes.spares).unwrap_or(u16::MAX));
    to.list(&lanes.lanes, |to, lane| {
        to.u8(lane.slot.number());
        to.u32(lane.mtu.unwrap_or(0));
        to.segments(&lane.segments);
        to.path(&lane.steered.hops);
        write_origin(to, &lane.steered);
    });
}

fn read_lanes(from: &mut Reader<'_>) -> Result<Lanes, ProtocolError> {
    let code = from.u8()?;
    let pinning = pinning_of(code).ok_or_else(|| from.bad("pinning", code.into(), "1 to 3"))?;
    let spares = from.u16()?.into();
    let lanes = from.list(|from| {
        let number = from.u8()?;
        let slot = Slot::new(number.into()).ok_or_else(|| from.bad("slot", number.into(), "0 to 15"))?;
        let mtu = Some(from.u32()?).filter(|&mtu| mtu != 0);
        let segments = from.segments()?;
        let hops = from.path()?;
        let carrier = segments.to_string();
        let steered =
            Steered { hops, carrier, origin: from.text()?, took: from.duration()?, asking: from.duration()? };
        Ok(LanePath { slot, segments, mtu, steered })
    })?;
    Ok(Lanes { pinning, lanes, spares })
}
