//! `srv6d --check`: what is missing for the agent to work here, found without changing anything.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use rustix::thread::{CapabilitySet, capabilities};
use srv6_fabric::chain;
use srv6_paths::PathSource;
use srv6_routes::LinuxRoutes;
use srv6_routes::vpp::VppRoutes;

use crate::{Config, Scope};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What is wrong with it, and what is wanted.
    pub fault: Option<String>,
}

/// Looks at rights, kernel, path source and socket. Blocks for as long as the path source takes.
pub fn findings(config: &Config) -> Vec<Finding> {
    let finding = |what: &str, fault: Option<String>| Finding { what: what.to_owned(), fault };
    // What a sidecar does without: it steers its own namespace, whose processes it doesn't look into, and goes without probes.
    let of_hosts = [
        ("right to enter namespaces, CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
        ("right to find other users' namespaces, CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE),
        ("right to send probes, CAP_NET_RAW", CapabilitySet::NET_RAW),
    ];
    let mut found = vec![finding("right to change routes, CAP_NET_ADMIN", lacks(CapabilitySet::NET_ADMIN))];
    if config.scope == Scope::Host {
        found.extend(of_hosts.map(|(what, right)| finding(what, lacks(right))));
    }
    found.extend([
        finding("netlink", LinuxRoutes::new().err().map(|error| chain(&error))),
        finding("SRv6 in the kernel", no_seg6()),
        finding("path source", unreadable(config)),
        finding(&format!("socket {}", config.socket.display()), taken(&config.socket)),
    ]);
    if let Some(vpp) = &config.steering.vpp {
        let mut routes = VppRoutes::new(vpp.clone());
        let fault = routes.policies().err().map(|error| chain(&error));
        found.push(finding(&format!("VPP at {}", vpp.socket.display()), fault));
    }
    found
}

fn lacks(wanted: CapabilitySet) -> Option<String> {
    match capabilities(None) {
        Ok(sets) if sets.effective.contains(wanted) => None,
        Ok(_) => Some("this process doesn't have it; run srv6d as root, or as the unit file does".to_owned()),
        Err(errno) => Some(errno.to_string()),
    }
}

fn no_seg6() -> Option<String> {
    let there = Path::new("/proc/sys/net/ipv6/conf/all/seg6_enabled").exists();
    (!there).then(|| "want kernel 4.10 or later with IPv6 and CONFIG_IPV6_SEG6_LWTUNNEL".to_owned())
}

fn unreadable(config: &Config) -> Option<String> {
    let mut source = match config.steering.open_source() {
        Ok(source) => source,
        Err(error) => return Some(chain(&error)),
    };
    PathSource::topology(source.as_mut(), Instant::now() + config.steering.deadline)
        .err()
        .map(|error| chain(&error))
}

fn taken(socket: &Path) -> Option<String> {
    UnixStream::connect(socket).is_ok().then(|| "an agent takes connections there already".to_owned())
}
