//! The list of settings: what the documentation, `srv6d --help` and the error messages say about each.
//!
//! Each is an environment variable, a key of the file, and a flag of the same name in small letters with dashes.

use srv6_settings::Field;

const fn field(name: &'static str, wanted: &'static str, default: &'static str, text: &'static str) -> Field {
    Field { name, wanted, default, text }
}

/// Settings that the agent shares with the plugin: where paths come from and how flows are steered.
pub const SHARED: [Field; 19] = [
    field(
        "JALAPENO_API_ENDPOINT",
        "a URL such as http://[2001:db8::5]:30800, with or without /api/v1",
        "",
        "The path API that is asked for paths. Either this or SRV6_TOPOLOGY.",
    ),
    field(
        "SRV6_TOPOLOGY",
        "the path of a topology file",
        "",
        "Paths come from this file; no server is needed. Either this or JALAPENO_API_ENDPOINT.",
    ),
    field(
        "TOPOLOGY_COLLECTION",
        "the name of an edge collection",
        "fabric_graph",
        "The graph that is searched.",
    ),
    field(
        "SRV6_HOST_COLLECTION",
        "the name of a collection",
        "hosts",
        "The collection of hosts that come without a collection name.",
    ),
    field(
        "SRV6_CONNECT_TIMEOUT_MS",
        "1 to 600000 (milliseconds)",
        "5000",
        "How long a flow may take from its registration to ready.",
    ),
    field(
        "SRV6_POLICY",
        "spread, load, latency, utilization or hops",
        "spread",
        "Which of several equal paths a flow takes.",
    ),
    field("SRV6_ALGO", "0 to 255", "0", "The Flex-Algo whose paths and SIDs are used."),
    field("SRV6_ENCAP", "red or encap", "red", "red: no routing header where one carrier is enough."),
    field(
        "DEST_FUNCTION",
        "a uSID function in hexadecimal, such as fe06 (1 to ffff)",
        "",
        "The decapsulation function at the end of every carrier. Unset: the topology says.",
    ),
    field(
        "BACKEND_INTERFACE",
        "the name of a network interface",
        "",
        "The interface that routes name. Unset: the one that has the flow's source address.",
    ),
    field(
        "ROUTE_PLATFORM",
        "linux, vpp or none",
        "linux",
        "vpp: flows from interfaces of VPP's are steered there, in the agent's own network namespace (docs/VPP.md). none: \
         routes are only logged.",
    ),
    field(
        "ROUTE_TABLE_ID",
        "1 to 4294967295; with vpp 0 to 4294967294",
        "254",
        "The kernel's routing table. 254 is main. With vpp it is VPP's table, 0 if unset, and the kernel's is main.",
    ),
    field(
        "SRV6_VPP_SOCKET",
        "the path of VPP's API socket",
        "/run/vpp/api.sock",
        "Where VPP takes API clients.",
    ),
    field(
        "SRV6_VPP_BSID_PREFIX",
        "an IPv6 prefix of 16 to 112 bits that is used for nothing else",
        "fd53:5256:36::/64",
        "The binding SIDs of our policies. Processes that steer for themselves need the same.",
    ),
    field(
        "SRV6_VPP_ENCAP_SOURCE",
        "an IPv6 address",
        "",
        "Source address of the packets that VPP sends. Unset: the flow's, or for IPv4 one of the interface that has it.",
    ),
    field(
        "SRV6_GATEWAY",
        "an IPv6 address",
        "",
        "The first switch: a route for the uSID block by it is installed.",
    ),
    field(
        "SRV6_FABRIC_MTU",
        "1280 to 65535 (bytes)",
        "",
        "The smallest MTU in the fabric. Unset: the topology's.",
    ),
    field(
        "SRV6_LOG",
        "off, error, warn, info, debug or trace",
        "info",
        "How much is written to standard error.",
    ),
    field(
        "SRV6_AGENT_SOCKET",
        "the path of a unix socket",
        "/run/srv6/agent.sock",
        "Where the plugin and srv6ctl find the agent. Its folder is made if it isn't there.",
    ),
];

/// Settings of the agent alone.
pub const FIELDS: [Field; 15] = [
    field(
        "SRV6D_CONFIG",
        "the path of a TOML file",
        "",
        "Settings, as NAME = \"value\" or NAME = number, one a line. The environment wins over it, flags win over both.",
    ),
    field(
        "SRV6D_GROUP",
        "the name or number of a group",
        "",
        "Its members may use the agent: the socket belongs to it, and its folder is open to all. Unset: only root may.",
    ),
    field(
        "SRV6D_SCOPE",
        "host or pod",
        "host",
        "host: processes of every network namespace are steered, each in its own. pod: whoever connects is steered in the agent's \
         namespace, as a sidecar that has no right but CAP_NET_ADMIN and doesn't see its pod's processes.",
    ),
    field(
        "SRV6D_SESSIONS_PER_UID",
        "1 to 1000000",
        "4096",
        "Connections to the agent that one user may have. Higher: larger jobs. Lower: a runaway user takes less of the \
         agent's memory and descriptors.",
    ),
    field(
        "SRV6D_FLOWS_PER_UID",
        "1 to 10000000",
        "65536",
        "Flows and connections with lanes that one user may have registered. Higher: larger jobs. Lower: a runaway user \
         takes less of the host's routing table.",
    ),
    field(
        "SRV6D_GRACE_S",
        "1 to 86400 (seconds)",
        "30",
        "How long after its start the agent leaves routes alone that nobody has registered yet. Higher: jobs that were \
         stopped meanwhile keep their routes. Lower: routes of jobs that died with the agent go earlier.",
    ),
    field(
        "SRV6D_REFRESH_S",
        "1 to 86400 (seconds)",
        "30",
        "How often paths are read again, give or take a fifth. Higher: fewer questions to the path API. Lower: changes \
         of the fabric are followed earlier.",
    ),
    field(
        "SRV6D_STATE",
        "the path of a file",
        "/run/srv6/drained.json",
        "What is drained, so that it stays so over a restart of the agent. In a folder that outlives a reboot, over that too.",
    ),
    field(
        "SRV6D_HTTP",
        "an address with a port, such as 127.0.0.1:9779 or [::1]:9779, or off",
        "127.0.0.1:9779",
        "Where /metrics, /healthz, /readyz, /v1/flows and /v1/paths are served, to anybody who can connect there.",
    ),
    field(
        "SRV6D_METRIC_FLOWS",
        "0 to 100000",
        "1000",
        "Flows that have metrics of their own; the others are counted together. Higher: more is seen of large hosts. \
         Lower: Prometheus stores fewer series.",
    ),
    field(
        "SRV6D_HINTS",
        "the path of a file, best in memory, or off",
        "/run/srv6/hints",
        "Shared memory with the weights of paths, for transports to read.",
    ),
    field(
        "SRV6D_HINT_SLOTS",
        "1 to 1048576",
        "16384",
        "Flows that can have weights at the same time. Higher: larger hosts. Lower: less memory, 64 bytes a flow.",
    ),
    field(
        "SRV6D_MPIB_COMPAT",
        "0 or 1",
        "0",
        "1, or the flag --mpib-compat: clients of the MPIB transport agent are served too. Needs SRV6D_MPIB_UNIT.",
    ),
    field(
        "SRV6D_MPIB_UNIT",
        "multiplier or per1024",
        "",
        "How MPIB's clients on this host read a hint, which depends on their version: SUP bandwidth as a multiple of \
         SOUT's, or parts of 1024 over SUP.",
    ),
    field(
        "SRV6D_MPIB_DIR",
        "the path of a folder",
        "/tmp/mpib",
        "Where MPIB's clients look for hints and agent.sock.",
    ),
];

/// All of them.
pub(super) const ALL: &[&[Field]] = &[&SHARED, &FIELDS];

/// A setting's flag, without the dashes before it.
pub(super) fn flag(field: &Field) -> String {
    field.name.to_lowercase().replace('_', "-")
}
