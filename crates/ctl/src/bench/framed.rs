//! Values over a stream: JSON behind its length, 4 bytes, big-endian.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes one value, in one call: two writes would wait for each other's acknowledgement.
pub(super) fn write(value: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    to.write_all(&bytes)
}

/// Reads one value of at most `longest` bytes, so that a stranger's first bytes don't become an allocation.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read, longest: u32) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut body = Vec::new();
    from.take(length.into()).read_to_end(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}
