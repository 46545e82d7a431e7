//! Which messages this VPP has, and under which numbers: what it tells in the handshake.

use std::collections::HashMap;

use super::error::VppError;
use super::message::Message;
use super::wire::{Malformed, Reader};

/// Bytes of one entry: u16 number, then `name_crc` in 64 bytes.
const NAME: usize = 64;

/// A VPP's messages by name, each with CRC and number.
#[derive(Debug, Default)]
pub(super) struct Catalog(HashMap<String, (u32, u16)>);

impl Catalog {
    /// Reads `count` entries. One that isn't of the form `name_crc` is none of those that are needed.
    pub(super) fn read(reader: &mut Reader<'_>, count: u16) -> Result<Self, Malformed> {
        let mut messages = HashMap::new();
        for _ in 0..count {
            let number = reader.u16("message number")?;
            let text = reader.text(NAME, "message name")?;
            if let Some((name, crc)) = text.rsplit_once('_')
                && let Ok(crc) = u32::from_str_radix(crc, 16)
            {
                messages.insert(name.to_owned(), (crc, number));
            }
        }
        Ok(Self(messages))
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of a message, if its fields are those that are known here.
    ///
    /// # Errors
    /// [`VppError::Missing`], [`VppError::Changed`].
    pub(super) fn number<M: Message>(&self) -> Result<u16, VppError> {
        match self.0.get(M::NAME) {
            Some(&(crc, number)) if crc == M::CRC => Ok(number),
            Some(&(offered, _)) => Err(VppError::Changed { message: M::NAME, expected: M::CRC, offered }),
            None => Err(VppError::Missing { message: M::NAME }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vpp::message::{AddPolicy, ControlPing, PoliciesDump};
    use crate::vpp::wire::Writer;

    fn catalog(entries: &[(u16, &str)]) -> Catalog {
        let mut writer = Writer::default();
        for (number, name) in entries {
            writer.u16(*number).text(name, NAME);
        }
        let framed = writer.framed();
        let count = u16::try_from(entries.len()).unwrap();
        Catalog::read(&mut Reader::new(&framed[crate::vpp::wire::FRAME_HEADER..]), count).unwrap()
    }

    #[test]
    fn only_the_very_same_message_has_a_number() {
        let catalog =
            catalog(&[(801, "sr_policy_add_v2_f6297f36"), (9, "control_ping_00000001"), (3, "odd")]);
        assert_eq!(catalog.number::<AddPolicy>().unwrap(), 801);
        let changed = catalog.number::<ControlPing>().unwrap_err();
        assert!(matches!(changed, VppError::Changed { expected: 0x5107_7d14, offered: 1, .. }), "{changed}");
        let missing = catalog.number::<PoliciesDump>().unwrap_err();
        assert!(matches!(missing, VppError::Missing { message: "sr_policies_v2_dump" }), "{missing}");
        assert_eq!(catalog.len(), 2);
    }

    #[test]
    fn a_table_that_ends_early_is_refused() {
        assert!(Catalog::read(&mut Reader::new(&[0, 1, 2]), 1).is_err());
    }
}
