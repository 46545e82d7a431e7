//! Segment routing: policies, and what is steered into them (VPP's `vnet/srv6/sr.api`).

use std::net::Ipv6Addr;

use srv6_fabric::{Prefix, Segments};

use super::super::wire::{Malformed, Reader, Writer};
use super::{Reply, Request, named, retval_reply};

/// Segments that one list of a message has room for.
pub const MAX_SEGMENTS: usize = 16;

/// "None": an index that isn't given.
const NONE: u32 = u32::MAX;

/// Traffic of one family, as `sr_steer` numbers it.
const STEER_IPV4: u8 = 4;
const STEER_IPV6: u8 = 6;

/// Segments and their share of a policy's flows (`srv6_sid_list`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentList {
    /// Share among the lists of the policy; 1 where there is only one.
    pub weight: u32,
    /// Carriers in travel order, at most [`MAX_SEGMENTS`].
    pub segments: Vec<Ipv6Addr>,
}

impl SegmentList {
    /// The only list of a policy.
    pub fn alone(segments: &Segments) -> Self {
        Self { weight: 1, segments: segments.as_slice().to_vec() }
    }

    /// Writes all [`MAX_SEGMENTS`] places; the caller has seen to it that there are no more.
    fn write(&self, writer: &mut Writer) {
        writer.u8(u8::try_from(self.segments.len()).unwrap_or(u8::MAX)).u32(self.weight);
        for place in 0..MAX_SEGMENTS {
            writer.ip6(self.segments.get(place).copied().unwrap_or(Ipv6Addr::UNSPECIFIED));
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (count, weight) = (reader.u8("num_sids")?, reader.u32("weight")?);
        Ok(Self { weight, segments: segments(reader, count)? })
    }
}

fn segments(reader: &mut Reader<'_>, count: u8) -> Result<Vec<Ipv6Addr>, Malformed> {
    let kept = usize::from(count);
    if kept > MAX_SEGMENTS {
        return Err(Malformed::Value { field: "num_sids", value: count.into() });
    }
    let mut segments = Vec::with_capacity(kept);
    for place in 0..MAX_SEGMENTS {
        let segment = reader.ip6("sids")?;
        if place < kept {
            segments.push(segment);
        }
    }
    Ok(segments)
}

/// Sets the source address of outer packets, for policies that have none of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetEncapSource(pub Ipv6Addr);

named!(SetEncapSource, "sr_set_encap_source", 0xd3ba_d5e1);

impl Request for SetEncapSource {
    type Reply = SetEncapSourceReply;

    fn write(&self, writer: &mut Writer) {
        writer.ip6(self.0);
    }
}

retval_reply!(
    /// The answer to [`SetEncapSource`].
    SetEncapSourceReply,
    "sr_set_encap_source_reply"
);

/// Adds a policy with its first segment list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPolicy {
    /// Binding SID: the policy's name.
    pub bsid: Ipv6Addr,
    /// Its first list.
    pub list: SegmentList,
    /// Source address of outer packets.
    pub source: Ipv6Addr,
}

named!(AddPolicy, "sr_policy_add_v2", 0xf629_7f36);

impl Request for AddPolicy {
    type Reply = AddPolicyReply;

    fn write(&self, writer: &mut Writer) {
        // Encapsulation, of the default type, its binding SID in the default table.
        writer.ip6(self.bsid).u32(self.list.weight).flag(true).u8(0).u32(0);
        self.list.write(writer);
        writer.ip6(self.source);
    }
}

retval_reply!(
    /// The answer to [`AddPolicy`].
    AddPolicyReply,
    "sr_policy_add_v2_reply"
);

/// [`AddPolicy`] for a VPP that knows no source address per policy; the field isn't sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPolicyV1(pub AddPolicy);

named!(AddPolicyV1, "sr_policy_add", 0x44ac_92e8);

impl Request for AddPolicyV1 {
    type Reply = AddPolicyV1Reply;

    fn write(&self, writer: &mut Writer) {
        writer.ip6(self.0.bsid).u32(self.0.list.weight).flag(true).flag(false).u32(0);
        self.0.list.write(writer);
    }
}

retval_reply!(
    /// The answer to [`AddPolicyV1`].
    AddPolicyV1Reply,
    "sr_policy_add_reply"
);

/// What happens to one list of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListChange {
    /// One more list.
    Add(SegmentList),
    /// The list with this index goes; it must not be the last one.
    Delete(u32),
    /// The list with this index gets this weight.
    Weight(u32, u32),
}

/// Changes one list of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyPolicy {
    /// The policy.
    pub bsid: Ipv6Addr,
    /// What happens.
    pub change: ListChange,
    /// Source address of outer packets, for a list that is added.
    pub source: Ipv6Addr,
}

impl ModifyPolicy {
    fn write_v1(&self, writer: &mut Writer) {
        let nothing = SegmentList { weight: 0, segments: Vec::new() };
        let (operation, index, weight, list) = match &self.change {
            ListChange::Add(list) => (1, NONE, list.weight, list),
            ListChange::Delete(index) => (2, *index, 0, &nothing),
            ListChange::Weight(index, weight) => (3, *index, *weight, &nothing),
        };
        writer.ip6(self.bsid).u32(NONE).u32(0).u8(operation).u32(index).u32(weight);
        // It is the weight in the list that VPP reads.
        SegmentList { weight, segments: list.segments.clone() }.write(writer);
    }
}

named!(ModifyPolicy, "sr_policy_mod_v2", 0xc054_4823);

impl Request for ModifyPolicy {
    type Reply = ModifyPolicyReply;

    fn write(&self, writer: &mut Writer) {
        self.write_v1(writer);
        writer.ip6(self.source);
    }
}

retval_reply!(
    /// The answer to [`ModifyPolicy`].
    ModifyPolicyReply,
    "sr_policy_mod_v2_reply"
);

/// [`ModifyPolicy`] for a VPP that knows no source address per policy; the field isn't sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyPolicyV1(pub ModifyPolicy);

named!(ModifyPolicyV1, "sr_policy_mod", 0xb97b_b56e);

impl Request for ModifyPolicyV1 {
    type Reply = ModifyPolicyV1Reply;

    fn write(&self, writer: &mut Writer) {
        self.0.write_v1(writer);
    }
}

retval_reply!(
    /// The answer to [`ModifyPolicyV1`].
    ModifyPolicyV1Reply,
    "sr_policy_mod_reply"
);

/// Deletes a policy. Nothing may be steered into it any more: VPP doesn't look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletePolicy(pub Ipv6Addr);

named!(DeletePolicy, "sr_policy_del", 0xcb4d_48d5);

impl Request for DeletePolicy {
    type Reply = DeletePolicyReply;

    fn write(&self, writer: &mut Writer) {
        writer.ip6(self.0).u32(NONE);
    }
}

retval_reply!(
    /// The answer to [`DeletePolicy`].
    DeletePolicyReply,
    "sr_policy_del_reply"
);

/// Steers packets to a prefix into a policy, or no longer. For a prefix that is steered already: into another policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steer {
    /// No longer.
    pub delete: bool,
    /// The policy.
    pub bsid: Ipv6Addr,
    /// The table in which packets match.
    pub table: u32,
    /// Their destination.
    pub prefix: Prefix,
}

named!(Steer, "sr_steering_add_del", 0xe46b_0a0f);

impl Request for Steer {
    type Reply = SteerReply;

    fn write(&self, writer: &mut Writer) {
        let traffic = if self.prefix.address().is_ipv4() { STEER_IPV4 } else { STEER_IPV6 };
        writer.flag(self.delete).ip6(self.bsid).u32(NONE).u32(self.table);
        writer.prefix(self.prefix).u32(NONE).u8(traffic);
    }
}

retval_reply!(
    /// The answer to [`Steer`].
    SteerReply,
    "sr_steering_add_del_reply"
);

/// Asks for all policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoliciesDump;

named!(PoliciesDump, "sr_policies_v2_dump", 0x5107_7d14);

impl Request for PoliciesDump {
    type Reply = PolicyDetails;

    fn write(&self, _writer: &mut Writer) {}
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDetails {
    /// Its binding SID.
    pub bsid: Ipv6Addr,
    /// Source address of outer packets.
    pub source: Ipv6Addr,
    /// 0: default, 1: spray, 2: tef.
    pub kind: u8,
    /// Whether it encapsulates, and not only inserts a header.
    pub encap: bool,
    /// Table of its binding SID.
    pub table: u32,
    /// Its lists.
    pub lists: Vec<SegmentList>,
}

named!(PolicyDetails, "sr_policies_v2_details", 0x96dc_b699);

impl Reply for PolicyDetails {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (bsid, source) = (reader.ip6("bsid")?, reader.ip6("encap_src")?);
        let (kind, encap) = (reader.u8("type")?, reader.flag("is_encap")?);
        let (table, count) = (reader.u32("fib_table")?, reader.u8("num_sid_lists")?);
        let lists = (0..count).map(|_| SegmentList::read(reader)).collect::<Result<_, _>>()?;
        Ok(Self { bsid, source, kind, encap, table, lists })
    }
}

/// Asks for all policies, of a VPP that knows no source address per policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoliciesV1Dump;

named!(PoliciesV1Dump, "sr_policies_dump", 0x5107_7d14);

impl Request for PoliciesV1Dump {
    type Reply = PolicyDetailsV1;

    fn write(&self, _writer: &mut Writer) {}
}

/// One policy, without a source address of its own: it is given as `::`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDetailsV1(pub PolicyDetails);

named!(PolicyDetailsV1, "sr_policies_details", 0xdb6f_f2a1);

impl Reply for PolicyDetailsV1 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        // VPP puts the whole type where the definition has a flag.
        let (bsid, kind) = (reader.ip6("bsid")?, reader.u8("is_spray")?);
        let (encap, table) = (reader.flag("is_encap")?, reader.u32("fib_table")?);
        let count = reader.u8("num_sid_lists")?;
        let lists = (0..count).map(|_| SegmentList::read(reader)).collect::<Result<_, _>>()?;
        Ok(Self(PolicyDetails { bsid, source: Ipv6Addr::UNSPECIFIED, kind, encap, table, lists }))
    }
}

/// Asks for the lists of all policies with the indexes that [`ModifyPolicy`] needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyListsDump;

named!(PolicyListsDump, "sr_policies_with_sl_index_dump", 0x5107_7d14);

impl Request for PolicyListsDump {
    type Reply = PolicyLists;

    fn write(&self, _writer: &mut Writer) {}
}

/// The lists of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLists {
    /// Its binding SID.
    pub bsid: Ipv6Addr,
    /// Its lists, each with its index.
    pub lists: Vec<(u32, SegmentList)>,
}

named!(PolicyLists, "sr_policies_with_sl_index_details", 0xca2e_9bc8);

impl Reply for PolicyLists {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bsid = reader.ip6("bsid")?;
        reader.u8("is_spray")?;
        reader.flag("is_encap")?;
        reader.u32("fib_table")?;
        let count = reader.u8("num_sid_lists")?;
        let mut lists = Vec::new();
        for _ in 0..count {
            let (kept, weight, index) =
                (reader.u8("num_sids")?, reader.u32("weight")?, reader.u32("sl_index")?);
            lists.push((index, SegmentList { weight, segments: segments(reader, kept)? }));
        }
        Ok(Self { bsid, lists })
    }
}

/// Asks for everything that is steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteeringDump;

named!(SteeringDump, "sr_steering_pol_dump", 0x5107_7d14);

impl Request for SteeringDump {
    type Reply = SteeringDetails;

    fn write(&self, _writer: &mut Writer) {}
}

/// One thing that is steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteeringDetails {
    /// Table and destination; `None` for frames of an interface (layer 2).
    pub prefix: Option<(u32, Prefix)>,
    /// The policy that it is steered into.
    pub bsid: Ipv6Addr,
}

named!(SteeringDetails, "sr_steering_pol_details", 0xd412_58c9);

impl Reply for SteeringDetails {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (traffic, table) = (reader.u8("traffic_type")?, reader.u32("fib_table")?);
        // VPP guesses the family of the address from its bytes; the traffic type is what was asked for.
        reader.u8("family")?;
        let bytes = reader.ip6("prefix")?.octets();
        let length = reader.u8("prefix")?;
        // For layer 3 VPP reads the interface from memory that it shares with the prefix.
        reader.u32("sw_if_index")?;
        let bsid = reader.ip6("bsid")?;
        let address = match (traffic, bytes) {
            // VPP keeps an IPv4 address in the last four bytes of sixteen, and sends it in the first four.
            (STEER_IPV4, [a, b, c, d, ..]) => [a, b, c, d].into(),
            (STEER_IPV6, bytes) => Ipv6Addr::from(bytes).into(),
            _ => return Ok(Self { prefix: None, bsid }),
        };
        let malformed = |_| Malformed::Value { field: "prefix", value: length.into() };
        let prefix = Prefix::new(address, length).map_err(malformed)?;
        Ok(Self { prefix: Some((table, prefix)), bsid })
    }
}
