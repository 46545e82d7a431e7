//! FRR on Linux: static routes, and SIDs by its static-sids.
//!
//! Checked against FRR 10.7.0 (staticd/static_vty.c, zebra/zebra_srv6_vty.c). 10.5.0 is the first release that puts a
//! uDT6 of the default VRF on `sr0` and takes SIDs right behind the block.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::bail;
use srv6_lab::{Hop, Plan, Role, Route, SidAction};

use super::files::Files;
use super::ports::Ports;
use super::sids::{Located, Locator};
use super::{SourceArgs, sids, with_role};

/// Lengths of a block that FRR takes, in bits.
const BLOCK: std::ops::RangeInclusive<u8> = 16..=64;

#[derive(Debug, clap::Args)]
pub(super) struct FrrArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

/// For every switch: frr.conf, daemons, sysctl.conf, and sr0.batch for `ip -force -batch`.
pub(super) fn files(args: &FrrArgs) -> anyhow::Result<Files> {
    let plan = args.source.plan()?;
    let mut files = Files::default();
    for (switch, name) in with_role(&plan, Role::Switch) {
        add(&mut files, &plan, switch, name)?;
        let settings = Role::Switch.settings();
        let lines = settings.iter().map(|(file, value)| format!("{} = {value}\n", file.replace('/', ".")));
        files.add(format!("{name}/sysctl.conf"), lines.collect());
    }
    Ok(files)
}

/// What a switch's FRR and the kernel below it read.
pub(super) fn add(files: &mut Files, plan: &Plan, switch: usize, name: &str) -> anyhow::Result<()> {
    let mut text = format!("frr defaults datacenter\nhostname {name}\n!\n");
    text.push_str(&interfaces(plan, switch));
    let (kept, others) = sids::split(plan.local_sids(switch));
    text.push_str(&routing(plan, switch, Ports::Linux, plan.routes(switch), &kept)?);
    files.add(format!("{name}/frr.conf"), text);
    // Those that read static routes and SIDs; everything else is off by default.
    let daemons = "zebra=yes\nmgmtd=yes\nstaticd=yes\nvtysh_enable=yes\nzebra_options=\"-A 127.0.0.1 -s 90000000\"\n\
                   mgmtd_options=\"-A 127.0.0.1\"\nstaticd_options=\"-A 127.0.0.1\"\n";
    files.add(format!("{name}/daemons"), daemons.to_owned());
    files.add(format!("{name}/sr0.batch"), batch(&others));
    Ok(())
}

/// Addresses, as the lab's nodes have them.
fn interfaces(plan: &Plan, switch: usize) -> String {
    let mut text = String::new();
    let loopback = plan
        .loopback(switch)
        .map(|address| (Ports::Linux.loopback().to_owned(), vec![(address.into(), 128)]));
    let others = plan.ends_of(switch).map(|(_, end)| (end.interface.clone(), end.addresses.clone()));
    for (interface, addresses) in loopback.into_iter().chain(others) {
        let _ = writeln!(text, "interface {interface}");
        for (address, length) in addresses {
            let _ = writeln!(text, " {} address {address}/{length}", family(address));
        }
        text.push_str("exit\n!\n");
    }
    text
}

/// Static routes of a switch, and its SIDs.
///
/// # Errors
/// A block that FRR can't have.
pub(super) fn routing<'a>(
    plan: &Plan,
    switch: usize,
    ports: Ports,
    routes: impl IntoIterator<Item = &'a Route>,
    sids: &[Located<'_>],
) -> anyhow::Result<String> {
    let mut text = String::new();
    for route in routes {
        for Hop { via, interface } in &route.hops {
            let _ = write!(text, "{} route {} ", family(route.prefix.address()), route.prefix);
            if let Some(via) = via {
                let _ = write!(text, "{via} ");
            }
            let _ = writeln!(text, "{}", ports.name(plan, switch, interface));
        }
    }
    text.push_str("!\nsegment-routing\n srv6\n  locators\n");
    for Locator { name, prefix, block_len, node_len } in sids::locators(plan.local_sids(switch)) {
        if !BLOCK.contains(&block_len) {
            let (node, from, to) = (plan.name_of(switch), BLOCK.start(), BLOCK.end());
            bail!("{node}: locator {prefix}: its block has {block_len} bits; FRR takes {from} to {to}");
        }
        let _ = writeln!(
            text,
            "   locator {name}\n    prefix {prefix} block-len {block_len} node-len {node_len} func-bits {node_len}\n    \
             behavior usid\n   exit"
        );
    }
    text.push_str("  exit\n  static-sids\n");
    for one in sids {
        let behavior = match one.sid.action {
            SidAction::Shift { .. } => "uN",
            SidAction::Dt6 | SidAction::Dx4(_) => "uDT6 vrf default",
        };
        let _ = writeln!(text, "   sid {} locator {} behavior {behavior}", one.sid.prefix, one.locator.name);
    }
    text.push_str("  exit\n exit\nexit\n!\n");
    Ok(text)
}

/// The device that FRR puts SIDs on, which somebody else has to make, and the SIDs that FRR has no words for.
fn batch(others: &[Located<'_>]) -> String {
    // A veth and not a dummy: a kernel without that module has it too.
    let mut text =
        "link add name sr0 type veth peer name sr0-peer\nlink set dev sr0 up\nlink set dev sr0-peer up\n"
            .to_owned();
    for one in others {
        let _ = writeln!(text, "route replace {} dev sr0 proto static", one.sid);
    }
    text
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ipv6" }
}
