//! What VPP, or the way to it, refuses; each with its remedy.

use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use srv6_fabric::Prefix;

use super::message::MAX_SEGMENTS;
use super::wire::Malformed;

/// VPP's refusal, or no answer from it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VppError {
    /// Nobody listens, or this user may not connect.
    #[error(
        "VPP's API socket {} can't be opened; start VPP with socksvr {{ socket-name {} }}, let this user write to it (its group \
         is VPP's `unix {{ gid }}`), or set SRV6_VPP_SOCKET", socket.display(), socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The operating system's reason.
        #[source]
        source: Arc<io::Error>,
    },
    /// The connection broke.
    #[error("VPP closed the connection at {} during {doing}; it has ended or was restarted", socket.display())]
    Closed {
        /// The socket.
        socket: PathBuf,
        /// What was under way.
        doing: &'static str,
    },
    /// Sending or receiving failed.
    #[error("{doing} over {}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What was under way.
        doing: &'static str,
        /// The operating system's reason.
        #[source]
        source: Arc<io::Error>,
    },
    /// No answer in time.
    #[error("VPP did not answer {doing} at {} within {} ms", socket.display(), waited.as_millis())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        doing: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// The handshake was refused.
    #[error("VPP refuses this client ({response}); it may have too many")]
    Rejected {
        /// VPP's number.
        response: i32,
    },
    /// A frame longer than any message.
    #[error("VPP announces a message of {length} bytes; is {} really VPP's API socket?", socket.display())]
    TooLong {
        /// The socket.
        socket: PathBuf,
        /// The length.
        length: usize,
    },
    /// A message that isn't what its number says.
    #[error("VPP's {message} can't be read")]
    Unreadable {
        /// The message.
        message: &'static str,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// Something else than the answer.
    #[error("VPP answered {asked} with message number {number}, not with {wanted}")]
    Unexpected {
        /// What was asked.
        asked: &'static str,
        /// What came.
        number: u16,
        /// What should have come.
        wanted: &'static str,
    },
    /// The same message with other fields.
    #[error(
        "this VPP's {message} is another one (CRC {offered:08x}) than is known here ({expected:08x}), so it is not sent; \
         docs/VPP.md has the versions that are"
    )]
    Changed {
        /// The message.
        message: &'static str,
        /// CRC of the definition that is known here.
        expected: u32,
        /// CRC of VPP's own.
        offered: u32,
    },
    /// No such message.
    #[error("this VPP has no {message}{}", lacking(message))]
    Missing {
        /// The message.
        message: &'static str,
    },
    /// VPP says no.
    #[error("VPP refuses {message} for {subject}: {} ({code})", meaning(message, *code))]
    Refused {
        /// The request.
        message: &'static str,
        /// What it was about.
        subject: String,
        /// VPP's return value.
        code: i32,
    },
    /// More segments than a message has room for.
    #[error("{count} segments to {destination}: VPP's API takes at most {MAX_SEGMENTS} in one list")]
    TooManySegments {
        /// The destination.
        destination: Prefix,
        /// How many.
        count: usize,
    },
    /// Outer packets would have no source address.
    #[error(
        "outer packets to {destination} need an IPv6 source address, and none is known: set SRV6_VPP_ENCAP_SOURCE to an address \
         of this host in the fabric"
    )]
    NoEncapSource {
        /// The destination.
        destination: Prefix,
    },
    /// A table that VPP doesn't have; steering into it would end VPP.
    #[error(
        "VPP has no {family} table {table}; add it (vppctl ip{version} table add {table}) or choose another ROUTE_TABLE_ID",
        family = if *ipv6 { "IPv6" } else { "IPv4" }, version = if *ipv6 { "6" } else { "" }
    )]
    UnknownTable {
        /// The table.
        table: u32,
        /// IPv6 and not IPv4.
        ipv6: bool,
    },
    /// Somebody else steers the destination.
    #[error(
        "{destination} in table {table} is already steered into policy {bsid}, which is not in our range {range}; remove that \
         (vppctl sr steer del l3 {destination} via bsid {bsid}) or let it be"
    )]
    Occupied {
        /// The destination.
        destination: Prefix,
        /// The table.
        table: u32,
        /// Their policy.
        bsid: Ipv6Addr,
        /// Our binding SIDs.
        range: Prefix,
    },
    /// Every binding SID that was tried is taken.
    #[error(
        "{bsid} and the {tried} binding SIDs after it are in use for something else; set SRV6_VPP_BSID_PREFIX to a free range"
    )]
    BsidTaken {
        /// The first one.
        bsid: Ipv6Addr,
        /// How many were tried.
        tried: usize,
    },
    /// VPP would drop the outer packet.
    #[error(
        "VPP has no route to carrier {carrier}: packets would be lost; add one for the uSID block (vppctl ip route add BLOCK via \
         GATEWAY INTERFACE)"
    )]
    NoWayOut {
        /// First segment.
        carrier: Ipv6Addr,
    },
    /// A route to a router, which VPP wouldn't keep apart from others'.
    #[error(
        "{destination} via a gateway: VPP's tables don't tell whose a route is, so none is set here; unset SRV6_GATEWAY and add the \
         route in VPP (vppctl ip route add {destination} via GATEWAY INTERFACE)"
    )]
    NoGateways {
        /// The prefix.
        destination: Prefix,
    },
}

impl VppError {
    /// Whether the connection can be used no longer: what comes next on it may be anything.
    pub fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Closed { .. }
                | Self::Socket { .. }
                | Self::Silent { .. }
                | Self::Rejected { .. }
                | Self::TooLong { .. }
                | Self::Unreadable { .. }
                | Self::Unexpected { .. }
        )
    }
}

fn lacking(message: &str) -> &'static str {
    if message.starts_with("sr_") { ": it was built without segment routing" } else { "" }
}

/// What a return value means, by the request: the segment routing code has numbers of its own (VPP's `sr_policy_rewrite.c` and
/// `sr_steering.c`), all others are VPP's general ones (`vnet/error.h`).
pub fn meaning(message: &str, code: i32) -> &'static str {
    let own = match message {
        "sr_policy_add" | "sr_policy_add_v2" => match code {
            -12 => "there is a policy or a route for this binding SID already",
            -13 => "there is no such table",
            _ => "",
        },
        "sr_policy_del" => match code {
            -1 => "there is no such policy",
            _ => "",
        },
        "sr_policy_mod" | "sr_policy_mod_v2" => match code {
            -1 => "there is no such policy, or no such operation",
            -21 => "it is the policy's only segment list",
            -22 | -32 => "the policy has no such segment list",
            _ => "",
        },
        "sr_steering_add_del" => match code {
            -1 => "no such kind of traffic",
            -2 => "there is no such policy",
            -3 => "no such interface",
            -4 => "nothing is steered there",
            -5 => "the policy doesn't encapsulate",
            _ => "",
        },
        _ => "",
    };
    if own.is_empty() { general(code) } else { own }
}

fn general(code: i32) -> &'static str {
    match code {
        -1 => "UNSPECIFIED",
        -2 => "INVALID_SW_IF_INDEX",
        -3 => "NO_SUCH_FIB",
        -4 => "NO_SUCH_INNER_FIB",
        -5 => "NO_SUCH_LABEL",
        -6 => "NO_SUCH_ENTRY",
        -7 => "INVALID_VALUE",
        -8 => "INVALID_VALUE_2",
        -9 => "UNIMPLEMENTED",
        -30 => "FEATURE_DISABLED",
        -31 => "INVALID_REGISTRATION",
        -51 => "UNKNOWN_DESTINATION",
        -52 => "NO_PATHS_IN_ROUTE",
        -57 => "INVALID_SRC_ADDRESS",
        -58 => "INVALID_DST_ADDRESS",
        -62 => "IP6_NOT_ENABLED",
        -65 => "NO_SUCH_TABLE",
        -73 => "INVALID_ARGUMENT",
        -81 => "VALUE_EXIST",
        -88 => "IP_PREFIX_INVALID",
        -97 => "INVALID_ADDRESS_FAMILY",
        -99 => "TABLE_TOO_BIG",
        -105 => "ADDRESS_IN_USE",
        -107 => "QUEUE_FULL",
        -116 => "ENTRY_ALREADY_EXISTS",
        -126 => "UNSUPPORTED",
        -144 => "INIT_FAILED",
        -155 => "RSRC_IN_USE",
        -162 => "LIMIT_EXCEEDED",
        -167 => "BUSY",
        -171 => "INVALID_PREFIX_LENGTH",
        _ => "an error that is not in the list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_by_what_was_asked() {
        assert_eq!(
            meaning("sr_policy_add_v2", -12),
            "there is a policy or a route for this binding SID already"
        );
        assert_eq!(meaning("sr_steering_add_del", -2), "there is no such policy");
        assert_eq!(meaning("ip_route_lookup", -6), "NO_SUCH_ENTRY");
        assert_eq!(meaning("sr_policy_add_v2", -167), "BUSY");
    }

    #[test]
    fn messages_name_the_value_and_what_is_wanted() {
        let error =
            VppError::Changed { message: "sr_policy_add", expected: 0x44ac_92e8, offered: 0x0012_3456 };
        let text = error.to_string();
        assert!(
            text.contains("sr_policy_add") && text.contains("44ac92e8") && text.contains("00123456"),
            "{text}"
        );
        let error = VppError::Missing { message: "sr_policy_add_v2" };
        assert!(error.to_string().ends_with("it was built without segment routing"), "{error}");
        let error = VppError::UnknownTable { table: 9, ipv6: false };
        assert!(error.to_string().contains("no IPv4 table 9; add it (vppctl ip table add 9)"), "{error}");
    }
}
