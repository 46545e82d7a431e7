//! What can go wrong with a lab.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A lab that could not be built, reached or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that configures the kernel is missing.
    #[error("{node}: can't run {tool}: install {package} (Debian package {package}) or put it into PATH")]
    Tool {
        /// Node it was needed for.
        node: String,
        /// `ip`, `tc` or `nft`.
        tool: &'static str,
        /// What it is part of.
        package: &'static str,
        /// Why it can't run.
        #[source]
        source: io::Error,
    },
    /// A tool refused a command.
    #[error("{node}: {command}: {message}")]
    Command {
        /// Node it ran in.
        node: String,
        /// The command.
        command: String,
        /// The tool's own words, or its exit status where it had none.
        message: String,
    },
    /// The kernel was built without something that a lab is made of.
    #[error("{node}: {command}: {message}: this kernel lacks {option}; boot one that has it")]
    Kernel {
        /// Node the command ran in.
        node: String,
        /// The command.
        command: String,
        /// The tool's own words.
        message: String,
        /// Kernel configuration option, or version.
        option: &'static str,
    },
    /// The tool is older than what it was asked for.
    #[error("{node}: {command}: {message}: want iproute2 {needed} or later")]
    OldTool {
        /// Node the command ran in.
        node: String,
        /// The command.
        command: String,
        /// The tool's own words.
        message: String,
        /// First release that knows the command.
        needed: &'static str,
    },
    /// A namespace could not be made or entered.
    #[error("{node}: can't {action}")]
    Namespace {
        /// Node.
        node: String,
        /// What was tried.
        action: &'static str,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No user namespace.
    #[error(
        "can't {action}; run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces above 0)"
    )]
    UserNamespace {
        /// What was tried.
        action: &'static str,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("{node}: can't write {value:?} to {}", path.display())]
    Sysctl {
        /// Node.
        node: String,
        /// File below /proc/sys or /sys.
        path: PathBuf,
        /// Value that was wanted.
        value: String,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel could not be asked about links.
    #[error("{node}: can't {action} over netlink")]
    Netlink {
        /// Node.
        node: String,
        /// What was asked.
        action: &'static str,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Something that the kernel should have done by itself.
    #[error("{node}: {missing} after {waited:?}")]
    Late {
        /// Node.
        node: String,
        /// What hasn't happened.
        missing: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Two vertices that would be one node.
    #[error("{first} and {second} are both called {name:?}; a lab needs a name per node")]
    DuplicateName {
        /// The name.
        name: String,
        /// Id of the one seen first.
        first: String,
        /// Id of the other.
        second: String,
    },
    /// A vertex with the name of the lab's own node.
    #[error("{vertex} is called \"mgmt\", which is the lab's management network; rename it")]
    ReservedName {
        /// Vertex id.
        vertex: String,
    },
    /// An edge between two hosts.
    #[error("{first} and {second} are hosts joined without a switch; a lab has no place for a SID there")]
    HostToHost {
        /// Id of one.
        first: String,
        /// Id of the other.
        second: String,
    },
    /// Interface name that the kernel wouldn't take.
    #[error("{vertex}: interface {interface:?}: want 1 to 15 of a-z A-Z 0-9 and _-. and not lo, mgmt0")]
    InterfaceName {
        /// Vertex id.
        vertex: String,
        /// The name.
        interface: String,
    },
    /// MTU that can't carry IPv6.
    #[error("{link}: MTU {mtu}: want 1280 to 65535")]
    Mtu {
        /// `from-to`.
        link: String,
        /// Bytes.
        mtu: u32,
    },
    /// Rate out of range.
    #[error("{link}: {reason}")]
    Rate {
        /// `from-to`.
        link: String,
        /// What is wrong.
        reason: String,
    },
    /// More hosts than the management network has addresses.
    #[error("{hosts} hosts: the management network 198.18.0.0/24 has room for 245")]
    TooManyHosts {
        /// Hosts of the topology.
        hosts: usize,
    },
    /// A SID that can't be read as block and uSIDs.
    #[error("{vertex}: SID {sid}: {reason}")]
    Sid {
        /// Vertex id.
        vertex: String,
        /// The SID.
        sid: IpAddr,
        /// What is wrong.
        reason: String,
    },
    /// One SID that would have to do two things.
    #[error("{switch}: {prefix} would have to be both {first} and {second}")]
    SidConflict {
        /// Switch that would hold it.
        switch: String,
        /// Prefix of the SID.
        prefix: String,
        /// What it does already.
        first: String,
        /// What it should do as well.
        second: String,
    },
    /// IPv4 decapsulation without a host to hand the packets to.
    #[error("{owner}: SID {sid} (behavior {behavior}) decapsulates IPv4, but {reason}")]
    Ipv4Decapsulation {
        /// Vertex whose document has the SID.
        owner: String,
        /// The SID.
        sid: IpAddr,
        /// Endpoint behavior code.
        behavior: u16,
        /// What is missing.
        reason: &'static str,
    },
    /// No node of this name.
    #[error("no node {name:?}; there are {known}")]
    UnknownNode {
        /// Name asked for.
        name: String,
        /// Names there are.
        known: String,
    },
    /// Neither node nor link.
    #[error("{target:?} is neither a node nor a link (NODE-NODE); links are {known}")]
    UnknownTarget {
        /// Text asked for.
        target: String,
        /// Links there are.
        known: String,
    },
    /// A fault that has no direction.
    #[error(
        "{target}: a link that is down is down in both directions; leave {from} out, or let it be silent or lossy"
    )]
    NoDirection {
        /// Target asked for.
        target: String,
        /// Node asked for.
        from: String,
    },
    /// A node that sends nothing over a target.
    #[error("{from} is at no end of {target}; want one of {known}")]
    NotAnEnd {
        /// Target asked for.
        target: String,
        /// Node asked for.
        from: String,
        /// Nodes at its ends.
        known: String,
    },
    /// A state file or its directory.
    #[error("can't {action} {}", path.display())]
    State {
        /// What was tried.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// System's answer.
        #[source]
        source: io::Error,
    },
    /// A state file that isn't one.
    #[error("{}: not a lab's state: {reason}; remove it if no lab is up", path.display())]
    StateFormat {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A directory that others could have prepared.
    #[error("{}: want a directory of your own that only you can write to", path.display())]
    StateDirectory {
        /// Directory.
        path: PathBuf,
    },
    /// A lab name that can't be a file name.
    #[error("lab name {name:?}: want 1 to 64 of a-z A-Z 0-9 and _-")]
    LabName {
        /// The name.
        name: String,
    },
    /// A lab that isn't up.
    #[error("lab {name:?} is not up")]
    NotUp {
        /// The name.
        name: String,
    },
    /// Another lab of this name.
    #[error("lab {name:?} is up with {difference}; take it down first, or give another name")]
    UpDifferently {
        /// The name.
        name: String,
        /// What isn't as asked for.
        difference: &'static str,
    },
    /// The keeper could not be started, or stopped without saying why.
    #[error("the lab's keeper {action}")]
    Keeper {
        /// What went wrong.
        action: String,
    },
    /// The keeper's own error, as text since it comes from another process.
    #[error("{message}")]
    Remote {
        /// Its whole chain.
        message: String,
    },
    /// A topology that came with the state and can't be read again.
    #[error(transparent)]
    Topology(#[from] srv6_fabric::TopologyError),
}
