//! For programs that know of the library: a route on demand, preloaded or not.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::outcome::{Failure, Kind, Outcome};
use crate::quiet::quietly;
use crate::{process, steering};

thread_local! {
    static REASON: RefCell<CString> = RefCell::new(CString::default());
}

/// Has packets to `destination` (a numeric address) steered, from the address that the kernel would choose, until the
/// process ends. Waits for at most `timeout_ms` milliseconds.
///
/// Gives 0 if the route is in place, or none is needed since the destination is this host; else minus an error number:
/// `EINVAL` (not an address, or wrong settings), `EHOSTUNREACH` (no host of the topology, or no path to it), `EPERM` (this
/// process may not install routes), `ETIMEDOUT` (no answer in time; it may still come), `EIO` (anything else).
///
/// # Safety
/// `destination` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn srv6_shim_steer(destination: *const c_char, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let text = (!destination.is_null()).then(|| unsafe { CStr::from_ptr(destination) });
    let unknown = Err(Failure { kind: Kind::Other, reason: "a panic inside the library".to_owned() });
    let result = quietly(unknown, || steer(text, timeout_ms));
    let (code, reason) = match result {
        Ok(Outcome::Steered) => (0, String::new()),
        Ok(Outcome::Failed(failure)) | Err(failure) => (-failure.code(), failure.reason),
        Ok(Outcome::Late | Outcome::Interrupted) => {
            (-libc::ETIMEDOUT, format!("no path within {timeout_ms} ms"))
        }
    };
    if code != 0 {
        let reason = CString::new(reason.replace('\0', "")).unwrap_or_default();
        quietly((), || REASON.set(reason));
    }
    code
}

/// Why [`srv6_shim_steer`] failed last in this thread; an empty text if it never did. Valid until the next call of that in
/// this thread.
#[unsafe(no_mangle)]
pub extern "C" fn srv6_shim_error() -> *const c_char {
    quietly(c"".as_ptr(), || REASON.with_borrow(|reason| reason.as_ptr()))
}

fn steer(text: Option<&CStr>, timeout_ms: c_int) -> Result<Outcome, Failure> {
    let wrong = |reason: String| Failure { kind: Kind::Settings, reason };
    let given = text.map(CStr::to_string_lossy).unwrap_or_default();
    let address: IpAddr = given
        .parse()
        .map_err(|_| wrong(format!("{given:?} is no address; want an IPv4 or IPv6 address in numbers")))?;
    let timeout = u64::try_from(timeout_ms)
        .map(Duration::from_millis)
        .map_err(|_| wrong(format!("a timeout of {timeout_ms}; want 0 or more milliseconds")))?;
    let destination = address.to_canonical();
    if destination.is_loopback() {
        return Ok(Outcome::Steered);
    }
    if !Address::from(destination).is_routable() {
        return Err(wrong(format!("{destination} has no meaning beyond its link")));
    }
    // The program may have set them since the library was loaded.
    if !steering::settings().is_ok_and(|config| config.steering.is_some()) {
        steering::read_settings();
    }
    let config = steering::settings()?;
    let process = process::current();
    let steer = process.steer(config)?;
    let flow = steering::flow_to(destination).map_err(|error| Failure {
        kind: Kind::Destination,
        reason: format!("the kernel has no route to {destination}, and so no source for it: {error}"),
    })?;
    // None: packets to it never leave this host.
    let Some(flow) = flow else { return Ok(Outcome::Steered) };
    let started = Instant::now();
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        match process.request(steer, flow, left, true) {
            // No connect that would have to end.
            Outcome::Interrupted if !left.is_zero() => {}
            outcome => return Ok(outcome),
        }
    }
}
