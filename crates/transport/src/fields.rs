//! Byte layouts of fixed size: big-endian fields, one after the other.

/// Everything that is said on a subflow is as long as so many of these, and so are most messages.
///
/// The kernel lays what a thread sends into one page after the other. So payload that begins where a cache line does in
/// memory begins where one does there, too, and at the other end: copies between places that are alike are the fastest,
/// and `rep movsb`, with which kernels copy, goes at a tenth of its speed to places 1 to 31 bytes further within a page
/// than where it reads on some processors (Zen 3: 2.9 GB/s instead of 31).
pub(crate) const GRAIN: usize = 64;

/// Reads fields from the front.
///
/// Past the end a field reads as zeros. Every layout of this crate is read from an array of its own
/// length, and begins with a magic number or kind that is not zero.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => {
                self.0 = &[];
                [0; N]
            }
        }
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.bytes())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }
}

/// Writes fields to the front; what is not written stays zero.
pub(crate) struct Writer<const LEN: usize> {
    bytes: [u8; LEN],
    at: usize,
}

impl<const LEN: usize> Writer<LEN> {
    pub(crate) fn new() -> Writer<LEN> {
        Writer { bytes: [0; LEN], at: 0 }
    }

    pub(crate) fn put<const N: usize>(mut self, field: [u8; N]) -> Writer<LEN> {
        debug_assert!(self.at + N <= LEN, "the fields are longer than the layout");
        if let Some(place) = self.bytes.get_mut(self.at..self.at + N) {
            place.copy_from_slice(&field);
        }
        self.at += N;
        self
    }

    pub(crate) fn finish(self) -> [u8; LEN] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order() {
        let bytes: [u8; 16] = Writer::new()
            .put(7_u8.to_be_bytes())
            .put(0x1234_u16.to_be_bytes())
            .put(0xdead_beef_u32.to_be_bytes())
            .put(u64::MAX.to_be_bytes())
            .finish();
        let mut fields = Reader::new(&bytes);
        assert_eq!(fields.u8(), 7);
        assert_eq!(fields.u16(), 0x1234);
        assert_eq!(fields.u32(), 0xdead_beef);
        assert_eq!(fields.u64(), u64::MAX);
        assert_eq!(fields.u8(), 0);
        assert_eq!(fields.u32(), 0, "past the end");
    }
}
