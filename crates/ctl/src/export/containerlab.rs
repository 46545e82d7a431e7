//! containerlab: a topology file, with what its switches read beside it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use srv6_lab::{CableKind, Plan, Role};

use super::files::Files;
use super::ports::Ports;
use super::{SourceArgs, frr, is_host_name, sonic, with_role};

#[derive(Debug, clap::Args)]
pub(super) struct ContainerlabArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Name of the containerlab lab, and of its file NAME.clab.yml
    #[arg(long, default_value = "srv6")]
    name: String,
    /// What the switches are
    #[arg(long, value_enum, default_value = "frr")]
    switch: Switch,
    /// Image of the switches [default: quay.io/frrouting/frr:10.5.1, or docker-sonic-vs:latest]
    #[arg(long, value_name = "IMAGE")]
    switch_image: Option<String>,
    /// Image of the hosts; it needs iproute2
    #[arg(long, value_name = "IMAGE", default_value = "ghcr.io/srl-labs/network-multitool:latest")]
    host_image: String,
    /// Leave out what sonic-vs has no place for, and say on standard error what that is
    #[arg(long)]
    partial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Linux with FRR
    Frr,
    /// SONiC's virtual switch in a container
    SonicVs,
}

/// Address range of the management network: the lab's, so that hosts and path server have the same addresses.
const MANAGEMENT: (&str, &str) = ("198.18.0.0/24", "fd53:5236:6c61:6d67::/64");

/// Names of the two groups of nodes.
const HOSTS: &str = "hosts";
const SWITCHES: &str = "switches";

/// Where a switch's files are in its container.
const SONIC_FOLDER: &str = "/etc/sonic/srv6";

#[derive(Debug, Serialize)]
struct File<'a> {
    name: &'a str,
    mgmt: Mgmt,
    topology: TopologySection<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Mgmt {
    network: String,
    ipv4_subnet: &'static str,
    ipv6_subnet: &'static str,
}

#[derive(Debug, Serialize)]
struct TopologySection<'a> {
    groups: BTreeMap<&'static str, Group<'a>>,
    nodes: BTreeMap<&'a str, Node>,
    links: Vec<Link>,
}

/// What all hosts or all switches have.
#[derive(Debug, Serialize)]
struct Group<'a> {
    kind: &'static str,
    image: &'a str,
    sysctls: BTreeMap<String, &'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    group: &'static str,
    mgmt_ipv4: Ipv4Addr,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    binds: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exec: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Link {
    endpoints: [String; 2],
    mtu: u32,
}

pub(super) fn files(args: &ContainerlabArgs) -> anyhow::Result<Files> {
    if !is_host_name(&args.name) {
        bail!("--name {:?}: want 1 to 63 of a-z A-Z 0-9 and -._, the first a letter or digit", args.name);
    }
    let plan = args.source.plan()?;
    let mut files = Files::default();
    let mut missing = Vec::new();
    let mut nodes = BTreeMap::new();
    for (host, name) in with_role(&plan, Role::Host) {
        nodes.insert(name, host_node(&plan, host)?);
    }
    // Behind the hosts' addresses, which the lab gives out from below.
    let mut free =
        (10 + nodes.len()..=254).filter_map(|last| Some(Ipv4Addr::new(198, 18, 0, u8::try_from(last).ok()?)));
    for (switch, name) in with_role(&plan, Role::Switch) {
        let address = free.next().with_context(|| {
            format!("{name}: the management network {} has no address left for it", MANAGEMENT.0)
        })?;
        let node = match args.switch {
            Switch::Frr => {
                frr::add(&mut files, &plan, switch, name)?;
                frr_node(name, address)
            }
            Switch::SonicVs => {
                missing.extend(sonic::add_split(&mut files, &plan, switch, name)?);
                sonic_node(name, address)
            }
        };
        nodes.insert(name, node);
    }
    if !missing.is_empty() {
        let list = missing.join("\n  ");
        if !args.partial {
            bail!("sonic-vs has no place for\n  {list}\n--partial leaves it out, --switch frr has it");
        }
        eprintln!("srv6ctl: left out:\n  {list}");
    }
    let topology = TopologySection { groups: groups(args), nodes, links: links(args, &plan) };
    let mgmt =
        Mgmt { network: format!("{}-mgmt", args.name), ipv4_subnet: MANAGEMENT.0, ipv6_subnet: MANAGEMENT.1 };
    let text = serde_saphyr::to_string(&File { name: &args.name, mgmt, topology }).context("writing YAML")?;
    files.add(format!("{}.clab.yml", args.name), text);
    Ok(files)
}

/// A host: its addresses and routes by `ip`, in the order in which the lab makes them.
fn host_node(plan: &Plan, host: usize) -> anyhow::Result<Node> {
    let name = plan.name_of(host);
    let mut exec = Vec::new();
    for (_, end) in plan.ends_of(host).filter(|(cable, _)| cable.kind != CableKind::Management) {
        let interface = &end.interface;
        if interface == "eth0" {
            bail!(
                "{name}: interface eth0 is containerlab's management interface; give its document another one"
            );
        }
        for (address, length) in &end.addresses {
            // Without the prefix's own route, as in the lab: hosts of one leaf may share a prefix.
            let flags = match address {
                IpAddr::V4(_) => "noprefixroute",
                IpAddr::V6(_) => "nodad noprefixroute",
            };
            exec.push(format!("ip addr replace {address}/{length} dev {interface} {flags}"));
        }
    }
    exec.extend(plan.routes(host).iter().map(|route| format!("ip route replace {route}")));
    let management = plan.nodes.get(host).and_then(|n| n.management);
    Ok(Node {
        group: HOSTS,
        mgmt_ipv4: management.with_context(|| format!("{name} has no management address"))?,
        binds: Vec::new(),
        exec,
    })
}

fn frr_node(name: &str, address: Ipv4Addr) -> Node {
    let binds = ["frr.conf", "daemons", "sr0.batch"].map(|file| format!("{name}/{file}:/etc/frr/{file}"));
    let exec = vec!["ip -force -batch /etc/frr/sr0.batch".to_owned()];
    Node { group: SWITCHES, mgmt_ipv4: address, binds: binds.into(), exec }
}

fn sonic_node(name: &str, address: Ipv4Addr) -> Node {
    let binds = ["config_db.json", "frr.conf"].map(|file| format!("{name}/{file}:{SONIC_FOLDER}/{file}"));
    Node { group: SWITCHES, mgmt_ipv4: address, binds: binds.into(), exec: Vec::new() }
}

fn groups(args: &ContainerlabArgs) -> BTreeMap<&'static str, Group<'_>> {
    let (kind, image) = match args.switch {
        Switch::Frr => ("linux", "quay.io/frrouting/frr:10.5.1"),
        Switch::SonicVs => ("sonic-vs", "docker-sonic-vs:latest"),
    };
    let image = args.switch_image.as_deref().unwrap_or(image);
    let switches = Group { kind, image, sysctls: sysctls(Role::Switch) };
    let hosts = Group { kind: "linux", image: &args.host_image, sysctls: sysctls(Role::Host) };
    BTreeMap::from([(HOSTS, hosts), (SWITCHES, switches)])
}

/// The lab's settings of the kernel, and those that a container engine gives other defaults.
fn sysctls(role: Role) -> BTreeMap<String, &'static str> {
    let settings = role.settings().into_iter().map(|(file, value)| (file.replace('/', "."), value));
    let ours = ["disable_ipv6", "seg6_enabled"].into_iter().zip(["0", "1"]);
    let ours = ours
        .flat_map(|(key, value)| ["all", "default"].map(|of| (format!("net.ipv6.conf.{of}.{key}"), value)));
    settings.chain(ours).collect()
}

fn links(args: &ContainerlabArgs, plan: &Plan) -> Vec<Link> {
    let ports = match args.switch {
        Switch::Frr => Ports::Linux,
        Switch::SonicVs => Ports::Sonic,
    };
    let endpoint = |end| ports.endpoint(plan, end);
    plan.cables
        .iter()
        .filter(|cable| cable.kind != CableKind::Management)
        .map(|cable| Link {
            endpoints: cable
                .ends
                .each_ref()
                .map(|end| format!("{}:{}", plan.name_of(end.node), endpoint(end))),
            mtu: cable.mtu,
        })
        .collect()
}
