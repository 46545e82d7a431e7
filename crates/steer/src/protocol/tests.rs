//! Whatever is written is read back, and whatever else comes is an error and no panic.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use srv6_fabric::{Flow, Segments};
use srv6_routes::Slot;

use super::*;
use crate::{LanePath, Lanes, LanesWanted, Steered};

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn path() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..6)
}

fn flow() -> impl Strategy<Value = Flow> {
    (any::<IpAddr>(), any::<IpAddr>()).prop_map(|(src, dst)| Flow { src, dst })
}

fn segments() -> impl Strategy<Value = Segments> {
    prop::collection::vec(any::<Ipv6Addr>(), 1..5).prop_map(|list| Segments::new(list).unwrap())
}

fn slot() -> impl Strategy<Value = Slot> {
    (0..16usize).prop_map(|number| Slot::new(number).unwrap())
}

fn pinning() -> impl Strategy<Value = Pinning> {
    prop::sample::select(Pinning::NAMES.map(|(_, pinning)| pinning).to_vec())
}

fn micros() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|n| Duration::from_micros(n.into()))
}

fn hello() -> impl Strategy<Value = Hello> {
    let rank = prop::option::of(0..u32::MAX);
    let labels = prop::collection::vec((text(), text()), 0..4);
    (any::<u16>(), any::<bool>(), text(), rank, labels).prop_map(|(version, marks, job, rank, labels)| {
        Hello { version, abilities: Abilities { marks }, job, rank, labels }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let wanted = (0..20usize, prop::option::of(pinning()), prop::collection::vec(path(), 0..4))
        .prop_map(|(count, pinning, along)| LanesWanted { count, pinning, along });
    prop_oneof![
        hello().prop_map(Request::Hello),
        (any::<u32>(), flow()).prop_map(|(id, flow)| Request::RegisterFlow { id, flow }),
        (any::<u32>(), flow(), wanted).prop_map(|(id, flow, wanted)| Request::RegisterLanes {
            id,
            flow,
            wanted
        }),
        any::<u32>().prop_map(|id| Request::Deregister { id }),
        (any::<u32>(), any::<u8>(), segments(), path()).prop_map(|(id, lane, seen, hops)| Request::Avoid {
            id,
            lane,
            seen,
            hops
        }),
        (any::<u32>(), any::<u8>(), path()).prop_map(|(id, lane, path)| Request::Follow { id, lane, path }),
        any::<u32>().prop_map(|token| Request::Settle { token }),
        (any::<u32>(), slot()).prop_map(|(token, slot)| Request::Mark { token, slot }),
        (any::<u32>(), text()).prop_map(|(token, json)| Request::Control { token, json }),
    ]
}

fn steered() -> impl Strategy<Value = Steered> {
    (path(), text(), text(), micros(), micros()).prop_map(|(hops, carrier, origin, took, asking)| Steered {
        hops,
        carrier,
        origin,
        took,
        asking,
    })
}

fn lanes() -> impl Strategy<Value = Lanes> {
    let lane = (slot(), segments(), prop::option::of(1280..65_536u32), steered()).prop_map(
        |(slot, segments, mtu, steered)| {
            let steered = Steered { carrier: segments.to_string(), ..steered };
            LanePath { slot, segments, mtu, steered }
        },
    );
    (pinning(), prop::collection::vec(lane, 0..9), 0..300usize).prop_map(|(pinning, lanes, spares)| Lanes {
        pinning,
        lanes,
        spares,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any::<u16>(), text()).prop_map(|(version, agent)| Event::Welcome { version, agent }),
        text().prop_map(|reason| Event::Refused { reason }),
        any::<u32>().prop_map(|id| Event::Pending { id }),
        (any::<u32>(), steered()).prop_map(|(id, steered)| Event::FlowReady { id, steered }),
        (any::<u32>(), steered()).prop_map(|(id, steered)| Event::FlowChanged { id, steered }),
        (any::<u32>(), lanes()).prop_map(|(id, lanes)| Event::LanesReady { id, lanes }),
        (any::<u32>(), lanes()).prop_map(|(id, lanes)| Event::LanesChanged { id, lanes }),
        (any::<u32>(), text()).prop_map(|(id, reason)| Event::Failed { id, reason }),
        any::<u32>().prop_map(|token| Event::Settled { token }),
        (any::<u32>(), text()).prop_map(|(token, refusal)| Event::Marked { token, refusal }),
        (any::<u32>(), any::<bool>(), text()).prop_map(|(token, more, json)| Event::Answer {
            token,
            more,
            json
        }),
    ]
}

/// All frames of a stream that comes in pieces of this size.
fn cut(stream: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Frames::default();
    let mut found = Vec::new();
    for bytes in stream.chunks(piece) {
        frames.push(bytes);
        while let Some((kind, payload)) = frames.next_frame().unwrap() {
            found.push((kind, payload.to_vec()));
        }
    }
    assert!(!frames.is_half());
    found
}

proptest! {
    #[test]
    fn requests_come_back(requests in prop::collection::vec(request(), 1..8), piece in 1..50usize) {
        let stream: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        let read: Result<Vec<_>, _> =
            cut(&stream, piece).iter().map(|(kind, payload)| Request::decode(*kind, payload)).collect();
        prop_assert_eq!(read, Ok(requests));
    }

    #[test]
    fn events_come_back(events in prop::collection::vec(event(), 1..8), piece in 1..50usize) {
        let stream: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        let read: Result<Vec<_>, _> =
            cut(&stream, piece).iter().map(|(kind, payload)| Event::decode(*kind, payload)).collect();
        prop_assert_eq!(read, Ok(events));
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut frames = Frames::default();
        frames.push(&bytes);
        while let Ok(Some((kind, payload))) = frames.next_frame() {
            let _ = Request::decode(kind, payload);
            let _ = Event::decode(kind, payload);
        }
        for kind in [0x01..=0x09, 0x81..=0x8b].into_iter().flatten() {
            let _ = Request::decode(kind, &bytes);
            let _ = Event::decode(kind, &bytes);
        }
    }

    #[test]
    fn a_message_that_is_cut_short_is_none(request in request(), event in event(), at in any::<prop::sample::Index>()) {
        for frame in [request.encode(), event.encode()] {
            // Length and type stay; a text that fills the frame may be any shorter one.
            let payload = &frame[5..];
            let cut = at.index(payload.len().max(1));
            if cut < payload.len() && !matches!(frame[4], 0x09 | 0x8b) {
                let request = Request::decode(frame[4], &payload[..cut]);
                let event = Event::decode(frame[4], &payload[..cut]);
                prop_assert!(request.is_err() && event.is_err(), "{request:?} {event:?}");
            }
        }
    }
}

#[test]
fn lengths_that_no_frame_has_end_the_stream() {
    for length in [0, MAX_FRAME + 1, u32::MAX as usize] {
        let mut frames = Frames::default();
        frames.push(&u32::try_from(length).unwrap().to_be_bytes());
        assert_eq!(frames.next_frame(), Err(ProtocolError::Length { length }));
    }
}

#[test]
fn fields_that_mean_nothing_are_named() {
    let error = Request::decode(0x08, &[0, 0, 0, 1, 16, 6]).unwrap_err().to_string();
    assert_eq!(error, "message type 0x08: slot is 16, want 0 to 15");
    let error = Request::decode(0x01, &[0; 16]).unwrap_err().to_string();
    assert_eq!(error, "message type 0x01: magic is 0, want 0x53525636");
    assert_eq!(Request::decode(0x81, &[]), Err(ProtocolError::Kind { kind: 0x81 }));
}

#[test]
fn what_a_newer_version_adds_is_left_alone() {
    let mut frame = Request::Deregister { id: 9 }.encode();
    frame.extend([1, 2, 3]);
    assert_eq!(Request::decode(frame[4], &frame[5..]), Ok(Request::Deregister { id: 9 }));
}
