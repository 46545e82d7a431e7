//! Whatever bytes a client or an agent sends, the decoder gives messages or errors, and what it gives is encoded back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srv6_steer::protocol::{Event, Frames, Request};

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::default();
    for piece in bytes.chunks(61) {
        frames.push(piece);
        loop {
            let (kind, payload) = match frames.next_frame() {
                Ok(Some((kind, payload))) => (kind, payload.to_vec()),
                Ok(None) => break,
                Err(_) => return,
            };
            if let Ok(request) = Request::decode(kind, &payload) {
                let frame = request.encode();
                assert_eq!(Request::decode(frame[4], &frame[5..]), Ok(request));
            }
            if let Ok(event) = Event::decode(kind, &payload) {
                let frame = event.encode();
                assert_eq!(Event::decode(frame[4], &frame[5..]), Ok(event));
            }
        }
    }
});
