//! Two hosts and one cable, for what has nothing to do with a fabric.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::batch::{self, Tool};
use crate::lab::{CONGESTION, set};
use crate::{Error, Node, netlink};

/// Two hosts joined by one veth, without a switch, a rate or a SID between them.
///
/// Dropping it takes it down, and so does the end of its process.
#[derive(Debug)]
pub struct Pair {
    nodes: [Node; 2],
}

/// Interface of both hosts.
const INTERFACE: &str = "eth1";

/// As for a lab's links: numbers of our own, since the kernel is late to report the carrier of two ends of one number.
const INDEXES: [u32; 2] = [1000, 1001];

/// How long the kernel may take for what it does in the background.
const PATIENCE: Duration = Duration::from_secs(30);

impl Pair {
    /// Addresses of the two hosts on their cable; a unique local prefix (RFC 4193) of the lab's own.
    pub const ADDRESSES: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd53, 0x5236, 0x7061, 0x6972, 0, 0, 0, 1),
        Ipv6Addr::new(0xfd53, 0x5236, 0x7061, 0x6972, 0, 0, 0, 2),
    ];

    /// Joins two new hosts, `left` and `right`, whose TCP has this congestion control.
    ///
    /// Unlike a lab's, packets are received where the kernel does it by itself, which is on the CPU that sent them: sent to another
    /// one, each costs an interrupt between CPUs, and on a virtual machine that is most of what is measured.
    ///
    /// Returns when both ends have carrier. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN: an ordinary user calls
    /// [`crate::enter_user_namespace`] first.
    ///
    /// # Errors
    /// A missing tool or kernel feature (named), a congestion control that the kernel doesn't have, whatever it refuses.
    pub fn up(congestion: &str) -> Result<Self, Error> {
        let nodes = [Node::create("left")?, Node::create("right")?];
        let [left, right] = &nodes;
        for node in &nodes {
            let (name, congestion) = (node.name().to_owned(), congestion.to_owned());
            node.run(move || {
                set(&name, "net/ipv6/conf/default/accept_dad", "0")?;
                set(&name, CONGESTION, &congestion)
            })?;
        }
        let cable = format!(
            "link add name {INTERFACE} index {} type veth peer name {INTERFACE} index {} netns {}",
            INDEXES[0],
            INDEXES[1],
            right.namespace_path().display()
        );
        left.run(|| batch::run("left", Tool::Ip, &[cable]))?;
        for (node, address) in nodes.iter().zip(Self::ADDRESSES) {
            let name = node.name().to_owned();
            let lines = [
                "link set dev lo up".to_owned(),
                format!("link set dev {INTERFACE} addrgenmode none"),
                format!("link set dev {INTERFACE} up"),
                format!("addr add {address}/64 dev {INTERFACE} nodad"),
            ];
            node.run(move || batch::run(&name, Tool::Ip, &lines))?;
        }
        for ((node, index), address) in nodes.iter().zip(INDEXES).zip(Self::ADDRESSES) {
            let late = node.run(move || -> std::io::Result<bool> {
                let carrier = netlink::await_running(&[index], true, PATIENCE)?;
                let address = netlink::await_local(&[address], PATIENCE)?;
                Ok(!carrier.is_empty() || !address.is_empty())
            });
            let name = node.name().to_owned();
            match late {
                Ok(false) => {}
                Ok(true) => {
                    let missing = format!("no carrier or address on {INTERFACE}");
                    return Err(Error::Late { node: name, missing, waited: PATIENCE });
                }
                Err(source) => {
                    return Err(Error::Netlink {
                        node: name,
                        action: "wait for carrier and address",
                        source,
                    });
                }
            }
        }
        Ok(Self { nodes })
    }

    /// The two hosts, in the order of [`Self::ADDRESSES`].
    pub fn nodes(&self) -> &[Node; 2] {
        &self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_reach_each_other_and_nobody_else_is_there() {
        let pair = Pair::up("reno").unwrap();
        let [left, right] = pair.nodes();
        let said = left.sh(&format!("ping -n -c 3 -i 0.01 -W 2 {}", Pair::ADDRESSES[1])).unwrap();
        assert!(said.contains(" 3 received"), "{said}");
        let shown = right.sh("ip -br link").unwrap();
        assert_eq!(shown.lines().count(), 2, "lo and the cable: {shown}");
        for node in pair.nodes() {
            assert_eq!(node.sh("cat /proc/sys/net/ipv4/tcp_congestion_control").unwrap().trim(), "reno");
        }
        let error = Pair::up("none such").unwrap_err().to_string();
        assert!(error.contains("tcp_congestion_control") && error.contains("none such"), "{error}");
    }
}
