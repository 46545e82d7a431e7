//! Which messages there are, and under which numbers.

/// Which messages this VPP has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Offer {
    /// Those of VPP 26.10-rc0.
    #[default]
    Current,
    /// Those of a VPP whose policies have no source address each.
    Older,
    /// No segment routing.
    WithoutSegmentRouting,
    /// This message with another definition.
    Changed(&'static str),
    /// Not this message.
    Without(&'static str),
}

/// Every message with its CRC. The order gives the numbers.
const MESSAGES: [(&str, u32); 38] = [
    ("control_ping", 0x5107_7d14),
    ("control_ping_reply", 0xf6b0_b8ca),
    ("show_version", 0x5107_7d14),
    ("show_version_reply", 0xc919_bde1),
    ("sw_interface_dump", 0xaa61_0c27),
    ("sw_interface_details", 0x6c22_1fc7),
    ("ip_address_dump", 0x2d03_3de4),
    ("ip_address_details", 0xee29_b797),
    ("ip_table_dump", 0x5107_7d14),
    ("ip_table_details", 0xc79f_ca0f),
    ("ip_route_lookup", 0x710d_6471),
    ("ip_route_lookup_reply", 0x5d8f_ebcb),
    ("sr_set_encap_source", 0xd3ba_d5e1),
    ("sr_set_encap_source_reply", 0xe8d4_e804),
    ("sr_policy_add", 0x44ac_92e8),
    ("sr_policy_add_reply", 0xe8d4_e804),
    ("sr_policy_add_v2", 0xf629_7f36),
    ("sr_policy_add_v2_reply", 0xe8d4_e804),
    ("sr_policy_mod", 0xb97b_b56e),
    ("sr_policy_mod_reply", 0xe8d4_e804),
    ("sr_policy_mod_v2", 0xc054_4823),
    ("sr_policy_mod_v2_reply", 0xe8d4_e804),
    ("sr_policy_del", 0xcb4d_48d5),
    ("sr_policy_del_reply", 0xe8d4_e804),
    ("sr_steering_add_del", 0xe46b_0a0f),
    ("sr_steering_add_del_reply", 0xe8d4_e804),
    ("sr_policies_dump", 0x5107_7d14),
    ("sr_policies_details", 0xdb6f_f2a1),
    ("sr_policies_v2_dump", 0x5107_7d14),
    ("sr_policies_v2_details", 0x96dc_b699),
    ("sr_policies_with_sl_index_dump", 0x5107_7d14),
    ("sr_policies_with_sl_index_details", 0xca2e_9bc8),
    ("sr_steering_pol_dump", 0x5107_7d14),
    ("sr_steering_pol_details", 0xd412_58c9),
    ("sockclnt_create", 0x455f_b9c4),
    ("sockclnt_create_reply", 0x3516_6268),
    ("sockclnt_delete", 0x8ac7_6db6),
    ("sockclnt_delete_reply", 0x8f38_b1ee),
];

/// Number of the first message; real ones begin anywhere, too.
const FIRST: u16 = 703;

/// Messages that nobody here asks for. A real VPP has hundreds.
const OTHERS: u16 = 811;

/// The table that the handshake sends: number, and name with CRC.
pub(crate) fn table(offer: Offer) -> Vec<(u16, String)> {
    let others = (0..OTHERS).map(|n| (n + 2000, format!("other_message_{n}_{:08x}", u32::from(n) * 7919)));
    let own = MESSAGES.iter().zip(FIRST..).filter_map(|(&(name, crc), number)| {
        let crc = match offer {
            Offer::Changed(changed) if changed == name => 0x0bad_c0de,
            Offer::Without(missing) if missing == name => return None,
            Offer::WithoutSegmentRouting if name.starts_with("sr_") => return None,
            Offer::Older if name.contains("_v2") => return None,
            _ => crc,
        };
        Some((number, format!("{name}_{crc:08x}")))
    });
    others.chain(own).collect()
}

/// The name of a number.
pub(crate) fn name(number: u16) -> Option<&'static str> {
    let place = usize::from(number.checked_sub(FIRST)?);
    MESSAGES.get(place).map(|(name, _)| *name)
}

/// The number of a name.
pub(crate) fn number(name: &str) -> u16 {
    MESSAGES.iter().zip(FIRST..).find(|((other, _), _)| *other == name).map_or(0, |(_, number)| number)
}
