//! TCP's congestion control of a connection's sockets.
//!
//! Both ends have it before the handshake: one that goes by marks (DCTCP, RFC 8257) negotiates ECN there, and the
//! receiver's acknowledgements carry the marks back.

use std::fmt;
use std::io;

use socket2::{Domain, Socket, Type};

/// A congestion control that this process may give its sockets (`TCP_CONGESTION`, `tcp(7)`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Congestion {
    /// What is left is 0.
    name: [u8; NAME_MAX],
}

/// Why a process can't have a congestion control.
#[derive(Debug, thiserror::Error)]
pub enum CongestionError {
    /// There is none of this name.
    #[error(
        "want a congestion control that this kernel has: {available} (net.ipv4.tcp_available_congestion_control)"
    )]
    Unknown {
        /// Those that there are, separated by spaces.
        available: String,
    },
    /// There is, but not for processes without `CAP_NET_ADMIN`.
    #[error(
        "without CAP_NET_ADMIN a process may have {allowed} only: add it to net.ipv4.tcp_allowed_congestion_control"
    )]
    Denied {
        /// Those that it may have, separated by spaces.
        allowed: String,
    },
    /// The kernel had another reason.
    #[error("the kernel doesn't say whether it has it: {0}")]
    Kernel(#[from] io::Error),
}

/// `TCP_CA_NAME_MAX` of `include/net/tcp.h` less the byte that ends it. The kernel cuts off what is longer.
const NAME_MAX: usize = 15;

impl Congestion {
    /// The one of this name, such as `cubic`, tried on a socket that is never connected.
    ///
    /// # Errors
    ///
    /// The kernel has none of this name, this process may not have it, or it has no descriptor left for a socket.
    pub fn named(name: &str) -> Result<Congestion, CongestionError> {
        let unknown = || CongestionError::Unknown { available: listed("available") };
        let mut padded = [0; NAME_MAX];
        match padded.get_mut(..name.len()) {
            Some(start) if !name.contains('\0') => start.copy_from_slice(name.as_bytes()),
            _ => return Err(unknown()),
        }
        let congestion = Congestion { name: padded };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        match congestion.set(&socket) {
            Ok(()) => Ok(congestion),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Err(unknown()),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                Err(CongestionError::Denied { allowed: listed("allowed") })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn set(self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_congestion(&self.name)
    }
}

/// Gives a congestion control, if there is one, to a socket that is neither connected nor listens yet; accepted ones
/// inherit it.
pub(crate) fn set(socket: &Socket, congestion: Option<Congestion>) -> io::Result<()> {
    congestion.map_or(Ok(()), |congestion| congestion.set(socket))
}

/// Says whether the congestion control of a socket spreads its packets by timers.
pub(crate) fn paces(socket: &Socket) -> bool {
    socket.tcp_congestion().is_ok_and(|name| is_pacing(&name))
}

/// BBR and its later versions; the kernel doesn't tell which others would.
fn is_pacing(name: &[u8]) -> bool {
    name.starts_with(b"bbr")
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(String::from_utf8_lossy(&self.name).trim_end_matches('\0'))
    }
}

impl fmt::Debug for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Congestion({self})")
    }
}

/// The names in one of the kernel's lists.
fn listed(which: &str) -> String {
    let file = format!("/proc/sys/net/ipv4/tcp_{which}_congestion_control");
    match std::fs::read_to_string(&file) {
        Ok(names) => names.trim().to_owned(),
        Err(error) => format!("those of {file} ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_may_have_reno() {
        // The one that no kernel is without, and that all may have.
        let reno = Congestion::named("reno").unwrap();
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        set(&socket, None).unwrap();
        set(&socket, Some(reno)).unwrap();
        assert!(socket.tcp_congestion().unwrap().starts_with(b"reno\0"));
        assert_eq!((reno.to_string(), format!("{reno:?}")), ("reno".into(), "Congestion(reno)".into()));
    }

    #[test]
    fn what_the_kernel_lacks_is_refused_with_what_it_has() {
        // The kernel would read the third up to the zero, and cut off the end of the last.
        for name in ["none-such", "reno ", "reno\0cubic", "", "a name of more than 15 bytes"] {
            let error = Congestion::named(name).unwrap_err();
            assert!(
                matches!(&error, CongestionError::Unknown { available } if available.contains("reno")),
                "{name:?}: {error}"
            );
        }
    }

    #[test]
    fn bbr_paces_and_those_that_count_losses_do_not() {
        let paced = ["bbr\0\0", "bbr2", "bbr3\0", "reno\0", "cubic\0", "dctcp"]
            .map(|name| is_pacing(name.as_bytes()));
        assert_eq!(paced, [true, true, true, false, false, false]);
    }
}
