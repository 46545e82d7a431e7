//! Sizes of the tables that count in `int`.

use std::ffi::c_int;

use crate::{Code, Receives};

/// One size for a table that takes an `int`.
///
/// # Errors
/// `INVALID_ARGUMENT` if it doesn't fit; NCCL cuts at `max_p2p_bytes`, which is less.
pub(crate) fn narrow(size: usize) -> Result<c_int, Code> {
    c_int::try_from(size).map_err(|_| Code::INVALID_ARGUMENT)
}

/// The sizes of a grouped receive as `int`s, on the stack.
#[derive(Debug)]
pub(crate) struct NarrowSizes([c_int; NarrowSizes::MAX]);

impl NarrowSizes {
    /// NCCL never groups more: its progress thread keeps so many sub-operations (2.25 and later; 32 before).
    pub(crate) const MAX: usize = 64;

    /// Converts the sizes of `receives`.
    ///
    /// # Safety
    /// `receives.sizes` is NULL or has `count` entries.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if a size doesn't fit, or there are too many.
    pub(crate) unsafe fn new(receives: &Receives) -> Result<Self, Code> {
        let mut sizes = [0; Self::MAX];
        let count = usize::try_from(receives.count).map_err(|_| Code::INVALID_ARGUMENT)?;
        let narrowed = sizes.get_mut(..count).ok_or(Code::INVALID_ARGUMENT)?;
        if receives.sizes.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        for (index, narrowed) in narrowed.iter_mut().enumerate() {
            // SAFETY: caller's contract: `index` is below `count`.
            let size = unsafe { receives.sizes.add(index) };
            // SAFETY: caller's contract.
            *narrowed = narrow(unsafe { size.read_unaligned() })?;
        }
        Ok(Self(sizes))
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut c_int {
        self.0.as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receives(sizes: &mut [usize]) -> Receives {
        Receives {
            count: c_int::try_from(sizes.len()).unwrap(),
            data: std::ptr::null_mut(),
            sizes: sizes.as_mut_ptr(),
            tags: std::ptr::null_mut(),
            mhandles: std::ptr::null_mut(),
            phandles: std::ptr::null_mut(),
        }
    }

    #[test]
    fn sizes_keep_their_values_and_places() {
        let mut sizes = [0, 1, 1 << 30, i32::MAX as usize];
        // SAFETY: the array has `count` entries.
        let narrowed = unsafe { NarrowSizes::new(&receives(&mut sizes)) }.unwrap();
        assert_eq!(narrowed.0[..4], [0, 1, 1 << 30, i32::MAX]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for mut sizes in [vec![1, 1 << 31], vec![0; 65]] {
            // SAFETY: the array has `count` entries.
            let result = unsafe { NarrowSizes::new(&receives(&mut sizes)) };
            assert_eq!(result.unwrap_err(), Code::INVALID_ARGUMENT);
        }
    }
}
