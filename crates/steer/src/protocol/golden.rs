//! Every message's bytes, written by hand from the tables of docs/PROTOCOL.md.

use std::collections::BTreeSet;
use std::time::Duration;

use srv6_fabric::{Flow, Segments};
use srv6_routes::Slot;

use super::*;
use crate::{LanePath, Lanes, LanesWanted, Steered};

const ID: &[u8] = &[0, 0, 1, 2];
/// 2001:db8:1000::2 and 10.0.0.1.
const SOURCE: &[u8] = &[6, 0x20, 0x01, 0x0d, 0xb8, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const DESTINATION: &[u8] = &[4, 10, 0, 0, 1];
/// The names h0 and s1.
const PATH: &[u8] = b"\x02\0\x02h0\0\x02s1";
/// fc00:0:1200::
const SEGMENTS: &[u8] = &[1, 0xfc, 0, 0, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// 66051 and 258 microseconds.
const TIMES: &[u8] = &[0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 2];

/// Length, type, and the fields one after the other.
fn wire(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let payload = fields.concat();
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], &payload].concat()
}

fn flow() -> Flow {
    Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: "10.0.0.1".parse().unwrap() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn segments() -> Segments {
    Segments::new(vec!["fc00:0:1200::".parse().unwrap()]).unwrap()
}

fn steered() -> Steered {
    Steered {
        hops: names(&["h0", "s1"]),
        carrier: "fc00:0:1200::".to_owned(),
        origin: "file".to_owned(),
        took: Duration::from_micros(66051),
        asking: Duration::from_micros(258),
    }
}

fn lanes() -> Lanes {
    let slot = Slot::new(3).unwrap();
    let lane = |mtu| LanePath { slot, segments: segments(), mtu, steered: steered() };
    Lanes { pinning: Pinning::Ports, lanes: vec![lane(Some(1400)), lane(None)], spares: 258 }
}

fn requests() -> Vec<(Request, Vec<u8>)> {
    let hello = Hello {
        version: 1,
        abilities: Abilities { marks: true },
        job: "ml".to_owned(),
        rank: Some(3),
        labels: vec![("a".to_owned(), "bc".to_owned())],
    };
    let nobody = Hello { version: 1, ..Hello::default() };
    let wanted =
        LanesWanted { count: 4, pinning: Some(Pinning::Mark), along: vec![names(&["h0", "s1"]), names(&[])] };
    let (id, lane) = (258, 5);
    vec![
        (
            Request::Hello(hello),
            wire(0x01, &[b"SRV6", &[0, 1], &[1], b"\0\x02ml", &[0, 0, 0, 3], b"\x01\0\x01a\0\x02bc"]),
        ),
        (
            Request::Hello(nobody),
            wire(0x01, &[b"SRV6", &[0, 1], &[0], &[0, 0], &[0xff, 0xff, 0xff, 0xff], &[0]]),
        ),
        (Request::RegisterFlow { id, flow: flow() }, wire(0x02, &[ID, SOURCE, DESTINATION])),
        (
            Request::RegisterLanes { id, flow: flow(), wanted },
            wire(0x03, &[ID, SOURCE, DESTINATION, &[4], &[1], &[2], PATH, &[0]]),
        ),
        (Request::Deregister { id }, wire(0x04, &[ID])),
        (
            Request::Avoid { id, lane, seen: segments(), hops: names(&["h0", "s1"]) },
            wire(0x05, &[ID, &[5], SEGMENTS, PATH]),
        ),
        (Request::Follow { id, lane, path: names(&["h0", "s1"]) }, wire(0x06, &[ID, &[5], PATH])),
        (Request::Settle { token: id }, wire(0x07, &[ID])),
        (Request::Mark { token: id, slot: Slot::new(15).unwrap() }, wire(0x08, &[ID, &[15]])),
        (Request::Control { token: id, json: "{}".to_owned() }, wire(0x09, &[ID, b"{}"])),
    ]
}

fn events() -> Vec<(Event, Vec<u8>)> {
    let (id, reason) = (258, "no");
    let ready: &[&[u8]] = &[ID, PATH, b"\0\x0dfc00:0:1200::", b"\0\x04file", TIMES];
    let lane = |mtu: [u8; 4]| [&[3], &mtu[..], SEGMENTS, PATH, b"\0\x04file", TIMES].concat();
    let (limited, unknown) = (lane([0, 0, 5, 0x78]), lane([0; 4]));
    let all: &[&[u8]] = &[ID, &[2], &[1, 2], &[2], &limited, &unknown];
    vec![
        (Event::Welcome { version: 1, agent: "0.1".to_owned() }, wire(0x81, &[&[0, 1], b"\0\x030.1"])),
        (Event::Refused { reason: reason.to_owned() }, wire(0x82, &[b"\0\x02no"])),
        (Event::Pending { id }, wire(0x83, &[ID])),
        (Event::FlowReady { id, steered: steered() }, wire(0x84, ready)),
        (Event::LanesReady { id, lanes: lanes() }, wire(0x85, all)),
        (Event::Failed { id, reason: reason.to_owned() }, wire(0x86, &[ID, b"\0\x02no"])),
        (Event::FlowChanged { id, steered: steered() }, wire(0x87, ready)),
        (Event::LanesChanged { id, lanes: lanes() }, wire(0x88, all)),
        (Event::Settled { token: id }, wire(0x89, &[ID])),
        (Event::Marked { token: id, refusal: reason.to_owned() }, wire(0x8a, &[ID, b"\0\x02no"])),
        (Event::Answer { token: id, more: true, json: "{}".to_owned() }, wire(0x8b, &[ID, &[1], b"{}"])),
    ]
}

#[test]
fn bytes_are_those_of_the_document() {
    for (request, bytes) in requests() {
        assert_eq!(request.encode(), bytes, "{request:?}");
        assert_eq!(Request::decode(bytes[4], &bytes[5..]), Ok(request));
    }
    for (event, bytes) in events() {
        assert_eq!(event.encode(), bytes, "{event:?}");
        assert_eq!(Event::decode(bytes[4], &bytes[5..]), Ok(event));
    }
}

#[test]
fn every_type_of_the_document_is_here() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let types = document.lines().filter_map(|line| line.strip_prefix("| 0x")?.get(..2));
    let documented: BTreeSet<u8> = types.map(|kind| u8::from_str_radix(kind, 16).unwrap()).collect();
    let (requests, events) = (requests(), events());
    let frames = requests.iter().map(|(_, frame)| frame).chain(events.iter().map(|(_, frame)| frame));
    assert_eq!(frames.map(|frame| frame[4]).collect::<BTreeSet<u8>>(), documented);
}
