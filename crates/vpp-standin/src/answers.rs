//! What is answered to each request.

use crate::Offer;
use crate::bytes::{Fields, Message};
use crate::catalog;
use crate::model::{Model, Policy};

/// `sockclnt_create_reply`.
const CREATE_REPLY: u16 = 16;

/// The handshake: the client's index, and every message with its number.
pub(crate) fn hello(offer: Offer, client: u32) -> Message {
    let table = catalog::table(offer);
    let count = u16::try_from(table.len()).unwrap_or(u16::MAX);
    let reply = Message::new(CREATE_REPLY, 0).word(0).code(0).word(client).half(count);
    table.iter().fold(reply, |reply, (number, name)| reply.half(*number).text(name, 64))
}

/// The answers to one request. What VPP doesn't know it ignores.
pub(crate) fn answers(model: &mut Model, request: &[u8], client: u32) -> Vec<Message> {
    let mut fields = Fields(request);
    let Some(number) = fields.take().map(u16::from_be_bytes) else { return Vec::new() };
    let Some(name) = catalog::name(number) else { return Vec::new() };
    let (Some(index), Some(context)) = (fields.word(), fields.word()) else { return Vec::new() };
    if index != client {
        return Vec::new();
    }
    *model.served.entry(name).or_default() += 1;
    let reply = || Message::new(catalog::number(&format!("{name}_reply")), context);
    let details = || Message::new(catalog::number(&name.replace("_dump", "_details")), context);
    match name {
        "control_ping" => vec![reply().code(0).word(client).word(4711)],
        "sockclnt_delete" => vec![reply().code(1)],
        "show_version" => {
            let version = reply().code(0).text("vpe", 32).text("stand-in", 32);
            vec![version.text("2026-11-21T00:00:00", 32).text("/", 256)]
        }
        "sw_interface_dump" => interfaces(model, details),
        "ip_address_dump" => addresses(model, &mut fields, details),
        "ip_table_dump" => {
            let always = [(0, false), (0, true)];
            let all = always.iter().chain(&model.setup.tables);
            all.map(|&(table, ipv6)| details().word(table).byte(ipv6.into()).text("", 64)).collect()
        }
        "ip_route_lookup" => look_up(model, &mut fields, reply()).into_iter().collect(),
        "sr_policies_dump" => model.policies.iter().map(|policy| older(policy, details())).collect(),
        "sr_policies_v2_dump" => model.policies.iter().map(|policy| newer(policy, details())).collect(),
        "sr_policies_with_sl_index_dump" => {
            model.policies.iter().map(|policy| indexed(policy, details())).collect()
        }
        "sr_steering_pol_dump" => model
            .steering
            .iter()
            .map(|((table, prefix), bsid)| {
                let traffic = if prefix.address().is_ipv4() { 4 } else { 6 };
                // The interface is whatever the prefix has in that place.
                details().byte(traffic).word(*table).prefix(*prefix).word(0x2001_0db8).ip6(*bsid)
            })
            .collect(),
        _ => change(model, name, &mut fields).map(|code| reply().code(code)).into_iter().collect(),
    }
}

/// Carries out what is answered with a return value.
fn change(model: &mut Model, name: &str, fields: &mut Fields<'_>) -> Option<i32> {
    let code = match name {
        "sr_set_encap_source" => {
            model.source = fields.ip6()?;
            0
        }
        "sr_policy_add" | "sr_policy_add_v2" => {
            let (bsid, _weight) = (fields.ip6()?, fields.word()?);
            let (encap, kind, table) = (fields.byte()? == 1, fields.byte()?, fields.word()?);
            let list = fields.list()?;
            let source = if name.ends_with("v2") { fields.ip6()? } else { model.source };
            model.add_policy(bsid, source, encap, kind, list, table)
        }
        "sr_policy_mod" | "sr_policy_mod_v2" => {
            let (bsid, _policy, _table) = (fields.ip6()?, fields.word()?, fields.word()?);
            let (operation, index, _weight) = (fields.byte()?, fields.word()?, fields.word()?);
            let list = fields.list()?;
            if name.ends_with("v2") {
                fields.ip6()?;
            }
            model.modify_policy(bsid, operation, index, list)
        }
        "sr_policy_del" => {
            let (bsid, _policy) = (fields.ip6()?, fields.word()?);
            model.delete_policy(bsid)
        }
        "sr_steering_add_del" => {
            let (delete, bsid) = (fields.byte()? == 1, fields.ip6()?);
            let (_policy, table, prefix) = (fields.word()?, fields.word()?, fields.prefix()?);
            let (_interface, traffic) = (fields.word()?, fields.byte()?);
            model.steer(delete, bsid, table, prefix, traffic)
        }
        _ => return None,
    };
    if !fields.0.is_empty() {
        model.abuse = Some(format!("{} bytes too many in {name}", fields.0.len()));
    }
    Some(code)
}

fn interfaces(model: &Model, details: impl Fn() -> Message) -> Vec<Message> {
    // Index 0 is an interface that every VPP has.
    let names = std::iter::once("local0").chain(model.setup.interfaces.iter().map(|(name, _)| name.as_str()));
    let one = |(name, index): (&str, u32)| {
        let fixed = details().word(index).word(index).zeros(22).zeros(18).zeros(13).zeros(36);
        fixed.text(name, 64).text("stand-in", 64).text("", 64)
    };
    names.zip(0..).map(one).collect()
}

fn addresses(model: &Model, fields: &mut Fields<'_>, details: impl Fn() -> Message) -> Vec<Message> {
    let (Some(interface), Some(ipv6)) = (fields.word(), fields.byte()) else { return Vec::new() };
    let place = interface.checked_sub(1).and_then(|place| usize::try_from(place).ok());
    let Some((_, addresses)) = place.and_then(|place| model.setup.interfaces.get(place)) else {
        return Vec::new();
    };
    let of_family = addresses.iter().filter(|(address, _)| address.is_ipv6() == (ipv6 == 1));
    of_family.map(|&(address, length)| details().word(interface).address(address).byte(length)).collect()
}

fn look_up(model: &Model, fields: &mut Fields<'_>, reply: Message) -> Option<Message> {
    let (table, exact, prefix) = (fields.word()?, fields.byte()? == 1, fields.prefix()?);
    let entry = match model.look_up(table, prefix, exact) {
        Ok(entry) => entry,
        Err(code) => return Some(reply.code(code).zeros(4 + 4 + 18 + 1)),
    };
    let head = reply.code(0).word(table).word(17).prefix(entry.prefix).byte(1);
    let path = head.word(entry.interface).word(0).word(0).byte(1).byte(0).word(entry.kind).word(0);
    let path = match entry.next_hop {
        Some(std::net::IpAddr::V4(address)) => path.word(0).union(address),
        Some(std::net::IpAddr::V6(address)) => path.word(1).ip6(address),
        None => path.word(if prefix.address().is_ipv4() { 0 } else { 1 }).zeros(16),
    };
    Some(path.zeros(12).byte(0).zeros(16 * 7))
}

fn counted(policy: &Policy) -> u8 {
    u8::try_from(policy.lists.len()).unwrap_or(u8::MAX)
}

fn older(policy: &Policy, reply: Message) -> Message {
    let head = reply.ip6(policy.bsid).byte(policy.kind).byte(policy.encap.into()).word(policy.table);
    lists(policy, head.byte(counted(policy)))
}

fn newer(policy: &Policy, reply: Message) -> Message {
    let head = reply.ip6(policy.bsid).ip6(policy.source).byte(policy.kind).byte(policy.encap.into());
    lists(policy, head.word(policy.table).byte(counted(policy)))
}

fn lists(policy: &Policy, head: Message) -> Message {
    policy.lists.iter().fold(head, |message, list| {
        message
            .byte(u8::try_from(list.segments.len()).unwrap_or(0))
            .word(list.weight)
            .segments(&list.segments)
    })
}

fn indexed(policy: &Policy, reply: Message) -> Message {
    let head = reply.ip6(policy.bsid).byte(policy.kind).byte(policy.encap.into()).word(policy.table);
    policy.lists.iter().fold(head.byte(counted(policy)), |message, list| {
        let head = message.byte(u8::try_from(list.segments.len()).unwrap_or(0)).word(list.weight);
        head.word(list.index).segments(&list.segments)
    })
}
