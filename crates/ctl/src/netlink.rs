//! Questions to the kernel over netlink, each on a socket of its own in the calling thread's network namespace.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Bytes of `struct nlmsghdr` (linux/netlink.h).
const HEADER: usize = 16;

/// Kinds of the kernel's closing messages (linux/netlink.h).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// What follows the header.
    pub(crate) body: Vec<u8>,
}

/// Sends one request and collects what comes back, up to the kernel's acknowledgement or the end of a dump.
///
/// # Errors
/// The kernel's refusal, as its errno.
pub(crate) fn ask(protocol: isize, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Answer>> {
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    exchange(protocol, &bytes)
}

/// As [`ask`], for a message of rtnetlink; gives the messages of the answer.
///
/// # Errors
/// The kernel's refusal, as its errno, or an answer that isn't rtnetlink's.
pub(crate) fn ask_route(request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = flags | NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let answers = exchange(NETLINK_ROUTE, &bytes)?;
    answers
        .iter()
        .map(|answer| {
            let mut header = NetlinkHeader::default();
            header.message_type = answer.kind;
            RouteNetlinkMessage::deserialize(&header, &answer.body).map_err(io::Error::other)
        })
        .collect()
}

fn exchange(protocol: isize, request: &[u8]) -> io::Result<Vec<Answer>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((answer, after)) = split(rest) {
            match answer.kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => {
                    let code = answer.body.first_chunk().copied().map_or(0, i32::from_ne_bytes);
                    return if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ => answers.push(answer),
            }
            rest = after;
        }
    }
}

/// The first message of a datagram, and what is behind it.
fn split(bytes: &[u8]) -> Option<(Answer, &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?.to_vec();
    // Messages are padded to four bytes.
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((Answer { kind, body }, after))
}

/// One attribute as bytes: `struct nlattr`, the value, padding to four bytes.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attributes in some bytes, as kind (without its flag bits) and value; ends at the first that is cut short.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        // The upper two bits say "nested" and "big-endian" (NLA_TYPE_MASK).
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?) & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::NLM_F_DUMP;
    use netlink_packet_route::link::LinkMessage;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let bytes = [attribute(1, b"ab"), attribute(0x8002, &[1, 2, 3, 4])].concat();
        assert_eq!(bytes.len(), 16);
        let read: Vec<(u16, &[u8])> = attributes(&bytes).collect();
        assert_eq!(read, [(1, b"ab".as_slice()), (2, &[1, 2, 3, 4])]);
        assert_eq!(attributes(&bytes[..5]).count(), 0, "a value that is cut short");
    }

    #[test]
    fn a_dump_ends_and_a_refusal_is_its_errno() {
        let links = ask_route(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP).unwrap();
        assert!(!links.is_empty(), "not even lo");
        let mut nobody = LinkMessage::default();
        nobody.header.index = 4711;
        let error = ask_route(RouteNetlinkMessage::GetLink(nobody), 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
