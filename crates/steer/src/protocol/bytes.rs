//! Numbers, texts and lists as bytes, and back. Network byte order; nothing is trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use srv6_fabric::Segments;

use super::ProtocolError;

/// Longest text in bytes; a control message may have more.
pub(super) const MAX_TEXT: usize = 4096;

/// Builds a payload. What is too long for its field is cut, which only texts for people can be.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    /// Microseconds in 64 bits.
    pub(super) fn duration(&mut self, value: Duration) {
        self.0.extend(u64::try_from(value.as_micros()).unwrap_or(u64::MAX).to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        let text = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
        self.u16(u16::try_from(text.len()).unwrap_or(0));
        self.0.extend(text.as_bytes());
    }

    /// A text that fills what is left of the frame.
    pub(super) fn rest(&mut self, text: &str) {
        self.0.extend(text.as_bytes());
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.u8(4);
                self.0.extend(v4.octets());
            }
            IpAddr::V6(v6) => {
                self.u8(6);
                self.0.extend(v6.octets());
            }
        }
    }

    /// How many follow, in 8 bits, and then each.
    pub(super) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        let count = u8::try_from(items.len()).unwrap_or(u8::MAX);
        self.u8(count);
        for item in items.iter().take(count.into()) {
            write(self, item);
        }
    }

    pub(super) fn path(&mut self, hops: &[String]) {
        self.list(hops, |writer, hop| writer.text(hop));
    }

    pub(super) fn segments(&mut self, segments: &Segments) {
        self.list(segments.as_slice(), |writer, segment| writer.0.extend(segment.octets()));
    }
}

/// Takes a payload apart.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Which message, for errors.
    kind: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8], kind: u8) -> Self {
        Self { rest: payload, kind }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let short = ProtocolError::Short { kind: self.kind, missing: count.saturating_sub(self.rest.len()) };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// An error of this message.
    pub(super) fn bad(&self, field: &'static str, value: u64, wanted: &'static str) -> ProtocolError {
        ProtocolError::Value { kind: self.kind, field, value, wanted }
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, ProtocolError> {
        Ok(Duration::from_micros(u64::from_be_bytes(self.array()?)))
    }

    pub(super) fn text(&mut self) -> Result<String, ProtocolError> {
        let length = usize::from(self.u16()?);
        if length > MAX_TEXT {
            return Err(self.bad("text length", length as u64, "at most 4096"));
        }
        let bytes = self.take(length)?;
        self.utf8(bytes)
    }

    /// All that is left, as text.
    pub(super) fn rest(&mut self) -> Result<String, ProtocolError> {
        let bytes = self.take(self.rest.len())?;
        self.utf8(bytes)
    }

    fn utf8(&self, bytes: &[u8]) -> Result<String, ProtocolError> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ProtocolError::Text { kind: self.kind })
    }

    pub(super) fn address(&mut self) -> Result<IpAddr, ProtocolError> {
        match self.u8()? {
            4 => Ok(Ipv4Addr::from(self.array::<4>()?).into()),
            6 => Ok(Ipv6Addr::from(self.array::<16>()?).into()),
            family => Err(self.bad("address family", family.into(), "4 or 6")),
        }
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<Vec<T>, ProtocolError> {
        let count = self.u8()?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn path(&mut self) -> Result<Vec<String>, ProtocolError> {
        self.list(Self::text)
    }

    pub(super) fn segments(&mut self) -> Result<Segments, ProtocolError> {
        let segments = self.list(|reader| reader.array::<16>().map(Ipv6Addr::from))?;
        let count = segments.len() as u64;
        Segments::new(segments).map_err(|_| self.bad("number of segments", count, "at least 1"))
    }

    /// The end of the payload. What a newer version adds comes behind what this one knows, and is left alone.
    pub(super) fn end(self) {}
}
