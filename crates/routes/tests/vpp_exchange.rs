//! A whole exchange byte by byte, both ways, as VPP 26.10-rc0 (revision b575ec2) has it.
//!
//! The requests and return values are those of a session with a real VPP: a policy, the same once more, a second list of weight 3,
//! an IPv6 and an IPv4 destination steered into it, the lists of policies and of what is steered, and the way back. The numbers of messages
//! are made up, as they are others in every build.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper functions fail as tests do")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use srv6_routes::vpp::Client;
use srv6_routes::vpp::message::{
    AddPolicy, DeletePolicy, ListChange, ModifyPolicy, PoliciesDump, PolicyDetails, SegmentList,
    SetEncapSource, Steer, SteeringDetails, SteeringDump,
};

const BSID: &str = "fc00000000000000 0000000000090001";
const ONE: &str = "fc00000012001001 1201fe0600000000";
const OTHER: &str = "fc00000012001000 1201fe0600000000";
const SOURCE: &str = "20010db810000000 0000000000000002";
const V6: &str = "01 20010db810010000 0000000000000002 80";
const V4: &str = "00 0a01030200000000 0000000000000000 20";

/// Every message with the CRC that this VPP gives it, in the order of the numbers that they have here: 0x0400, 0x0401, …
const TABLE: [&str; 16] = [
    "sr_set_encap_source_d3bad5e1",
    "sr_set_encap_source_reply_e8d4e804",
    "sr_policy_add_v2_f6297f36",
    "sr_policy_add_v2_reply_e8d4e804",
    "sr_policy_mod_v2_c0544823",
    "sr_policy_mod_v2_reply_e8d4e804",
    "sr_policy_del_cb4d48d5",
    "sr_policy_del_reply_e8d4e804",
    "sr_steering_add_del_e46b0a0f",
    "sr_steering_add_del_reply_e8d4e804",
    "sr_policies_v2_dump_51077d14",
    "sr_policies_v2_details_96dcb699",
    "sr_steering_pol_dump_51077d14",
    "sr_steering_pol_details_d41258c9",
    "control_ping_51077d14",
    "control_ping_reply_f6b0b8ca",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A message in its frame: eight bytes of nothing, the length, four bytes of nothing.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0; 8], &length[..], &[0; 4], message].concat()
}

/// A list: 1 segment, its weight, room for sixteen. 261 bytes.
fn list(segment: &str, weight: u32) -> String {
    format!("01 {weight:08x} {segment} {}", "00".repeat(15 * 16))
}

/// What comes, to the byte, and what is answered: number, client index 0x80000001 and context are in front.
fn session() -> Vec<(String, Vec<String>)> {
    let policy = |n: u8| {
        let lists = format!("{} {SOURCE}", list(ONE, 1));
        format!("0402 80000001 {n:08x} {BSID} 00000001 01 00 00000000 {lists}")
    };
    let steer = |n: u8, delete: u8, prefix: &str, kind: u8| {
        format!("0408 80000001 {n:08x} {delete:02x} {BSID} ffffffff 00000000 {prefix} ffffffff {kind:02x}")
    };
    let code = |number: u16, n: u8, code: i32| vec![format!("{number:04x} {n:08x} {code:08x}")];
    let ping = |n: u8| format!("040e 80000001 {n:08x}");
    let pong = |n: u8| format!("040f {n:08x} 00000000 80000001 00001267");
    let both = format!("{} {}", list(ONE, 1), list(OTHER, 3));
    vec![
        (format!("0400 80000001 00000001 {SOURCE}"), code(0x401, 1, 0)),
        (policy(2), code(0x403, 2, 0)),
        // In two's complement: 0xfffffff4.
        (policy(3), code(0x403, 3, -12)),
        (
            format!(
                "0404 80000001 00000004 {BSID} ffffffff 00000000 01 ffffffff 00000003 {} {SOURCE}",
                list(OTHER, 3)
            ),
            code(0x405, 4, 0),
        ),
        (steer(5, 0, V6, 6), code(0x409, 5, 0)),
        (steer(6, 0, V4, 4), code(0x409, 6, 0)),
        // A dump isn't answered before the ping behind it is.
        ("040a 80000001 00000007".to_owned(), Vec::new()),
        (ping(8), vec![format!("040b 00000007 {BSID} {SOURCE} 00 01 00000000 02 {both}"), pong(8)]),
        ("040c 80000001 00000009".to_owned(), Vec::new()),
        (
            ping(10),
            vec![
                format!("040d 00000009 04 00000000 {V4} 00000000 {BSID}"),
                format!("040d 00000009 06 00000000 {V6} 20010db8 {BSID}"),
                pong(10),
            ],
        ),
        (steer(11, 1, V6, 6), code(0x409, 11, 0)),
        (steer(12, 1, V6, 6), code(0x409, 12, -4)),
        (format!("0406 80000001 0000000d {BSID} ffffffff"), code(0x407, 13, 0)),
        (format!("0406 80000001 0000000e {BSID} ffffffff"), code(0x407, 14, -1)),
    ]
}

#[test]
fn a_session_with_a_real_vpp_is_the_same_to_the_byte() {
    let socket = std::env::temp_dir().join(format!("vpp-{}-exchange.sock", std::process::id()));
    let listener = UnixListener::bind(&socket).unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = vec![0; 16 + 2 + 4 + 64];
        stream.read_exact(&mut hello).unwrap();
        // Number, client index, context, response, index, count; then number and name, filled up to 64 bytes.
        let mut reply = bytes("0010 00000000 00000000 00000000 80000001 0010");
        for (number, name) in (0x400_u16..).zip(TABLE) {
            let mut entry = name.as_bytes().to_vec();
            entry.resize(64, 0);
            reply.extend(number.to_be_bytes());
            reply.extend(entry);
        }
        stream.write_all(&framed(&reply)).unwrap();
        for (request, replies) in session() {
            let request = framed(&bytes(&request));
            let mut came = vec![0; request.len()];
            stream.read_exact(&mut came).unwrap();
            assert_eq!(came, request);
            for reply in replies {
                stream.write_all(&framed(&bytes(&reply))).unwrap();
            }
        }
    });
    let address = |hex: &str| std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes(hex)).unwrap());
    let segments = |hex: &str, weight| SegmentList { weight, segments: vec![address(hex)] };
    let (bsid, source) = (address(BSID), address(SOURCE));
    let [v6, v4] = ["2001:db8:1001::2/128", "10.1.3.2/32"].map(|prefix| prefix.parse().unwrap());
    let steer = |delete, prefix| Steer { delete, bsid, table: 0, prefix };

    let mut client = Client::connect(&socket, Duration::from_secs(60)).unwrap();
    assert_eq!(client.messages(), TABLE.len());
    assert_eq!(client.call(&SetEncapSource(source)).unwrap().retval, 0);
    let add = AddPolicy { bsid, list: segments(ONE, 1), source };
    assert_eq!(client.call(&add).unwrap().retval, 0);
    assert_eq!(client.call(&add).unwrap().retval, -12);
    let change = ListChange::Add(segments(OTHER, 3));
    assert_eq!(client.call(&ModifyPolicy { bsid, change, source }).unwrap().retval, 0);
    assert_eq!(client.call(&steer(false, v6)).unwrap().retval, 0);
    assert_eq!(client.call(&steer(false, v4)).unwrap().retval, 0);
    let lists = vec![segments(ONE, 1), segments(OTHER, 3)];
    let policy = PolicyDetails { bsid, source, kind: 0, encap: true, table: 0, lists };
    assert_eq!(client.dump(&PoliciesDump).unwrap(), [policy]);
    let steered = [v4, v6].map(|prefix| SteeringDetails { prefix: Some((0, prefix)), bsid });
    assert_eq!(client.dump(&SteeringDump).unwrap(), steered);
    assert_eq!(client.call(&steer(true, v6)).unwrap().retval, 0);
    assert_eq!(client.call(&steer(true, v6)).unwrap().retval, -4);
    assert_eq!(client.call(&DeletePolicy(bsid)).unwrap().retval, 0);
    assert_eq!(client.call(&DeletePolicy(bsid)).unwrap().retval, -1);
    peer.join().unwrap();
    std::fs::remove_file(&socket).unwrap();
}
