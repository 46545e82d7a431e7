//! An MPIB client, written from its protocol's byte tables and nothing of ours.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::daemon::PATIENCE;

/// Magic, length, type, zero.
pub(crate) fn header(length: u16, kind: u8) -> Vec<u8> {
    [&0x4d50_4952_u32.to_ne_bytes()[..], &length.to_ne_bytes(), &[kind, 0]].concat()
}

/// REGISTER, 28 bytes: connection, SOUT source and destination, SUP source and destination.
pub(crate) fn register(connection: u32, src: u32, dst: u32) -> Vec<u8> {
    let words = [connection, src, dst, 0x0a01_0101, 0x0a01_0201];
    let mut bytes = header(28, 1);
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    bytes
}

/// DEREGISTER, 12 bytes: connection.
pub(crate) fn deregister(connection: u32) -> Vec<u8> {
    [header(12, 2), connection.to_ne_bytes().to_vec()].concat()
}

/// Sends a request and gives everything that comes back until the agent closes.
pub(crate) fn ask(socket: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

/// Registers and gives status and slot, having checked every other byte of the reply.
pub(crate) fn slot_of(socket: &Path, connection: u32, src: u32, dst: u32) -> (u8, u32) {
    let reply = ask(socket, &register(connection, src, dst));
    assert_eq!((reply.len(), &reply[..8], &reply[9..12]), (16, &header(16, 128)[..], &[0; 3][..]));
    (reply[8], u32::from_ne_bytes(reply[12..].try_into().unwrap()))
}

/// Deregisters, having checked every byte of the reply.
pub(crate) fn leave(socket: &Path, connection: u32) {
    assert_eq!(ask(socket, &deregister(connection)), [header(12, 128), vec![0; 4]].concat());
}

/// The words of a slot in shared memory: hint, sequence, source, destination.
pub(crate) fn slot_words(file: &Path, slot: usize) -> [u32; 4] {
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(bytes.len(), 4112);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4)), (0x4d50_4948, 256));
    std::array::from_fn(|index| word(16 + 16 * slot + 4 * index))
}
