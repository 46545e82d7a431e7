//! NCCL's own Socket and IB tables inside an image.
//!
//! They are plain globals that no symbol table need name, so they are found by what they look like: a word of
//! writable data that points to exactly the name, followed by the exact sequence of functions and NULLs that this
//! transport has in this layout. Look-alikes exist in released NCCLs: GIN and RMA tables begin with a name as well, names may
//! be tails of longer strings ("IB" of "GIN_IB"), and NCCL's adapters hold names of *plugins*.

use std::fmt;
use std::ptr::NonNull;

use super::{Image, Segment};
use crate::{AnyNet, Error, Version};

/// A transport that NCCL brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stock {
    /// TCP.
    Socket,
    /// InfiniBand and RoCE.
    Ib,
}

impl Stock {
    /// The name in its table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "Socket",
            Self::Ib => "IB",
        }
    }

    /// Its members after the name: F a function, 0 NULL. The same in every release of a layout (2.18 to 2.32).
    const fn pattern(self, version: Version) -> &'static [u8] {
        match (self, version) {
            (Self::Socket, Version::V6) => b"FFFFFFF0FFFFFFFF",
            (Self::Socket, Version::V7 | Version::V8) => b"FFFFFFF0FFFFFFFF00",
            (Self::Socket, Version::V9 | Version::V10) => b"FFFFFFF0FFFFFFFF000",
            (Self::Socket, Version::V11 | Version::V12) => b"FFFFFFF0FFFFFFFF000F0",
            (Self::Ib, Version::V6) => b"FFFFFFFFFFFFFFFF",
            (Self::Ib, Version::V7 | Version::V8) => b"FFFFFFFFFFFFFFFF00",
            (Self::Ib, Version::V9 | Version::V10) => b"FFFFFFFFFFFFFFFF00F",
            (Self::Ib, Version::V11 | Version::V12) => b"FFFFFFFFFFFFFFFF00FFF",
        }
    }
}

impl fmt::Display for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The one table of this transport and layout in the image.
///
/// `version` is the layout of the NCCL in the image: [`Version::internal_layout`] of [`Image::nccl_version`].
///
/// # Errors
/// If no table fits, or more than one does: whoever wraps a table must be sure that it is the one.
pub fn find_stock(image: &Image, stock: Stock, version: Version) -> Result<AnyNet, Error> {
    let mut named = 0;
    let mut tables = Vec::new();
    for segment in image.segments.iter().filter(|segment| segment.writable) {
        for address in words(segment) {
            if !image.holds_string(image.word(address), stock.name()) {
                continue;
            }
            named += 1;
            if fits(image, segment, address, stock.pattern(version)) {
                tables.push(address);
            }
        }
    }
    let address = match tables.as_slice() {
        [address] => NonNull::new(std::ptr::with_exposed_provenance_mut(*address)),
        [] => None,
        several => {
            let count = several.len();
            return Err(Error::Ambiguous { path: image.path.clone(), stock, version, count });
        }
    };
    let table = address.ok_or_else(|| Error::NoTable { path: image.path.clone(), stock, version, named })?;
    // SAFETY: name, every member and uniqueness say that this is the table; images stay loaded.
    unsafe { AnyNet::from_raw(version, table) }
}

/// The addresses of the aligned words of a segment.
fn words(segment: &Segment) -> impl Iterator<Item = usize> {
    let start = segment.addresses.start.next_multiple_of(align_of::<usize>());
    let end = segment.addresses.end.saturating_sub(size_of::<usize>() - 1);
    (start..end).step_by(size_of::<usize>())
}

/// Whether the words after `address` are functions of this image and NULLs in this order.
fn fits(image: &Image, segment: &Segment, address: usize, pattern: &[u8]) -> bool {
    pattern.iter().zip(1..).all(|(&kind, index)| {
        let address = address + index * size_of::<usize>();
        if !segment.addresses.contains(&(address + size_of::<usize>() - 1)) {
            return false;
        }
        let member = image.word(address);
        match kind {
            b'F' => {
                image.segments.iter().any(|segment| segment.executable && segment.addresses.contains(&member))
            }
            _ => member == 0,
        }
    })
}

impl Image {
    /// The aligned word at an address of this image.
    fn word(&self, address: usize) -> usize {
        debug_assert!(self.contains(address));
        // SAFETY: callers take addresses from a writable segment, which is mapped readable as long as the process.
        // Volatile: other threads may write to NCCL's data meanwhile; such a word is no pointer to a name.
        unsafe { std::ptr::with_exposed_provenance::<usize>(address).read_volatile() }
    }

    /// Whether this image has exactly this C string at an address.
    fn holds_string(&self, address: usize, string: &str) -> bool {
        let bytes = string.len() + 1;
        let inside = |segment: &&Segment| {
            segment.addresses.contains(&address)
                && address.checked_add(bytes).is_some_and(|end| end <= segment.addresses.end)
        };
        if self.segments.iter().find(inside).is_none() {
            return false;
        }
        string.bytes().chain([0]).zip(0..).all(|(wanted, index)| {
            // SAFETY: inside a mapped segment, as just seen.
            let byte = unsafe { std::ptr::with_exposed_provenance::<u8>(address + index).read_volatile() };
            byte == wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_every_member() {
        for version in Version::ALL {
            assert_eq!(Stock::Socket.pattern(version).len(), version.members(), "{version}");
            assert_eq!(Stock::Ib.pattern(version).len(), version.members(), "{version}");
        }
    }

    #[test]
    fn words_are_whole_and_aligned() {
        let segment = Segment { addresses: 3..33, writable: true, executable: false };
        assert_eq!(words(&segment).collect::<Vec<_>>(), [8, 16, 24]);
        let empty = Segment { addresses: 3..9, writable: true, executable: false };
        assert_eq!(words(&empty).count(), 0);
    }
}
