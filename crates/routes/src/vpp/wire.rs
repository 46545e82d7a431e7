//! Bytes of VPP's binary API: fields one by one, big-endian, no padding, every length checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use srv6_fabric::Prefix;

/// Bytes before each message on the socket: u64 0, u32 length of what follows, u32 0 (`msgbuf_t` of VPP's vlibmemory).
pub(super) const FRAME_HEADER: usize = 16;

/// Longest message that is believed. The longest real one, the table of messages, has about 60 KiB.
pub(super) const LONGEST: usize = 16 << 20;

/// Bytes that don't say what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field goes beyond the end of the message.
    #[error("it ends {missing} bytes before the end of {field}")]
    Short {
        /// The field.
        field: &'static str,
        /// How many bytes it lacks.
        missing: usize,
    },
    /// More bytes than fields.
    #[error("{count} bytes follow its last field")]
    Long {
        /// How many.
        count: usize,
    },
    /// A value that its field can't have.
    #[error("{field} is {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
}

/// Writes the fields of a message.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(value.into())
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn ip6(&mut self, value: Ipv6Addr) -> &mut Self {
        self.0.extend(value.octets());
        self
    }

    /// A `vl_api_prefix_t`: family (0 is IPv4), 16 bytes of address, length.
    pub(super) fn prefix(&mut self, value: Prefix) -> &mut Self {
        match value.address() {
            IpAddr::V4(address) => {
                self.u8(0);
                self.0.extend(address.octets());
                self.0.extend([0; 12]);
            }
            IpAddr::V6(address) => {
                self.u8(1).ip6(address);
            }
        }
        self.u8(value.length())
    }

    /// Text in a field of fixed length, cut short if need be, and always closed by a zero.
    pub(super) fn text(&mut self, value: &str, length: usize) -> &mut Self {
        let kept = value.bytes().take(length.saturating_sub(1));
        let end = self.0.len() + length;
        self.0.extend(kept);
        self.0.resize(end, 0);
        self
    }

    /// The message with its frame.
    pub fn framed(self) -> Vec<u8> {
        // A message of ours has at most a few hundred bytes.
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mut bytes = vec![0; 8];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.0);
        bytes
    }
}

/// Reads the fields of a message.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the first field.
    pub fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    pub(super) fn bytes(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let short = Malformed::Short { field, missing: length.saturating_sub(self.0.len()) };
        let (taken, rest) = self.0.split_at_checked(length).ok_or(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let short = Malformed::Short { field, missing: N.saturating_sub(self.0.len()) };
        let (taken, rest) = self.0.split_first_chunk().ok_or(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::Value { field, value: other.into() }),
        }
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(super) fn ip6(&mut self, field: &'static str) -> Result<Ipv6Addr, Malformed> {
        self.array::<16>(field).map(Ipv6Addr::from)
    }

    /// A `vl_api_address_t`: family, then 16 bytes of which IPv4 uses the first four.
    pub(super) fn address(&mut self, field: &'static str) -> Result<IpAddr, Malformed> {
        let family = self.u8(field)?;
        let bytes = self.array::<16>(field)?;
        match (family, bytes) {
            (0, [a, b, c, d, ..]) => Ok(Ipv4Addr::new(a, b, c, d).into()),
            (1, bytes) => Ok(Ipv6Addr::from(bytes).into()),
            (other, _) => Err(Malformed::Value { field, value: other.into() }),
        }
    }

    /// A `vl_api_prefix_t`. Bits of the address beyond the length are dropped, as VPP's tables do.
    pub(super) fn prefix(&mut self, field: &'static str) -> Result<Prefix, Malformed> {
        let address = self.address(field)?;
        let length = self.u8(field)?;
        Prefix::new(address, length).map_err(|_| Malformed::Value { field, value: length.into() })
    }

    /// Text in a field of fixed length, up to its first zero.
    pub(super) fn text(&mut self, length: usize, field: &'static str) -> Result<String, Malformed> {
        let bytes = self.bytes(length, field)?;
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Sees to it that nothing is left.
    ///
    /// # Errors
    /// [`Malformed::Long`].
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Long { count: self.0.len() }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_has_its_length_in_the_middle() {
        let mut writer = Writer::default();
        writer.u16(0x0102).u32(3);
        assert_eq!(writer.framed(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3]);
    }

    #[test]
    fn text_fills_its_field_and_ends() {
        for (text, kept) in [("srv6", "srv6"), ("", ""), ("longer than it", "longer ")] {
            let mut writer = Writer::default();
            writer.text(text, 8);
            assert_eq!(writer.0.len(), 8);
            assert_eq!(Reader::new(&writer.0).text(8, "name"), Ok(kept.to_owned()));
        }
    }

    #[test]
    fn what_is_missing_too_much_or_impossible_is_told() {
        let short = Malformed::Short { field: "table", missing: 1 };
        assert_eq!(Reader::new(&[0, 0, 0]).u32("table"), Err(short));
        assert_eq!(Reader::new(&[0, 0]).end(), Err(Malformed::Long { count: 2 }));
        assert_eq!(Reader::new(&[2]).flag("is_encap"), Err(Malformed::Value { field: "is_encap", value: 2 }));
        let mut far = [0; 18];
        far[17] = 33;
        assert_eq!(Reader::new(&far).prefix("prefix"), Err(Malformed::Value { field: "prefix", value: 33 }));
        far[0] = 7;
        assert_eq!(Reader::new(&far).address("prefix"), Err(Malformed::Value { field: "prefix", value: 7 }));
    }

    proptest! {
        #[test]
        fn fields_are_read_as_they_are_written(a: u16, b: u32, flag: bool, ip: u128, v4: u32, length in 0u8..=32) {
            let prefix = Prefix::new(Ipv4Addr::from(v4).into(), length).unwrap();
            let mut writer = Writer::default();
            writer.u16(a).u32(b).flag(flag).ip6(ip.into()).prefix(prefix);
            let mut reader = Reader::new(&writer.0);
            prop_assert_eq!(reader.u16("a"), Ok(a));
            prop_assert_eq!(reader.u32("b"), Ok(b));
            prop_assert_eq!(reader.flag("flag"), Ok(flag));
            prop_assert_eq!(reader.ip6("ip"), Ok(ip.into()));
            prop_assert_eq!(reader.prefix("prefix"), Ok(prefix));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
