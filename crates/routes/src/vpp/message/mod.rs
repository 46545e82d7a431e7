//! Messages of VPP's binary API: names, CRCs and fields.
//!
//! A message is known by its name and the CRC of its definition; the number that stands for it on the socket is different in
//! every VPP. Layouts and CRCs are those of VPP 26.10-rc0 (revision b575ec2), and of every release that offers the
//! same CRCs.

mod ip;
mod sr;

use super::wire::{Malformed, Reader, Writer};
pub use ip::{
    Address, AddressDump, InterfaceDetails, InterfaceDump, IpTable, IpTableDump, Lookup, LookupReply, Way,
    WayKind,
};
pub use sr::{
    AddPolicy, AddPolicyV1, DeletePolicy, ListChange, MAX_SEGMENTS, ModifyPolicy, ModifyPolicyV1,
    PoliciesDump, PoliciesV1Dump, PolicyDetails, PolicyDetailsV1, PolicyLists, PolicyListsDump, SegmentList,
    SetEncapSource, Steer, SteeringDetails, SteeringDump,
};

/// A message that is known by name and CRC.
pub trait Message {
    /// Its name in VPP's `.api` files.
    const NAME: &'static str;
    /// The CRC of its definition, as VPP's own table of messages has it.
    const CRC: u32;
}

/// A message to VPP.
pub trait Request: Message + std::fmt::Debug {
    /// What comes back: once for a request, any number of times for a dump.
    type Reply: Reply;

    /// Writes the fields behind number, client index and context.
    fn write(&self, writer: &mut Writer);
}

/// A message from VPP.
pub trait Reply: Message + Sized {
    /// Reads the fields behind number and context.
    ///
    /// # Errors
    /// Too few or too many bytes, or values that a field can't have.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// VPP's return value; 0 where the message has none.
    fn retval(&self) -> i32 {
        0
    }
}

/// The CRC of every reply that is a return value and nothing else.
pub(super) const RETVAL_CRC: u32 = 0xe8d4_e804;

/// Defines a reply that is a return value and nothing else.
macro_rules! retval_reply {
    ($(#[$doc:meta])* $type:ident, $name:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $type {
            /// 0, or VPP's number of an error.
            pub retval: i32,
        }

        impl $crate::vpp::message::Message for $type {
            const NAME: &'static str = $name;
            const CRC: u32 = $crate::vpp::message::RETVAL_CRC;
        }

        impl $crate::vpp::message::Reply for $type {
            fn read(
                reader: &mut $crate::vpp::wire::Reader<'_>,
            ) -> Result<Self, $crate::vpp::wire::Malformed> {
                Ok(Self { retval: reader.i32("retval")? })
            }

            fn retval(&self) -> i32 {
                self.retval
            }
        }
    };
}

/// Gives a message its name and CRC.
macro_rules! named {
    ($type:ty, $name:literal, $crc:literal) => {
        impl $crate::vpp::message::Message for $type {
            const NAME: &'static str = $name;
            const CRC: u32 = $crc;
        }
    };
}

use {named, retval_reply};

/// Asks for an answer behind all others: what closes a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlPing;

named!(ControlPing, "control_ping", 0x5107_7d14);

impl Request for ControlPing {
    type Reply = ControlPingReply;

    fn write(&self, _writer: &mut Writer) {}
}

/// The answer to [`ControlPing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlPingReply {
    /// 0.
    pub retval: i32,
    /// The index that VPP has given this client.
    pub client: u32,
    /// VPP's process id.
    pub process: u32,
}

named!(ControlPingReply, "control_ping_reply", 0xf6b0_b8ca);

impl Reply for ControlPingReply {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            retval: reader.i32("retval")?,
            client: reader.u32("client_index")?,
            process: reader.u32("vpe_pid")?,
        })
    }

    fn retval(&self) -> i32 {
        self.retval
    }
}

/// Gives the connection up: VPP forgets the client with this index, and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteClient(pub u32);

named!(DeleteClient, "sockclnt_delete", 0x8ac7_6db6);

impl Request for DeleteClient {
    type Reply = ClientDeleted;

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.0);
    }
}

/// The answer to [`DeleteClient`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientDeleted {
    /// Not negative: done.
    pub response: i32,
}

named!(ClientDeleted, "sockclnt_delete_reply", 0x8f38_b1ee);

impl Reply for ClientDeleted {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { response: reader.i32("response")? })
    }
}

/// Asks which VPP this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShowVersion;

named!(ShowVersion, "show_version", 0x5107_7d14);

impl Request for ShowVersion {
    type Reply = Version;

    fn write(&self, _writer: &mut Writer) {}
}

/// Which VPP this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// 0.
    pub retval: i32,
    /// Its name, `vpe`.
    pub program: String,
    /// Such as `26.10-rc0~0-gb575ec2`.
    pub version: String,
}

named!(Version, "show_version_reply", 0xc919_bde1);

impl Reply for Version {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let retval = reader.i32("retval")?;
        let (program, version) = (reader.text(32, "program")?, reader.text(32, "version")?);
        reader.bytes(32 + 256, "build date and directory")?;
        Ok(Self { retval, program, version })
    }

    fn retval(&self) -> i32 {
        self.retval
    }
}

/// Reads a message as every reply that there is. For fuzzing: it must end, and take no more memory than the message has.
pub fn read_as_anything(message: &[u8]) -> usize {
    fn one<R: Reply>(message: &[u8]) -> usize {
        let mut reader = Reader::new(message);
        R::read(&mut reader).and_then(|_| reader.end()).map_or(0, |()| 1)
    }
    one::<ControlPingReply>(message)
        + one::<ClientDeleted>(message)
        + one::<Version>(message)
        + one::<sr::AddPolicyReply>(message)
        + one::<PolicyDetails>(message)
        + one::<PolicyDetailsV1>(message)
        + one::<PolicyLists>(message)
        + one::<SteeringDetails>(message)
        + one::<IpTable>(message)
        + one::<Address>(message)
        + one::<InterfaceDetails>(message)
        + one::<LookupReply>(message)
}
