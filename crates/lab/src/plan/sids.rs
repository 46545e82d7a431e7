//! What each switch does with packets whose destination address is one of its SIDs.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use srv6_fabric::{Behavior, Block, Carrier, Family, Prefix, Sid, SidFormat, Topology, Vertex, VertexIndex};

use crate::Error;

/// A switch's own uSID: what the fabric routes to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locator {
    /// Block and node.
    pub(super) prefix: Prefix,
    pub(super) block: Block,
    node: u32,
}

/// A SID that a switch processes; its `Display` is what `ip route` wants of it, without verb and device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSid {
    /// Block and uSIDs, as long as they are.
    pub prefix: Prefix,
    /// What becomes of a packet with such a destination.
    pub action: SidAction,
}

/// What a SID does: RFC 8986 section 4 and RFC 9800 section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidAction {
    /// Shift the carrier by one uSID and forward by what stands there then (uN). Its prefix is a locator.
    Shift {
        /// Bits of the block.
        block_len: u8,
        /// Bits of the node's uSID.
        node_len: u8,
    },
    /// Decapsulate and look the IPv6 packet up in the main table.
    Dt6,
    /// Decapsulate and hand the IPv4 packet to a host.
    Dx4(Ipv4Addr),
}

/// Locators of a switch, one per node SID (several with flexible algorithms); none of hosts.
pub(super) fn locators(switch: &Vertex) -> Vec<Locator> {
    if switch.is_host() {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    switch
        .sids
        .iter()
        .filter(|sid| sid.behavior.is_none_or(Behavior::is_node))
        .filter_map(|sid| {
            let format = format_of(switch, sid).ok()?;
            let block = Block::of(sid.address, format);
            let node = format.field(sid.address, 0);
            Some(Locator { prefix: packed(block, &[node])?, block, node })
        })
        .filter(|locator| seen.insert(locator.prefix))
        .collect()
}

/// Local SIDs of every vertex, in the topology's order; hosts have none.
///
/// A host's SID names the function that serves it, so it is its leaves that get it.
pub(super) fn local_sids(topology: &Topology) -> Result<Vec<Vec<LocalSid>>, Error> {
    let all_locators: Vec<(VertexIndex, Locator)> =
        topology.vertices().flat_map(|(i, v)| locators(v).into_iter().map(move |l| (i, l))).collect();
    topology
        .vertices()
        .map(|(index, vertex)| {
            if vertex.is_host() {
                return Ok(Vec::new());
            }
            let mut table = Table { switch: vertex, locators: locators(vertex), sids: BTreeMap::new() };
            for sid in vertex.sids.iter().filter(|s| s.behavior.is_none_or(Behavior::is_node)) {
                let format = format_of(vertex, sid)?;
                if format.field(sid.address, 0) == 0 {
                    return Err(Error::Sid {
                        vertex: vertex.id.clone(),
                        sid: sid.address.into(),
                        reason: format!("want a node uSID behind the block of {} bits", format.block_len()),
                    });
                }
            }
            for locator in table.locators.clone() {
                let format = locator.block.format();
                let action = SidAction::Shift { block_len: format.block_len(), node_len: format.usid_len() };
                table.add(locator.prefix, action)?;
            }
            let hosts: Vec<&Vertex> = topology.hosts_of(index).iter().map(|&h| topology.vertex(h)).collect();
            for sid in &vertex.sids {
                table.own(sid, &hosts)?;
            }
            for host in hosts {
                for sid in &host.sids {
                    table.of_host(sid, host)?;
                }
            }
            for (_, other) in all_locators.iter().filter(|(owner, _)| *owner != index) {
                table.refuse_shadowed(other)?;
            }
            Ok(table.sids.into_iter().map(|(prefix, action)| LocalSid { prefix, action }).collect())
        })
        .collect()
}

/// The local SIDs of one switch while they are collected.
struct Table<'a> {
    switch: &'a Vertex,
    locators: Vec<Locator>,
    sids: BTreeMap<Prefix, SidAction>,
}

impl Table<'_> {
    /// A SID of the switch's own document.
    fn own(&mut self, sid: &Sid, hosts: &[&Vertex]) -> Result<(), Error> {
        let Some(behavior) = sid.behavior.filter(|b| !b.is_node()) else { return Ok(()) };
        let v4: Vec<Ipv4Addr> = hosts.iter().filter_map(|h| ipv4(h)).collect();
        let refused = |reason| Error::Ipv4Decapsulation {
            owner: self.switch.id.clone(),
            sid: sid.address.into(),
            behavior: behavior.0,
            reason,
        };
        match (behavior.decapsulates(Family::V6), behavior.decapsulates(Family::V4)) {
            (true, false) => self.decapsulate(self.switch, sid, SidAction::Dt6),
            (true, true) if v4.is_empty() => self.decapsulate(self.switch, sid, SidAction::Dt6),
            (true, true) => Err(refused(
                "for both families at once the kernel needs a VRF, which a lab doesn't have; give the switch a \
                 behavior 62 SID and each IPv4 host a behavior 61 one",
            )),
            (false, true) => match v4.as_slice() {
                [address] => self.decapsulate(self.switch, sid, SidAction::Dx4(*address)),
                [] => Err(refused("no host with an ipv4_address hangs on this switch")),
                _ => Err(refused(
                    "several IPv4 hosts hang on this switch and telling them apart needs a VRF, which a lab \
                     doesn't have; give each host a behavior 61 SID of its own",
                )),
            },
            (false, false) => {
                log::warn!(
                    "switch={} sid={} behavior={} is not built: a lab has End, DT6 and DX4",
                    self.switch.id,
                    sid.address,
                    behavior.0
                );
                Ok(())
            }
        }
    }

    /// A SID of a host that hangs on the switch.
    fn of_host(&mut self, sid: &Sid, host: &Vertex) -> Result<(), Error> {
        let only_v4 = sid.behavior.filter(|b| b.decapsulates(Family::V4) && !b.decapsulates(Family::V6));
        let action = match (only_v4, ipv4(host)) {
            // Whatever else its document claims (the labs say 48, End), it is where the carrier ends.
            (None, _) => SidAction::Dt6,
            (Some(_), Some(address)) => SidAction::Dx4(address),
            (Some(behavior), None) => {
                return Err(Error::Ipv4Decapsulation {
                    owner: host.id.clone(),
                    sid: sid.address.into(),
                    behavior: behavior.0,
                    reason: "this host has no ipv4_address",
                });
            }
        };
        self.decapsulate(host, sid, action)
    }

    /// Enters a function in both forms it can be met in: behind the switch's uSID, which is how a packet finds
    /// it that was sent straight here, and right behind the block, once the uSID was shifted out.
    fn decapsulate(&mut self, owner: &Vertex, sid: &Sid, action: SidAction) -> Result<(), Error> {
        let format = format_of(owner, sid)?;
        let block = Block::of(sid.address, format);
        let wrong = |reason: &str| Error::Sid {
            vertex: owner.id.clone(),
            sid: sid.address.into(),
            reason: reason.to_owned(),
        };
        let usids: Vec<u32> =
            (0..format.capacity()).map(|i| format.field(sid.address, i)).take_while(|&u| u != 0).collect();
        let here: Vec<Locator> = self.locators.iter().filter(|l| l.block == block).copied().collect();
        let function = match usids.as_slice() {
            [first, rest @ ..] if !rest.is_empty() && here.iter().any(|l| l.node == *first) => rest,
            all => all,
        };
        if here.is_empty() {
            return Err(wrong(&format!("{} has no node SID in its block {block}", self.switch.id)));
        }
        let shifted =
            packed(block, function).ok_or_else(|| wrong("want at least one uSID behind the block"))?;
        self.add(shifted, action)?;
        for locator in here {
            let whole: Vec<u32> = std::iter::once(locator.node).chain(function.iter().copied()).collect();
            let whole =
                packed(block, &whole).ok_or_else(|| wrong("too long to stand behind its node's uSID"))?;
            self.add(whole, action)?;
        }
        Ok(())
    }

    fn add(&mut self, prefix: Prefix, action: SidAction) -> Result<(), Error> {
        match self.sids.insert(prefix, action) {
            Some(first) if first != action => {
                Err(self.conflict(prefix, first.to_string(), action.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// A function with the number of another switch's node would swallow what should be forwarded to it.
    fn refuse_shadowed(&self, other: &Locator) -> Result<(), Error> {
        match self.sids.get(&other.prefix) {
            Some(action) => Err(self.conflict(
                other.prefix,
                action.to_string(),
                "the way to another switch with this uSID".to_owned(),
            )),
            None => Ok(()),
        }
    }

    fn conflict(&self, prefix: Prefix, first: String, second: String) -> Error {
        Error::SidConflict { switch: self.switch.id.clone(), prefix: prefix.to_string(), first, second }
    }
}

fn ipv4(host: &Vertex) -> Option<Ipv4Addr> {
    host.addresses.iter().find_map(|a| match a {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn format_of(owner: &Vertex, sid: &Sid) -> Result<SidFormat, Error> {
    match sid.structure {
        None => Ok(SidFormat::F3216),
        Some(structure) => SidFormat::new(structure.block, structure.node).map_err(|e| Error::Sid {
            vertex: owner.id.clone(),
            sid: sid.address.into(),
            reason: e.to_string(),
        }),
    }
}

/// Block and uSIDs as a prefix that is as long as they are.
fn packed(block: Block, usids: &[u32]) -> Option<Prefix> {
    let address = Carrier::new(block, usids).ok()?.address();
    let format = block.format();
    let length = usize::from(format.block_len()) + usids.len() * usize::from(format.usid_len());
    Prefix::new(address.into(), u8::try_from(length).ok()?).ok()
}

impl fmt::Display for LocalSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} encap seg6local action {}", self.prefix, self.action)
    }
}

impl fmt::Display for SidAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shift { block_len, node_len } => {
                write!(f, "End flavors next-csid lblen {block_len} nflen {node_len}")
            }
            Self::Dt6 => write!(f, "End.DT6 table 254"),
            Self::Dx4(address) => write!(f, "End.DX4 nh4 {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{DUAL_STACK, THREE, topology};

    fn of(text: &str, switch: &str) -> Result<Vec<String>, String> {
        let topology = topology(text);
        let position = topology.vertices().position(|(_, v)| v.name == switch).unwrap();
        let all = local_sids(&topology).map_err(|e| e.to_string())?;
        Ok(all[position].iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_spine_only_shifts() {
        let want = "fcbb:0:1001::/48 encap seg6local action End flavors next-csid lblen 32 nflen 16";
        assert_eq!(of(THREE, "spine01").unwrap(), [want]);
    }

    #[test]
    fn a_host_sid_lives_on_its_leaf_in_both_forms() {
        let sids = of(THREE, "leaf01").unwrap();
        assert_eq!(
            sids,
            [
                "fcbb:0:1005::/48 encap seg6local action End flavors next-csid lblen 32 nflen 16",
                "fcbb:0:1005:fe06::/64 encap seg6local action End.DT6 table 254",
                "fcbb:0:fe06::/48 encap seg6local action End.DT6 table 254",
            ]
        );
    }

    #[test]
    fn ipv4_functions_lead_to_their_own_host() {
        let sids = of(DUAL_STACK, "leaf00").unwrap();
        for want in [
            "fc00:0:e400::/48 encap seg6local action End.DX4 nh4 10.1.0.2",
            "fc00:0:1200:e400::/64 encap seg6local action End.DX4 nh4 10.1.0.2",
            "fc00:0:fe06::/48 encap seg6local action End.DT6 table 254",
        ] {
            assert!(sids.contains(&want.to_owned()), "{want} not in {sids:#?}");
        }
        assert!(!sids.iter().any(|s| s.contains("10.1.3.2")), "host03 hangs on the other leaf: {sids:#?}");
    }

    #[test]
    fn what_needs_a_vrf_is_refused_with_the_remedy() {
        let leaf =
            "\"srv6_sid\": \"fc00:0:1200:fe06::\", \"srv6_endpoint_behavior\": {\"endpoint_behavior\": ";
        for (behavior, words) in
            [(63, "several IPv4 hosts"), (61, "several IPv4 hosts"), (64, "both families")]
        {
            let text = DUAL_STACK.replacen(&format!("{leaf}62"), &format!("{leaf}{behavior}"), 1);
            assert_ne!(text, DUAL_STACK);
            let error = of(&text, "leaf00").unwrap_err();
            assert!(error.contains(words) && error.contains("behavior 61"), "{error}");
        }
    }

    #[test]
    fn one_function_cannot_serve_two_hosts() {
        let error = of(&DUAL_STACK.replace("fc00:0:e401::", "fc00:0:e400::"), "leaf00").unwrap_err();
        assert!(error.contains("would have to be both End.DX4 nh4 10.1."), "{error}");
        let error = of(&DUAL_STACK.replace("fc00:0:e400::", "fc00:0:1000::"), "leaf00").unwrap_err();
        assert!(error.contains("the way to another switch"), "{error}");
    }

    #[test]
    fn lengths_come_from_the_sid_structure() {
        let text = THREE.replace(
            "{\"srv6_sid\": \"fcbb:0:1000::\",",
            "{\"srv6_sid\": \"fcbb:0:1000::\", \"srv6_sid_structure\": {\"locator_block_length\": 48, \
             \"locator_node_length\": 16},",
        );
        let error = of(&text, "spine00").unwrap_err();
        assert!(
            error.ends_with("SID fcbb:0:1000::: want a node uSID behind the block of 48 bits"),
            "{error}"
        );
        let text = THREE.replace(
            "{\"srv6_sid\": \"fcbb:0:1000::\",",
            "{\"srv6_sid\": \"fcbb:0:0:1000::\", \"srv6_sid_structure\": {\"locator_block_length\": 48, \
             \"locator_node_length\": 16},",
        );
        assert_eq!(
            of(&text, "spine00").unwrap(),
            ["fcbb:0:0:1000::/64 encap seg6local action End flavors next-csid lblen 48 nflen 16"]
        );
    }
}
