//! NCCL's side: the tables, and C functions that turn NCCL's calls into ours.
//!
//! A function lives in the module of the version where its signature last changed: `v6::test` serves v6 to v12. Each does
//! four things: guard, convert, call, write its out pointers (which are NULL or zero from the start).
//!
//! The contracts that `# Safety` comments name, as NCCL keeps them:
//!
//! - C1: a comm, memory handle, request or context is what one of our functions gave (or, where our table holds the inner
//!   function, what that one gave), and isn't used after the call that ends it.
//! - C2: a handle points to 128 bytes of any alignment, readable and writable during the call.
//! - C3: an out pointer is writable, and aligned, during the call. An array has `n` entries.
//! - C4: data stays where it is until test says done.
//! - C5: strings and function pointers given to init live as long as the process.

pub(crate) mod control;
pub(crate) mod data;
pub(crate) mod tables;
mod v10;
mod v11;
mod v12;
mod v6;
mod v7;
mod v8;
mod v9;

use std::panic::{AssertUnwindSafe, catch_unwind};

use nccl_net_abi::Code;
use nccl_net_abi::bindings::{ncclResult_t, ncclSuccess};

use crate::error::Error;

/// Runs one NCCL call. Errors and panics become codes; nothing unwinds into NCCL.
pub(crate) fn guard(call: &'static str, body: impl FnOnce() -> Result<(), Error>) -> ncclResult_t {
    // Unwind safety: NCCL gives up the communicator on any error, so no later call reads what a panicking
    // body left half done; locks are parking_lot's, which don't poison.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => ncclSuccess,
        Ok(Err(error)) => {
            report(|| log::warn!("{call}: {}", error.chain()));
            error.code().raw()
        }
        Err(payload) => {
            // Dropping it could panic again, outside of catch_unwind.
            std::mem::forget(payload);
            report(|| log::error!("{call}: panicked; this is a bug of nccl-net-srv6"));
            Code::INTERNAL_ERROR.raw()
        }
    }
}

/// Formats and logs; a panic in there costs the line, not the process.
fn report(line: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(line)) {
        std::mem::forget(payload);
    }
}

/// An out pointer, preset: what a caller reads after an error is defined.
///
/// # Safety
/// C3, or NULL.
unsafe fn out<'a, T>(pointer: *mut T, preset: T, what: &'static str) -> Result<&'a mut T, Error> {
    // SAFETY: caller's contract.
    let out = unsafe { pointer.as_mut() }.ok_or(Error::BadArgument { what })?;
    *out = preset;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_their_code() {
        assert_eq!(guard("test", || Ok(())), 0);
        assert_eq!(guard("test", || Err(Error::NotInitialised)), 3);
        assert_eq!(guard("test", || Err(Error::Inner { call: "isend", code: Code::REMOTE_ERROR })), 6);
    }

    #[test]
    fn panics_become_an_internal_error() {
        assert_eq!(guard("test", || panic!("on purpose")), 3);
        struct Grenade;
        impl Drop for Grenade {
            fn drop(&mut self) {
                panic!("when the payload is dropped");
            }
        }
        assert_eq!(guard("test", || std::panic::panic_any(Grenade)), 3);
    }

    #[test]
    fn out_pointers_are_preset() {
        let mut value = 7;
        // SAFETY: a local.
        *unsafe { out(&raw mut value, 0, "value") }.unwrap() += 1;
        assert_eq!(value, 1);
        // SAFETY: NULL is allowed.
        let error = unsafe { out(std::ptr::null_mut::<i32>(), 0, "value") }.unwrap_err();
        assert_eq!(error.code(), Code::INVALID_ARGUMENT);
    }
}
