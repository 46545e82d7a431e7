//! SONiC: a fragment of config_db.json for every switch, by the YANG models of sonic-buildimage.
//!
//! sonic-srv6.yang has SRV6_MY_LOCATORS and SRV6_MY_SIDS (keyed by locator and prefix) with the actions uN, uA and uDT46;
//! bgpcfgd makes static-sids of FRR's of them.

use std::net::IpAddr;

use anyhow::bail;
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use srv6_lab::{Hop, LocalSid, Options, Plan, Role, Route, SidAction};

use super::files::Files;
use super::ports::Ports;
use super::sids::Located;
use super::{SourceArgs, frr, sids, with_role};

const PORTS: Ports = Ports::Sonic;

#[derive(Debug, clap::Args)]
pub(super) struct SonicArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// What holds routes and SIDs
    #[arg(long, value_enum, default_value = "frr")]
    routing: Routing,
    /// Leave out what CONFIG_DB has no place for, and say on standard error what that is
    #[arg(long)]
    partial: bool,
}

/// Who tells FRR, inside a SONiC switch, about routes and SIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Routing {
    /// A file of FRR's own beside config_db.json (docker_routing_config_mode split-unified)
    Frr,
    /// bgpcfgd, from tables of CONFIG_DB
    ConfigDb,
}

pub(super) fn files(args: &SonicArgs) -> anyhow::Result<Files> {
    let plan = args.source.plan()?;
    let mut files = Files::default();
    let mut missing = Vec::new();
    for (switch, name) in with_role(&plan, Role::Switch) {
        match args.routing {
            Routing::ConfigDb => {
                let (tables, left_out) = config_db(&plan, switch);
                files.add(format!("{name}/config_db.json"), text(&tables)?);
                missing.extend(left_out.into_iter().map(|what| format!("{name}: {what}")));
            }
            Routing::Frr => missing.extend(add_split(&mut files, &plan, switch, name)?),
        }
    }
    if missing.is_empty() {
        return Ok(files);
    }
    let list = missing.join("\n  ");
    if !args.partial {
        bail!("SONiC has no place for\n  {list}\n--partial leaves it out");
    }
    eprintln!("srv6ctl: left out:\n  {list}");
    Ok(files)
}

/// A switch whose FRR has a file of its own; gives what that file has no words for.
pub(super) fn add_split(
    files: &mut Files,
    plan: &Plan,
    switch: usize,
    name: &str,
) -> anyhow::Result<Vec<String>> {
    let (connected, others) = by_link(plan, switch);
    let mut tables = base(plan, switch, &connected);
    let localhost = tables.get_mut("DEVICE_METADATA").and_then(|table| table.get_mut("localhost"));
    if let Some(Value::Object(fields)) = localhost {
        fields.insert("docker_routing_config_mode".to_owned(), json!("split-unified"));
    }
    files.add(format!("{name}/config_db.json"), text(&tables)?);
    let (kept, left_out) = sids(plan, switch);
    let header = format!("frr defaults datacenter\nhostname {name}\n!\n");
    files.add(format!("{name}/frr.conf"), header + &frr::routing(plan, switch, PORTS, others, &kept)?);
    Ok(left_out.into_iter().map(|what| format!("{name}: {what}")).collect())
}

/// Routes that an interface's prefix makes, and the others.
///
/// A prefix on an interface is a route too, and unlike a static one it has ports learn the hosts' addresses.
fn by_link(plan: &Plan, switch: usize) -> (Vec<&Route>, Vec<&Route>) {
    plan.routes(switch).iter().partition(|route| is_connected(plan, switch, route))
}

/// A switch's SIDs, and those that it can't have.
///
/// A function right behind the block is for carriers that arrive with the switch's uSID shifted out; ours never do, and
/// FRR before 10.5 can't have it.
fn sids(plan: &Plan, switch: usize) -> (Vec<Located<'_>>, Vec<String>) {
    let (mut kept, others) = sids::split(plan.local_sids(switch));
    kept.retain(|one| !one.local_only);
    let left_out = others.iter().filter(|one| !one.local_only).map(|one| {
        let LocalSid { prefix, action } = one.sid;
        format!("SID {prefix} ({action}): it has one decapsulating function per block, for both families")
    });
    (kept, left_out.collect())
}

fn text(tables: &Map<String, Value>) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(tables)? + "\n")
}

/// All tables of a switch, and what they have no place for.
fn config_db(plan: &Plan, switch: usize) -> (Map<String, Value>, Vec<String>) {
    let mut left_out = Vec::new();
    let (connected, others) = by_link(plan, switch);
    let mut tables = base(plan, switch, &connected);

    let mut routes = Map::new();
    for route in others {
        let v4 = route.prefix.address().is_ipv4();
        if v4 && route.hops.iter().any(|hop| hop.via.is_some_and(|via| via.is_ipv6())) {
            left_out.push(format!("route {}: bgpcfgd takes no IPv6 next hop for IPv4", route.prefix));
            continue;
        }
        let none = if v4 { "0.0.0.0" } else { "::" };
        let list = |of: &dyn Fn(&Hop) -> String| route.hops.iter().map(of).collect::<Vec<_>>().join(",");
        let nexthop = list(&|hop| hop.via.map_or_else(|| none.to_owned(), |via| via.to_string()));
        let ifname = list(&|hop| PORTS.name(plan, switch, &hop.interface));
        routes.insert(format!("default|{}", route.prefix), json!({ "nexthop": nexthop, "ifname": ifname }));
    }
    tables.insert("STATIC_ROUTE".to_owned(), routes.into());

    let mut locators = Map::new();
    for locator in sids::locators(plan.local_sids(switch)) {
        let lengths = json!({
            "prefix": locator.prefix.address().to_string(),
            "block_len": locator.block_len.to_string(),
            "node_len": locator.node_len.to_string(),
            "func_len": locator.node_len.to_string(),
            "arg_len": "0",
        });
        locators.insert(locator.name, lengths);
    }
    tables.insert("SRV6_MY_LOCATORS".to_owned(), locators.into());

    let (kept, no_action) = sids(plan, switch);
    left_out.extend(no_action);
    let mut my_sids = Map::new();
    for one in kept {
        // As Linux does it: a packet keeps its own DSCP when the tunnel ends.
        let value = match one.sid.action {
            SidAction::Shift { .. } => json!({ "action": "uN", "decap_dscp_mode": "pipe" }),
            SidAction::Dt6 | SidAction::Dx4(_) => {
                json!({ "action": "uDT46", "decap_vrf": "default", "decap_dscp_mode": "pipe" })
            }
        };
        my_sids.insert(format!("{}|{}", one.locator.name, one.sid.prefix), value);
    }
    tables.insert("SRV6_MY_SIDS".to_owned(), my_sids.into());
    (tables, left_out)
}

/// Tables that every switch has: its name, ports, neighbours and addresses.
fn base(plan: &Plan, switch: usize, connected: &[&Route]) -> Map<String, Value> {
    let (mut ports, mut neighbours, mut interfaces) = (Map::new(), Map::new(), Map::new());
    for (cable, end) in plan.ends_of(switch) {
        let name = PORTS.name(plan, switch, &end.interface);
        // A switch's own MTU is larger than the lab's, and better.
        let port = match cable.mtu {
            Options::MTU => json!({ "admin_status": "up" }),
            mtu => json!({ "admin_status": "up", "mtu": mtu.to_string() }),
        };
        ports.insert(name.clone(), port);
        if let Some(there) = cable.ends.iter().find(|other| other.node != switch) {
            let peer = plan.name_of(there.node);
            let is_switch = plan.nodes.get(there.node).is_some_and(|n| n.role == Role::Switch);
            let port = if is_switch {
                PORTS.name(plan, there.node, &there.interface)
            } else {
                there.interface.clone()
            };
            neighbours.insert(name.clone(), json!({ "name": peer, "local_port": name, "port": port }));
        }
        interfaces.insert(name.clone(), json!({}));
        for &(address, length) in &end.addresses {
            let length = prefix_around(connected, &end.interface, address).unwrap_or(length);
            interfaces.insert(format!("{name}|{address}/{length}"), json!({}));
        }
    }
    let mut loopbacks = Map::new();
    if let Some(address) = plan.loopback(switch) {
        loopbacks.insert(PORTS.loopback().to_owned(), json!({}));
        loopbacks.insert(format!("{}|{address}/128", PORTS.loopback()), json!({}));
    }
    let tables = [
        ("DEVICE_METADATA", json!({ "localhost": { "hostname": plan.name_of(switch) } })),
        ("PORT", ports.into()),
        ("DEVICE_NEIGHBOR", neighbours.into()),
        ("LOOPBACK_INTERFACE", loopbacks.into()),
        ("INTERFACE", interfaces.into()),
    ];
    tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect()
}

/// Whether a route leads to what is on a link, by a prefix in which the switch has an address there.
fn is_connected(plan: &Plan, switch: usize, route: &Route) -> bool {
    let [hop] = route.hops.as_slice() else { return false };
    let mut ends = plan.ends_of(switch).map(|(_, end)| end).filter(|end| end.interface == hop.interface);
    hop.via.is_none()
        && ends.any(|end| end.addresses.iter().any(|(address, _)| route.prefix.contains(*address)))
}

/// Length of the connected prefix that an interface's address is to have.
fn prefix_around(connected: &[&Route], interface: &str, address: IpAddr) -> Option<u8> {
    let on = |route: &&&Route| route.hops.iter().any(|hop| hop.interface == interface);
    connected.iter().filter(on).find(|r| r.prefix.contains(address)).map(|r| r.prefix.length())
}
