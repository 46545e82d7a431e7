//! What a subflow's socket is told about its work.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

use crate::config::Config;
use crate::sockopt::{self, TcpOption};

/// Which end of a subflow a socket is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role<'a> {
    /// Sends chunks.
    Sender(&'a Config),
    /// Receives them.
    Receiver(&'a Config),
}

/// Sets the options of a connected socket.
///
/// Buffers are left to the kernel's own tuning.
pub(super) fn set_up(socket: &Socket, role: Role<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let config = match role {
        Role::Sender(config) | Role::Receiver(config) => config,
    };
    keep_alive(socket, config.dead_after)?;
    let known = young_options();
    match role {
        Role::Sender(config) => {
            // Without it the first subflow would take megabytes into its send buffer before the
            // others get anything, and "has room" would say nothing about the path.
            socket.set_tcp_notsent_lowat(config.unsent)?;
            if known.rto {
                sockopt::set_tcp(socket, TcpOption::RtoMinMicros, SHORTEST_RTO_MICROS)?;
                sockopt::set_tcp(socket, TcpOption::RtoMaxMillis, LONGEST_RTO_MILLIS)?;
            }
        }
        Role::Receiver(config) => {
            // Not on senders: there it would also count the time in which the peer's window is shut, and a
            // receiver may rest for minutes before it posts.
            socket.set_tcp_user_timeout(Some(config.dead_after))?;
            if known.delayed_ack {
                sockopt::set_tcp(socket, TcpOption::DelayedAckMaxMicros, LONGEST_ACK_DELAY_MICROS)?;
            }
        }
    }
    Ok(())
}

/// Lets the kernel find out that a peer has vanished while neither side sends.
fn keep_alive(socket: &Socket, dead_after: Duration) -> io::Result<()> {
    // Half the time in silence, the other half for three probes; the kernel counts in seconds.
    let idle = (dead_after / 2).max(SECOND);
    let interval = (dead_after / 6).max(SECOND);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(3))
}

const SECOND: Duration = Duration::from_secs(1);

/// A lost segment is sent again after this much beyond the round trip, instead of 200 ms.
const SHORTEST_RTO_MICROS: u32 = 20_000;

/// A path that has healed is found within a second.
const LONGEST_RTO_MILLIS: u32 = 1000;

/// Below the sender's shortest timeout, which a delayed acknowledgement must not run into.
const LONGEST_ACK_DELAY_MICROS: u32 = 8_000;

/// Asks the kernel now which options it knows, if nobody has.
pub(crate) fn know_young_options() {
    young_options();
}

#[derive(Clone, Copy, Debug)]
struct YoungOptions {
    rto: bool,
    delayed_ack: bool,
}

/// Which of the young options this kernel knows, asked once.
///
/// The shorter timeout is of use only with the shorter delay, which the peer's kernel must know as well: hosts of
/// one fabric run like kernels. With an older peer there are spurious retransmissions, which TCP undoes.
fn young_options() -> YoungOptions {
    static KNOWN: OnceLock<YoungOptions> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let takes = |option, value| {
            let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            socket.is_ok_and(|socket| sockopt::set_tcp(&socket, option, value).is_ok())
        };
        let delayed_ack = takes(TcpOption::DelayedAckMaxMicros, LONGEST_ACK_DELAY_MICROS);
        let rto = takes(TcpOption::RtoMinMicros, SHORTEST_RTO_MICROS)
            && takes(TcpOption::RtoMaxMillis, LONGEST_RTO_MILLIS);
        YoungOptions { rto: rto && delayed_ack, delayed_ack }
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn both_roles_are_taken_by_this_kernel() {
        let config = Config::default();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let sender = Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let receiver = Socket::from(listener.accept().unwrap().0);
            set_up(&sender, Role::Sender(&config)).unwrap();
            set_up(&receiver, Role::Receiver(&config)).unwrap();
            assert!(sender.keepalive().unwrap() && receiver.keepalive().unwrap());
            assert_eq!(sender.tcp_keepalive_time().unwrap(), Duration::from_secs(5));
            assert_eq!(sender.tcp_notsent_lowat().unwrap(), config.unsent);
            assert_eq!(sender.tcp_user_timeout().unwrap(), None);
            assert_eq!(receiver.tcp_user_timeout().unwrap(), Some(config.dead_after));
        }
    }
}
