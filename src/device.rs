//! Addresses of net devices: where a device's data leaves and arrives.
//!
//! NCCL names a device after its network interface (Socket) or its host channel adapter (IB, RoCE). An adapter's
//! interface is found under `/sys/class/infiniband`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use srv6_fabric::Family;

/// The addresses of this host's interfaces, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<(String, IpAddr)>);

impl Addresses {
    /// Asks the kernel. Local and quick: one netlink dump.
    ///
    /// # Errors
    /// If the kernel can't be asked.
    pub(crate) fn read() -> io::Result<Self> {
        let addresses = getifaddrs()?
            .filter_map(|entry| {
                let address = entry.address?;
                let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                    (Some(v4), _) => IpAddr::from(v4.ip()),
                    (_, Some(v6)) => IpAddr::from(v6.ip()),
                    _ => return None,
                };
                Some((entry.interface_name, address))
            })
            .collect();
        Ok(Self(addresses))
    }

    /// Whether a packet to `address` never leaves this host.
    pub(crate) fn is_ours(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.iter().any(|&(_, ours)| ours == address)
    }

    /// The first address of this family that a route can be for: no link-local one, which means nothing elsewhere.
    pub(crate) fn of(&self, interface: &str, family: Family) -> Option<IpAddr> {
        self.routable(interface).find(|&address| Family::of(address) == family)
    }

    /// The interface's address where the family is free: IPv6 first, as the fabric is.
    pub(crate) fn any_of(&self, interface: &str) -> Option<IpAddr> {
        self.of(interface, Family::V6).or_else(|| self.of(interface, Family::V4))
    }

    /// Whether there is such an interface with an address.
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.0.iter().any(|(name, _)| name == interface)
    }

    fn routable(&self, interface: &str) -> impl Iterator<Item = IpAddr> {
        self.0
            .iter()
            .filter(move |(name, _)| name == interface)
            .map(|&(_, address)| address)
            .filter(|&address| !is_link_local(address))
    }
}

/// Whether an address is valid on its link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The interface behind a device called `name`: itself, or that of the host channel adapter.
///
/// A device of several adapters is called after all of them, `mlx5_0+mlx5_1`; the first stands for it. `port` counts
/// from 1. `infiniband` is `/sys/class/infiniband`.
pub(crate) fn interface(name: &str, port: i32, addresses: &Addresses, infiniband: &Path) -> Option<String> {
    let first = name.split('+').next().unwrap_or(name);
    if addresses.has(first) {
        return Some(first.to_owned());
    }
    // NCCL appends a port to the adapter's name in places ("mlx5_0:1").
    let adapter = first.split(':').next().unwrap_or(first);
    if adapter.is_empty() || adapter.contains('/') {
        return None;
    }
    let adapter = infiniband.join(adapter);
    let of_port = adapter.join(format!("ports/{port}/gid_attrs/ndevs"));
    interfaces_of_gids(&of_port).or_else(|| only_interface(&adapter.join("device/net")))
}

/// RoCE: the interface that the port's GIDs belong to.
fn interfaces_of_gids(ndevs: &Path) -> Option<String> {
    let mut entries: Vec<_> = fs::read_dir(ndevs).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
        .iter()
        // Reading the entry of an unused GID fails: that is how the kernel says that it is unused.
        .filter_map(|entry| fs::read_to_string(entry).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
}

/// InfiniBand: the interface (IPoIB) of the same PCI function, if there is one.
fn only_interface(net: &Path) -> Option<String> {
    let mut names: Vec<_> = fs::read_dir(net).ok()?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names.first()?.to_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[(&str, &str)]) -> Addresses {
        Addresses(list.iter().map(|(name, address)| ((*name).to_owned(), address.parse().unwrap())).collect())
    }

    fn host() -> Addresses {
        addresses(&[
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth1", "10.0.3.2"),
            ("eth1", "fe80::1"),
            ("eth1", "2001:db8:1003::2"),
            ("eth2", "fe80::2"),
            ("eth3", "169.254.1.1"),
            ("eth3", "10.0.4.2"),
        ])
    }

    #[test]
    fn loopback_is_there() {
        let addresses = Addresses::read().unwrap();
        assert!(addresses.has("lo"));
        assert!(addresses.is_ours("127.0.0.1".parse().unwrap()));
        assert!(addresses.is_ours("127.3.2.1".parse().unwrap()));
        assert!(!addresses.is_ours("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn the_address_of_a_family() {
        let host = host();
        assert_eq!(host.of("eth1", Family::V4), Some("10.0.3.2".parse().unwrap()));
        assert_eq!(host.of("eth1", Family::V6), Some("2001:db8:1003::2".parse().unwrap()));
        assert_eq!(host.any_of("eth1"), Some("2001:db8:1003::2".parse().unwrap()));
        assert_eq!(host.any_of("eth3"), Some("10.0.4.2".parse().unwrap()));
        assert_eq!(host.any_of("eth2"), None);
        assert_eq!(host.any_of("eth9"), None);
    }

    struct Sys(std::path::PathBuf);

    impl Sys {
        fn new(test: &str) -> Self {
            let root = std::env::temp_dir().join(format!("srv6-device-{test}-{}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        fn file(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    impl Drop for Sys {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_network_interface_is_itself() {
        assert_eq!(interface("eth1", 1, &host(), Path::new("/nowhere")), Some("eth1".to_owned()));
        assert_eq!(interface("eth1+eth2", 1, &host(), Path::new("/nowhere")), Some("eth1".to_owned()));
    }

    #[test]
    fn a_roce_adapter_has_the_interface_of_its_port() {
        let sys = Sys::new("roce");
        sys.file("mlx5_0/ports/1/gid_attrs/ndevs/0", "eth7\n");
        sys.file("mlx5_0/ports/2/gid_attrs/ndevs/0", "\n");
        sys.file("mlx5_0/ports/2/gid_attrs/ndevs/1", "eth8\n");
        sys.file("mlx5_0/device/net/eth9/ifindex", "4");
        assert_eq!(interface("mlx5_0", 1, &host(), &sys.0).as_deref(), Some("eth7"));
        assert_eq!(interface("mlx5_0:2", 2, &host(), &sys.0).as_deref(), Some("eth8"));
        assert_eq!(interface("mlx5_0+mlx5_1", 1, &host(), &sys.0).as_deref(), Some("eth7"));
    }

    #[test]
    fn an_infiniband_adapter_has_its_ipoib_interface() {
        let sys = Sys::new("ib");
        sys.file("mlx5_2/device/net/ib0/ifindex", "4");
        assert_eq!(interface("mlx5_2", 1, &host(), &sys.0).as_deref(), Some("ib0"));
    }

    #[test]
    fn an_unknown_device_has_none() {
        let sys = Sys::new("unknown");
        for name in ["mlx5_9", "", "+", "../../etc"] {
            assert_eq!(interface(name, 1, &host(), &sys.0), None, "{name:?}");
        }
    }
}
