//! The network interfaces of the calling thread's namespace, as the kernel lists them.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use srv6_fabric::Prefix;

use crate::netlink;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// In bytes.
    pub(crate) mtu: u32,
    /// Switched on (IFF_UP).
    pub(crate) up: bool,
    /// Usable: NCCL skips interfaces that aren't (IFF_RUNNING).
    pub(crate) running: bool,
    pub(crate) loopback: bool,
    /// With prefix lengths, in the kernel's order: IPv4 before IPv6. `getifaddrs`, and so NCCL, sees the same one.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// Addresses that mean something beyond this link, in order.
    pub(crate) fn routable(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|&(address, _)| address).filter(|&a| !is_link_local(a) && !a.is_loopback())
    }

    /// The subnets of its routable addresses.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Prefix> {
        let routable = self.addresses.iter().filter(|&&(a, _)| !is_link_local(a) && !a.is_loopback());
        routable.filter_map(|&(address, length)| Prefix::new(address, length).ok())
    }
}

/// All interfaces by index.
///
/// # Errors
/// The kernel doesn't answer.
pub(crate) fn read() -> io::Result<Vec<Interface>> {
    let mut found = BTreeMap::new();
    for message in netlink::ask_route(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)? {
        if let RouteNetlinkMessage::NewLink(link) = message {
            found.insert(link.header.index, interface(&link));
        }
    }
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for message in netlink::ask_route(request, NLM_F_DUMP)? {
        let RouteNetlinkMessage::NewAddress(address) = message else { continue };
        let Some(interface) = found.get_mut(&address.header.index) else { continue };
        interface.addresses.extend(value(&address.attributes).map(|a| (a, address.header.prefix_len)));
    }
    Ok(found.into_values().collect())
}

/// Whether an address means something on its link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn interface(link: &LinkMessage) -> Interface {
    let flags = link.header.flags;
    let mut interface = Interface {
        name: String::new(),
        index: link.header.index,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        loopback: flags.contains(LinkFlags::Loopback),
        addresses: Vec::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            _ => {}
        }
    }
    interface
}

/// IFA_LOCAL where there is one: on point-to-point links IFA_ADDRESS is the peer's.
fn value(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_its_addresses() {
        let all = read().unwrap();
        let lo = all.iter().find(|i| i.name == "lo").unwrap();
        assert!(lo.loopback && lo.up && lo.mtu > 0, "{lo:?}");
        let addresses: Vec<IpAddr> = lo.addresses.iter().map(|&(a, _)| a).collect();
        assert!(addresses.contains(&"127.0.0.1".parse().unwrap()), "{addresses:?}");
        assert_eq!(lo.routable().count(), 0);
    }
}
