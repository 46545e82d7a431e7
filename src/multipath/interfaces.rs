//! Which interfaces become net devices: the same ones that NCCL's Socket transport would take.
//!
//! One address per running interface. `NCCL_SOCKET_IFNAME` lists prefixes (`=`: exact names, `^`: all but these). Without it
//! the first of these sets that isn't empty: names that begin with `ib`; the interface in the subnet of `NCCL_COMM_ID`;
//! everything but docker, loopback and virbr; docker; loopback; virbr. One difference: a link-local address, which no
//! route can be for, is passed over.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use srv6_fabric::{Family, Prefix};

use crate::device::is_link_local;

/// What the user says about interfaces, by NCCL's own variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// `NCCL_SOCKET_IFNAME`.
    pub(crate) names: Option<String>,
    /// `NCCL_SOCKET_FAMILY`.
    pub(crate) family: Option<Family>,
    /// The address in `NCCL_COMM_ID`.
    pub(crate) root: Option<IpAddr>,
}

/// An interface and the address that is used on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    prefix_len: u8,
}

/// NCCL looks at no more.
const MOST: usize = 16;

impl Rules {
    /// The interfaces of this host that the rules choose, in the kernel's order.
    ///
    /// # Errors
    /// If the kernel can't be asked.
    pub(crate) fn choose(&self) -> io::Result<Vec<Interface>> {
        Ok(self.select(&running()?))
    }

    fn select(&self, running: &[Interface]) -> Vec<Interface> {
        let mut usable: Vec<Interface> = Vec::new();
        for interface in running {
            let wanted = self.family.is_none_or(|family| Family::of(interface.address) == family);
            // ::1 is never taken, 127.0.0.1 may be: so it is in NCCL.
            let loopback6 = interface.address.is_ipv6() && interface.address.is_loopback();
            if wanted && !loopback6 && usable.iter().all(|seen| seen.name != interface.name) {
                usable.push(interface.clone());
            }
        }
        let pick = |keep: &dyn Fn(&Interface) -> bool| -> Vec<Interface> {
            usable.iter().filter(|interface| keep(interface)).take(MOST).cloned().collect()
        };
        if let Some(names) = &self.names {
            let list = NameList::new(names);
            return pick(&|interface| list.takes(&interface.name));
        }
        let begins = |prefix: &'static str| move |interface: &Interface| interface.name.starts_with(prefix);
        let near_root = |interface: &Interface| {
            let subnet = Prefix::new(interface.address, interface.prefix_len);
            self.root.is_some_and(|root| subnet.is_ok_and(|subnet| subnet.contains(root)))
        };
        let ordinary = |interface: &Interface| {
            !["docker", "lo", "virbr"].iter().any(|prefix| interface.name.starts_with(prefix))
        };
        let sets: [&dyn Fn(&Interface) -> bool; 6] =
            [&begins("ib"), &near_root, &ordinary, &begins("docker"), &begins("lo"), &begins("virbr")];
        sets.into_iter().map(pick).find(|set| !set.is_empty()).unwrap_or_default()
    }
}

/// `NCCL_SOCKET_IFNAME`, as NCCL reads it.
struct NameList<'a> {
    exclude: bool,
    exact: bool,
    names: Vec<&'a str>,
}

impl<'a> NameList<'a> {
    fn new(text: &'a str) -> Self {
        let (exclude, text) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let (exact, text) = text.strip_prefix('=').map_or((false, text), |rest| (true, rest));
        Self { exclude, exact, names: text.split(',').filter(|name| !name.is_empty()).collect() }
    }

    fn takes(&self, interface: &str) -> bool {
        // "eth1:8080" in the list names eth1: what follows the colon is a port, for other uses of the list.
        let listed = self
            .names
            .iter()
            .map(|name| name.split(':').next().unwrap_or(name))
            .any(|name| if self.exact { interface == name } else { interface.starts_with(name) });
        listed != self.exclude
    }
}

/// Running interfaces with their usable addresses, in the kernel's order.
fn running() -> io::Result<Vec<Interface>> {
    let addresses = getifaddrs()?
        .filter(|entry| entry.flags.contains(InterfaceFlags::IFF_RUNNING))
        .filter_map(|entry| {
            let (address, mask) = (entry.address?, entry.netmask);
            let (address, mask) = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => {
                    let mask =
                        mask.as_ref().and_then(|mask| mask.as_sockaddr_in()).map(|mask| mask.ip().to_bits());
                    (IpAddr::from(v4.ip()), mask.map_or(32, u32::leading_ones))
                }
                (_, Some(v6)) => {
                    let mask =
                        mask.as_ref().and_then(|mask| mask.as_sockaddr_in6()).map(|mask| mask.ip().to_bits());
                    (IpAddr::from(v6.ip()), mask.map_or(128, u128::leading_ones))
                }
                _ => return None,
            };
            let prefix_len = u8::try_from(mask).ok()?;
            (!is_link_local(address)).then_some(Interface { name: entry.interface_name, address, prefix_len })
        })
        .collect();
    Ok(addresses)
}

impl Interface {
    /// Mbit/s; what NCCL assumes where the kernel doesn't know, as of a virtual device.
    pub(crate) fn speed(&self, net: &Path) -> i32 {
        const ASSUMED: i32 = 10_000;
        let speed = fs::read_to_string(net.join(&self.name).join("speed"));
        speed
            .ok()
            .and_then(|speed| speed.trim().parse().ok())
            .filter(|&speed: &i32| speed > 0)
            .unwrap_or(ASSUMED)
    }

    /// The PCI device's directory; `None` for a virtual device.
    pub(crate) fn pci_path(&self, net: &Path) -> Option<std::path::PathBuf> {
        fs::canonicalize(net.join(&self.name).join("device")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, address: &str, prefix_len: u8) -> Interface {
        Interface { name: name.to_owned(), address: address.parse().unwrap(), prefix_len }
    }

    fn host() -> Vec<Interface> {
        vec![
            interface("lo", "127.0.0.1", 8),
            interface("eth0", "192.0.2.5", 24),
            interface("eth1", "10.0.3.2", 24),
            interface("docker0", "172.17.0.1", 16),
            interface("virbr0", "192.168.122.1", 24),
            interface("lo", "::1", 128),
            interface("eth0", "2001:db8::5", 64),
            interface("eth10", "2001:db8:10::5", 64),
        ]
    }

    fn names(rules: &Rules, running: &[Interface]) -> Vec<String> {
        rules.select(running).into_iter().map(|interface| interface.name).collect()
    }

    fn named(list: &str) -> Rules {
        Rules { names: Some(list.to_owned()), ..Rules::default() }
    }

    #[test]
    fn ordinary_interfaces_hide_docker_and_loopback() {
        assert_eq!(names(&Rules::default(), &host()), ["eth0", "eth1", "eth10"]);
        let chosen = Rules::default().select(&host());
        assert_eq!(chosen[0].address, "192.0.2.5".parse::<IpAddr>().unwrap(), "the first address");
    }

    #[test]
    fn one_ib_interface_hides_all_others() {
        let mut host = host();
        host.push(interface("ib0", "10.9.0.1", 16));
        assert_eq!(names(&Rules::default(), &host), ["ib0"]);
    }

    #[test]
    fn the_subnet_of_the_root_counts() {
        let rules = Rules { root: Some("10.0.3.77".parse().unwrap()), ..Rules::default() };
        assert_eq!(names(&rules, &host()), ["eth1"]);
    }

    #[test]
    fn the_last_resorts_in_their_order() {
        let of = |prefixes: &[&str]| -> Vec<Interface> {
            host().into_iter().filter(|i| prefixes.iter().any(|p| i.name.starts_with(p))).collect()
        };
        assert_eq!(names(&Rules::default(), &of(&["lo", "docker", "virbr"])), ["docker0"]);
        assert_eq!(names(&Rules::default(), &of(&["lo", "virbr"])), ["lo"]);
        assert_eq!(names(&Rules::default(), &of(&["virbr"])), ["virbr0"]);
        assert!(names(&Rules::default(), &[]).is_empty());
    }

    #[test]
    fn name_lists() {
        for (list, wanted) in [
            ("eth1", &["eth1", "eth10"][..]),
            ("=eth1", &["eth1"]),
            ("=eth1,lo", &["lo", "eth1"]),
            ("^eth,lo", &["docker0", "virbr0"]),
            ("^=eth1", &["lo", "eth0", "docker0", "virbr0", "eth10"]),
            ("wlan", &[]),
        ] {
            assert_eq!(names(&named(list), &host()), wanted, "{list}");
        }
    }

    #[test]
    fn the_family_can_be_forced_and_its_loopback_is_not_taken() {
        let rules = Rules { family: Some(Family::V6), ..Rules::default() };
        assert_eq!(names(&rules, &host()), ["eth0", "eth10"]);
        let rules = Rules { names: Some("lo".to_owned()), family: Some(Family::V6), root: None };
        assert!(names(&rules, &host()).is_empty());
    }

    #[test]
    fn loopback_runs_in_a_test_namespace() {
        let chosen = named("=lo").choose().unwrap();
        assert_eq!(chosen, [interface("lo", "127.0.0.1", 8)]);
        assert_eq!(chosen[0].speed(Path::new("/nowhere")), 10_000);
        assert_eq!(chosen[0].pci_path(Path::new("/nowhere")), None);
    }
}
