//! Whether the interface segments what it encapsulates, asked over ethtool's netlink (kernel 5.6 or later).

use std::io;

use netlink_sys::protocols::NETLINK_GENERIC;

use super::finding::Finding;
use crate::netlink::{Answer, ask, attribute, attributes};

/// Numbers of the generic netlink controller (linux/genetlink.h).
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Numbers of ethtool's family (linux/ethtool_netlink.h).
const FEATURES_GET: u8 = 11;
const FEATURES_HEADER: u16 = 1;
const HEADER_DEVICE_NAME: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;

/// Features without which each packet of a tunnel is made by the CPU.
const WANTED: [&str; 2] = ["tx-ipxip6-segmentation", "tx-tcp6-segmentation"];

/// Checks the features of a data interface.
pub(crate) fn check(interface: &str) -> Finding {
    const CHECK: &str = "interface.offload";
    let active = match features(interface) {
        Ok(active) => active,
        Err(error) => {
            return Finding::note(CHECK, format!("offloads of {interface} can't be read ({error})"));
        }
    };
    let missing: Vec<&str> =
        WANTED.into_iter().filter(|wanted| !active.iter().any(|feature| feature == wanted)).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("{interface} segments encapsulated TCP ({})", WANTED.join(", ")));
    }
    Finding::warning(
        CHECK,
        format!(
            "{interface} has {} off: encapsulated TCP is cut into packets by the CPU",
            missing.join(" and ")
        ),
        format!("ethtool -K {interface} {}, if it can; larger packets (MTU 9000) help too", {
            missing.iter().map(|feature| format!("{feature} on")).collect::<Vec<_>>().join(" ")
        }),
    )
}

/// Names of the features that are on.
fn features(interface: &str) -> io::Result<Vec<String>> {
    let family = family("ethtool")?;
    let device = attribute(HEADER_DEVICE_NAME, &terminated(interface));
    let header = attribute(FEATURES_HEADER | 0x8000, &device);
    let answers = ask(NETLINK_GENERIC, family, 0, &command(FEATURES_GET, &header))?;
    Ok(answers.iter().flat_map(active).collect())
}

/// The number that the kernel gave a family of generic netlink.
fn family(name: &str) -> io::Result<u16> {
    let body = command(GET_FAMILY, &attribute(FAMILY_NAME, &terminated(name)));
    let answers = ask(NETLINK_GENERIC, CONTROLLER, 0, &body)?;
    let id = answers.iter().find_map(|answer| {
        let (_, value) = attributes(answer.body.get(4..)?).find(|(kind, _)| *kind == FAMILY_ID)?;
        Some(u16::from_ne_bytes(*value.first_chunk()?))
    });
    id.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// `struct genlmsghdr` and what follows.
fn command(number: u8, attributes: &[u8]) -> Vec<u8> {
    [&[number, 1, 0, 0], attributes].concat()
}

fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// The set bits of `ETHTOOL_A_FEATURES_ACTIVE`, by name: a list without a mask has only those.
fn active(answer: &Answer) -> Vec<String> {
    let Some(body) = answer.body.get(4..) else { return Vec::new() };
    let named = |bit: &[u8]| {
        let (_, name) = attributes(bit).find(|(kind, _)| *kind == BIT_NAME)?;
        Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
    };
    attributes(body)
        .filter(|(kind, _)| *kind == FEATURES_ACTIVE)
        .flat_map(|(_, set)| attributes(set).filter(|(kind, _)| *kind == BITSET_BITS))
        .flat_map(|(_, bits)| attributes(bits).filter(|(kind, _)| *kind == BIT))
        .filter_map(|(_, bit)| named(bit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loopback segments TCP in software always.
    #[test]
    fn features_of_loopback_are_read() {
        let active = features("lo").unwrap();
        assert!(active.iter().any(|f| f == "tx-tcp6-segmentation"), "{active:?}");
        assert_eq!(features("nosuch0").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
