//! Messages byte by byte, as VPP 26.10-rc0 (revision b575ec2) takes and gives them.
//!
//! Each request is given as the fields of its definition in VPP's `.api` files, in hexadecimal. To requests with these
//! contents, from another client, a real VPP answered 0, -12 for the second add, 0, 0, 0, and one policy with two lists of
//! weight 1 and 3.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper functions fail as tests do")]

use std::io::{Read, Write};
use std::net::Ipv6Addr;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use proptest::prelude::*;
use srv6_fabric::Prefix;
use srv6_routes::vpp::message::{
    AddPolicy, AddPolicyV1, AddressDump, ControlPing, ControlPingReply, DeletePolicy, InterfaceDump,
    ListChange, Lookup, Message, ModifyPolicy, ModifyPolicyV1, PoliciesDump, PoliciesV1Dump, PolicyDetails,
    PolicyLists, PolicyListsDump, Reply, Request, SegmentList, SetEncapSource, ShowVersion, Steer,
    SteeringDetails, SteeringDump, read_as_anything,
};
use srv6_routes::vpp::{Client, Reader, Writer};

const BSID: &str = "fc000000000000000000000000090001";
const SID: &str = "fc00000012001001 1201fe0600000000";
const OTHER: &str = "fc00000012001000 1201fe0600000000";
const SOURCE: &str = "20010db8100000000000000000000002";

fn ip6(hex: &str) -> Ipv6Addr {
    <[u8; 16]>::try_from(bytes(hex)).unwrap().into()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A list in a message: number of segments, weight, room for sixteen.
fn list_bytes(segments: &[&str], weight: &str, index: &str) -> String {
    let room = "0".repeat(32 * (16 - segments.len()));
    format!("{:02x}{weight}{index}{}{room}", segments.len(), segments.concat())
}

fn list(segment: &str, weight: u32) -> SegmentList {
    SegmentList { weight, segments: vec![ip6(segment)] }
}

/// The fields that follow number, client index and context.
fn fields(request: &impl Request) -> Vec<u8> {
    let mut writer = Writer::default();
    request.write(&mut writer);
    // Without the frame.
    writer.framed().split_off(16)
}

fn check(request: &impl Request, hex: &str) {
    assert_eq!(fields(request), bytes(hex), "{request:?}");
}

fn read<R: Reply>(hex: &str) -> R {
    let message = bytes(hex);
    R::read(&mut Reader::new(&message)).unwrap()
}

#[test]
fn requests_are_what_vpp_takes() {
    let add = AddPolicy { bsid: ip6(BSID), list: list(SID, 1), source: ip6(SOURCE) };
    let body = list_bytes(&[SID], "00000001", "");
    // bsid, weight, is_encap, type, fib_table, sids, encap_src.
    check(&add, &format!("{BSID} 00000001 01 00 00000000 {body} {SOURCE}"));
    // The older one has is_spray for the type, and no source.
    check(&AddPolicyV1(add), &format!("{BSID} 00000001 01 00 00000000 {body}"));

    // bsid, sr_policy_index, fib_table, operation, sl_index, weight, sids, encap_src.
    let change = |change| ModifyPolicy { bsid: ip6(BSID), change, source: ip6(SOURCE) };
    let body = list_bytes(&[OTHER], "00000003", "");
    let hex = format!("{BSID} ffffffff 00000000 01 ffffffff 00000003 {body}");
    check(&change(ListChange::Add(list(OTHER, 3))), &format!("{hex} {SOURCE}"));
    check(&ModifyPolicyV1(change(ListChange::Add(list(OTHER, 3)))), &hex);
    let empty = list_bytes(&[], "00000000", "");
    check(
        &change(ListChange::Delete(5)),
        &format!("{BSID} ffffffff 00000000 02 00000005 00000000 {empty} {SOURCE}"),
    );
    let empty = list_bytes(&[], "00000007", "");
    check(
        &change(ListChange::Weight(5, 7)),
        &format!("{BSID} ffffffff 00000000 03 00000005 00000007 {empty} {SOURCE}"),
    );

    check(&DeletePolicy(ip6(BSID)), &format!("{BSID} ffffffff"));
    check(&SetEncapSource(ip6(SOURCE)), SOURCE);

    // is_del, bsid, sr_policy_index, table_id, prefix (family, address, length), sw_if_index, traffic_type.
    let steer = |delete, table, prefix: &str| Steer {
        delete,
        bsid: ip6(BSID),
        table,
        prefix: prefix.parse().unwrap(),
    };
    check(
        &steer(false, 0, "2001:db8:1001::2/128"),
        &format!("00 {BSID} ffffffff 00000000 01 20010db8100100000000000000000002 80 ffffffff 06"),
    );
    check(
        &steer(true, 7, "10.1.3.2/32"),
        &format!("01 {BSID} ffffffff 00000007 00 0a010302000000000000000000000000 20 ffffffff 04"),
    );
    check(&InterfaceDump, "ffffffff 00 00000000");
    check(&AddressDump { interface: 2, ipv6: true }, "00000002 01");
    let prefix = Prefix::host(ip6(SID).into());
    check(&Lookup { table: 0, exact: false, prefix }, &format!("00000000 00 01 {SID} 80"));
    check(&ControlPing, "");
}

#[test]
fn names_and_crcs_are_vpps() {
    fn name<M: Message>() -> String {
        format!("{}_{:08x}", M::NAME, M::CRC)
    }
    let known = [
        (name::<SetEncapSource>(), "sr_set_encap_source_d3bad5e1"),
        (name::<AddPolicyV1>(), "sr_policy_add_44ac92e8"),
        (name::<AddPolicy>(), "sr_policy_add_v2_f6297f36"),
        (name::<ModifyPolicy>(), "sr_policy_mod_v2_c0544823"),
        (name::<DeletePolicy>(), "sr_policy_del_cb4d48d5"),
        (name::<Steer>(), "sr_steering_add_del_e46b0a0f"),
        (name::<PolicyDetails>(), "sr_policies_v2_details_96dcb699"),
        (name::<SteeringDetails>(), "sr_steering_pol_details_d41258c9"),
        (name::<ControlPing>(), "control_ping_51077d14"),
        (name::<ControlPingReply>(), "control_ping_reply_f6b0b8ca"),
        (name::<ShowVersion>(), "show_version_51077d14"),
        (name::<PoliciesDump>(), "sr_policies_v2_dump_51077d14"),
        (name::<PoliciesV1Dump>(), "sr_policies_dump_51077d14"),
        (name::<PolicyListsDump>(), "sr_policies_with_sl_index_dump_51077d14"),
        (name::<SteeringDump>(), "sr_steering_pol_dump_51077d14"),
    ];
    for (ours, vpps) in known {
        assert_eq!(ours, vpps);
    }
}

#[test]
fn details_are_read_as_vpp_gives_them() {
    let two = [list_bytes(&[SID], "00000001", ""), list_bytes(&[OTHER], "00000003", "")].concat();
    // bsid, encap_src, type, is_encap, fib_table, number of lists, lists.
    let policy: PolicyDetails = read(&format!("{BSID} {SOURCE} 00 01 00000000 02 {two}"));
    let lists = vec![list(SID, 1), list(OTHER, 3)];
    let expected =
        PolicyDetails { bsid: ip6(BSID), source: ip6(SOURCE), kind: 0, encap: true, table: 0, lists };
    assert_eq!(policy, expected);

    let indexed = list_bytes(&[SID, OTHER], "00000001", "0000002a");
    let lists: PolicyLists = read(&format!("{BSID} 00 01 00000000 01 {indexed}"));
    let both = SegmentList { weight: 1, segments: vec![ip6(SID), ip6(OTHER)] };
    assert_eq!(lists, PolicyLists { bsid: ip6(BSID), lists: vec![(42, both)] });

    // traffic_type, fib_table, prefix, sw_if_index (for layer 3: bytes of the prefix), bsid.
    let steering: SteeringDetails =
        read(&format!("06 00000007 01 20010db8100100000000000000000002 80 20010db8 {BSID}"));
    let key = (7, "2001:db8:1001::2/128".parse().unwrap());
    assert_eq!(steering, SteeringDetails { prefix: Some(key), bsid: ip6(BSID) });
    let steering: SteeringDetails =
        read(&format!("04 00000000 00 0a010300000000000000000000000000 18 00000000 {BSID}"));
    assert_eq!(steering.prefix, Some((0, "10.1.3.0/24".parse().unwrap())));
    let layer2: SteeringDetails =
        read(&format!("02 00000000 00 00000000000000000000000000000000 00 00000003 {BSID}"));
    assert_eq!(layer2.prefix, None);
}

#[test]
fn the_handshake_is_what_vpp_expects() {
    let socket = std::env::temp_dir().join(format!("vpp-{}-handshake.sock", std::process::id()));
    let listener = UnixListener::bind(&socket).unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = vec![0; 16 + 2 + 4 + 64];
        stream.read_exact(&mut hello).unwrap();
        // One message in the table, index 0x80000001, and a ping that is answered.
        let mut entry = b"control_ping_51077d14".to_vec();
        entry.resize(64, 0);
        let mut reply_entry = b"control_ping_reply_f6b0b8ca".to_vec();
        reply_entry.resize(64, 0);
        let table = [bytes("0203"), entry, bytes("0204"), reply_entry].concat();
        let reply = [bytes("0010 00000000 00000000 00000000 80000001 0002"), table].concat();
        let frame = format!("0000000000000000 {:08x} 00000000", reply.len());
        stream.write_all(&[bytes(&frame), reply].concat()).unwrap();
        let mut ping = vec![0; 16 + 2 + 4 + 4];
        stream.read_exact(&mut ping).unwrap();
        stream
            .write_all(&bytes("0000000000000000 00000012 00000000 0204 00000001 00000000 80000001 0000002a"))
            .unwrap();
        (hello, ping)
    });
    let mut client = Client::connect(&socket, Duration::from_secs(60)).unwrap();
    let reply = client.call(&ControlPing).unwrap();
    assert_eq!((reply.client, reply.process), (0x8000_0001, 42));
    let (hello, ping) = peer.join().unwrap();
    // u64 0, length, u32 0; number 15, context, name.
    let mut expected = bytes("0000000000000000 00000046 00000000 000f 00000000");
    expected.extend(b"nccl-net-srv6");
    expected.resize(16 + 70, 0);
    assert_eq!(hello, expected);
    // Number of VPP's own table, the index that it gave, context 1.
    assert_eq!(ping, bytes("0000000000000000 0000000a 00000000 0203 80000001 00000001"));
    std::fs::remove_file(&socket).unwrap();
}

proptest! {
    #[test]
    fn nothing_that_comes_makes_the_decoder_fail(message in prop::collection::vec(any::<u8>(), 0..3000)) {
        // Bytes that are no message are refused, and the few that happen to be one are read.
        prop_assert!(read_as_anything(&message) <= 11);
    }

    #[test]
    fn a_message_cut_short_or_with_more_is_never_read(count in 0usize..4, cut in 1usize..200, more in 1usize..9) {
        let lists = list_bytes(&[SID, OTHER], "00000001", "").repeat(count);
        let whole = bytes(&format!("{BSID} {SOURCE} 00 01 00000000 {count:02x} {lists}"));
        let mut reader = Reader::new(&whole);
        prop_assert_eq!(PolicyDetails::read(&mut reader).unwrap().lists.len(), count);
        let short = &whole[..whole.len().saturating_sub(cut)];
        prop_assert!(PolicyDetails::read(&mut Reader::new(short)).is_err());
        let long = [whole, vec![0; more]].concat();
        let mut reader = Reader::new(&long);
        PolicyDetails::read(&mut reader).unwrap();
        prop_assert!(reader.end().is_err());
    }
}
