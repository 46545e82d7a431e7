//! The list of settings: what the documentation and the error messages say about each.

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it takes, as "want …" goes on in an error message.
    pub wanted: &'static str,
    /// What counts if it is unset or empty; empty if then nothing is set.
    pub default: &'static str,
    /// What it does.
    pub text: &'static str,
}

/// Every setting, in the order of the documentation. The plugin and the shim know each other's, since both may be in
/// one environment.
pub const FIELDS: [Field; 32] = [
    Field {
        name: "JALAPENO_API_ENDPOINT",
        wanted: "a URL such as http://[2001:db8::5]:30800, with or without /api/v1",
        default: "",
        text: "The path API that is asked for paths. Either this or SRV6_TOPOLOGY.",
    },
    Field {
        name: "SRV6_TOPOLOGY",
        wanted: "the path of a topology file",
        default: "",
        text: "Paths come from this file; no server is needed. Either this or JALAPENO_API_ENDPOINT.",
    },
    Field {
        name: "TOPOLOGY_COLLECTION",
        wanted: "the name of an edge collection",
        default: "fabric_graph",
        text: "The graph that is searched.",
    },
    Field {
        name: "SRV6_HOST_COLLECTION",
        wanted: "the name of a collection",
        default: "hosts",
        text: "The collection of hosts that come without a collection name.",
    },
    Field {
        name: "SRV6_TRANSPORT",
        wanted: "auto, ib, socket, multipath, or the path of a net plugin (with a slash, or ending in .so)",
        default: "auto",
        text: "The transport that is wrapped. auto: NCCL's IB if it has devices, else NCCL's Socket.",
    },
    Field {
        name: "SRV6_MODE",
        wanted: "auto, agent, local or off",
        default: "auto",
        text: "Who installs routes. agent: srv6d, the agent of the host. local: this process, which needs CAP_NET_ADMIN. \
               off: nobody, connections go unsteered. auto: the agent if it answers, else local if allowed and a source of \
               paths is set, else off with a warning.",
    },
    Field {
        name: "SRV6_AGENT_SOCKET",
        wanted: "the path of a unix socket",
        default: "/run/srv6/agent.sock",
        text: "Where the agent of the host is found.",
    },
    Field {
        name: "SRV6_JOB",
        wanted: "a name",
        default: "",
        text: "What the agent calls this job in lists and metrics. Unset: SLURM_JOB_ID or TORCHELASTIC_RUN_ID.",
    },
    Field {
        name: "SRV6_STRICT",
        wanted: "0 or 1",
        default: "0",
        text: "1: a connection that can't be steered fails. 0: it goes unsteered, with a warning. The preload library never \
               makes one fail.",
    },
    Field {
        name: "SRV6_CONNECT_TIMEOUT_MS",
        wanted: "1 to 600000 (milliseconds)",
        default: "5000",
        text: "How long a connection waits for its path. Higher: fewer unsteered connections while the path API is \
               slow. Lower: a dead path API delays the job's start less.",
    },
    Field {
        name: "SRV6_POLICY",
        wanted: "spread, load, latency, utilization or hops",
        default: "spread",
        text: "Which of several equal paths a flow takes.",
    },
    Field {
        name: "SRV6_ALGO",
        wanted: "0 to 255",
        default: "0",
        text: "The Flex-Algo whose paths and SIDs are used.",
    },
    Field {
        name: "SRV6_ENCAP",
        wanted: "red or encap",
        default: "red",
        text: "red: reduced encapsulation, no routing header where one carrier is enough. encap: always a header.",
    },
    Field {
        name: "DEST_FUNCTION",
        wanted: "a uSID function in hexadecimal, such as fe06 (1 to ffff)",
        default: "",
        text: "The decapsulation function at the end of every carrier. Unset: the topology says.",
    },
    Field {
        name: "BACKEND_INTERFACE",
        wanted: "the name of a network interface",
        default: "",
        text: "The interface that routes name. Unset: the one that has the connection's source address.",
    },
    Field {
        name: "ROUTE_PLATFORM",
        wanted: "linux, vpp or none",
        default: "linux",
        text: "Where routes go. vpp: to VPP for flows from its interfaces, to the kernel for others (docs/VPP.md). none: \
               nowhere, they are only logged, as vppctl commands where SRV6_VPP_SOCKET is set.",
    },
    Field {
        name: "ROUTE_TABLE_ID",
        wanted: "1 to 4294967295; with vpp 0 to 4294967294",
        default: "254",
        text: "The kernel's routing table. 254 is main, which needs no rule to be used. With vpp it is VPP's table, 0 if unset, \
               and the kernel's is main.",
    },
    Field {
        name: "SRV6_VPP_SOCKET",
        wanted: "the path of VPP's API socket",
        default: "/run/vpp/api.sock",
        text: "Where VPP takes API clients (socksvr in its startup.conf).",
    },
    Field {
        name: "SRV6_VPP_BSID_PREFIX",
        wanted: "an IPv6 prefix of 16 to 112 bits that is used for nothing else",
        default: "fd53:5256:36::/64",
        text: "The binding SIDs of our policies, by which they are told from others'. One range for all that share a network \
               namespace, another for each that doesn't.",
    },
    Field {
        name: "SRV6_VPP_ENCAP_SOURCE",
        wanted: "an IPv6 address",
        default: "",
        text: "Source address of the packets that VPP sends. Unset: the connection's, or for IPv4 one of the interface that has \
               the connection's.",
    },
    Field {
        name: "SRV6_GATEWAY",
        wanted: "an IPv6 address",
        default: "",
        text: "The first switch. Set: a route for the uSID block by this gateway is installed. Unset: one must be there.",
    },
    Field {
        name: "SRV6_FABRIC_MTU",
        wanted: "1280 to 65535 (bytes)",
        default: "",
        text: "The smallest MTU in the fabric, set on every route. Unset: the topology's. Without either, a smaller MTU \
               inside the fabric stalls connections.",
    },
    Field {
        name: "SRV6_PATHS",
        wanted: "1 to 8",
        default: "4",
        text: "TCP subflows per connection of the multipath transport. Where two ranks differ the smaller counts.",
    },
    Field {
        name: "SRV6_PINNING",
        wanted: "auto, mark, ports or routing-header",
        default: "auto",
        text: "What ties a subflow of the multipath transport to its path. mark: SO_MARK (0x53520000 and up), a rule and a \
               table per path; a process that may not set it has the agent do so. ports: the source port, with the same tables; the one to set where a pod network (Calico, \
               Cilium, kube-proxy, Istio) uses bits of the mark. routing-header: an SRv6 header on the socket, which needs \
               no route and no privilege, but IPv6 and a far side that accepts it. auto: the first that works here, in \
               this order.",
    },
    Field {
        name: "SRV6_WEIGHTS",
        wanted: "up to 8 shares such as 4,2,1,1 or 1,1@2500: a weight from 0 to 1000, @ and a limit in Mbit/s, or both",
        default: "",
        text: "Shares of a connection's subflows in the multipath transport, in their order. 0: only if nothing else \
               works. Unset: each carries what its path can.",
    },
    Field {
        name: "SRV6_HINTS",
        wanted: "the path of the file in which the host's agent gives hints, such as /run/srv6/hints",
        default: "",
        text: "Weights of paths that go before SRV6_WEIGHTS and change while connections last. Unset: none.",
    },
    Field {
        name: "SRV6_DEAD_MS",
        wanted: "1000 to 600000 (milliseconds)",
        default: "10000",
        text: "How long all subflows of a multipath connection may carry nothing before NCCL gets an error. Higher: \
               survives longer outages. Lower: a dead peer is reported sooner.",
    },
    Field {
        name: "SRV6_CONGESTION",
        wanted: "a congestion control of TCP that this kernel has, such as cubic",
        default: "",
        text: "TCP's congestion control of the multipath transport's sockets, at both ends. Unset: the host's \
               (net.ipv4.tcp_congestion_control). One that net.ipv4.tcp_allowed_congestion_control doesn't name needs \
               CAP_NET_ADMIN.",
    },
    Field {
        name: "SRV6_ZERO_COPY",
        wanted: "0 or 1",
        default: "1",
        text: "1: chunks of 64 KiB and more of the multipath transport go to the kernel without a copy, unless the congestion \
               control is BBR; such a message is done when the receiver has it. 0: all are copied.",
    },
    Field {
        name: "SRV6_SHIM_PREFIXES",
        wanted: "prefixes separated by commas, such as 2001:db8:1000::/36,10.0.0.0/16",
        default: "",
        text: "The preload library only: destinations inside are steered, and nothing else. Unset: the hosts of the \
               topology are.",
    },
    Field {
        name: "SRV6_SHIM_WAIT_MS",
        wanted: "0 to 60000 (milliseconds)",
        default: "100",
        text: "The preload library only: how long the connect of a non-blocking socket waits for its path; then it goes \
               on, and moves to the path when it is there. Higher: more connections are steered from their first packet. \
               Lower: an event loop is held up less.",
    },
    Field {
        name: "SRV6_LOG",
        wanted: "off, error, warn, info, debug or trace",
        default: "info",
        text: "What the plugin passes to NCCL's log, which NCCL_DEBUG filters: error and warn as WARN, info and debug as \
               INFO, trace as TRACE. The preload library writes to standard error; its own default is warn.",
    },
];
