//! What the kernel knows about a subflow: `TCP_INFO` and `SIOCOUTQ`.
//!
//! C1 (`tcp(7)`, Linux `include/uapi/linux/tcp.h`): getsockopt writes at most the length it is given,
//! at the address it is given, during the call. Fields are only ever appended to the structure, so an
//! older kernel gives a shorter one; what it doesn't know reads as zero here.
//!
//! C2 (`tcp(7)`, Linux `include/uapi/linux/sockios.h`): `SIOCOUTQ` writes one int, at the address it is given, during the call.

#![allow(unsafe_code, reason = "no safe crate gives the fields after tcpi_total_retrans, nor SIOCOUTQ")]

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::Socket;

use crate::connections::micros;

/// What the kernel measured on one subflow, at the moment of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpInfo {
    /// Smoothed round-trip time.
    #[serde(rename = "rtt_us", with = "micros")]
    pub rtt: Duration,
    /// Smallest round-trip time of the last minutes.
    #[serde(rename = "min_rtt_us", with = "micros")]
    pub min_rtt: Duration,
    /// Time since the last acknowledgement came.
    #[serde(rename = "last_ack_us", with = "micros")]
    pub last_ack: Duration,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments sent again, since the beginning.
    pub retransmits: u32,
    /// Retransmission time-outs in a row for the oldest segment; 0 on a working path.
    pub timeouts: u8,
    /// Largest payload of one segment, bytes; smaller on a path with encapsulation.
    pub mss: u32,
    /// Path MTU, bytes.
    pub pmtu: u32,
    /// Congestion window, segments.
    pub window: u32,
    /// Rate at which data reached the peer lately, bytes per second.
    pub delivery_rate: u64,
    /// Bytes the peer's kernel has acknowledged.
    pub bytes_acked: u64,
    /// Bytes that came in order.
    pub bytes_received: u64,
    /// Bytes in the send buffer that have not been sent once.
    pub unsent: u32,
}

impl TcpInfo {
    pub(crate) fn of(socket: &Socket) -> io::Result<TcpInfo> {
        let mut bytes = [0_u8; LEN as usize];
        let mut len = LEN;
        // SAFETY: C1: pointer and length are those of `bytes`; the descriptor is open while borrowed.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                bytes.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(TcpInfo::read(&bytes))
    }

    fn read(bytes: &[u8; LEN as usize]) -> TcpInfo {
        let long = |at: usize| {
            let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
            u64::from_ne_bytes(field.copied().unwrap_or_default())
        };
        let word = |at: usize| {
            let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
            u32::from_ne_bytes(field.copied().unwrap_or_default())
        };
        let micros = |at: usize| Duration::from_micros(u64::from(word(at)));
        TcpInfo {
            timeouts: bytes.get(2).copied().unwrap_or_default(),
            mss: word(16),
            unacked: word(24),
            last_ack: Duration::from_millis(u64::from(word(56))),
            pmtu: word(60),
            rtt: micros(68),
            window: word(80),
            retransmits: word(100),
            bytes_acked: long(120),
            bytes_received: long(128),
            unsent: word(144),
            min_rtt: micros(148),
            delivery_rate: long(160),
        }
    }
}

/// Bytes that were written and not acknowledged, sent or not.
pub(crate) fn unacknowledged(socket: &Socket) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: C2: the address is that of `count`; the descriptor is open while borrowed.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // The kernel counts up from nothing.
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Up to the end of `tcpi_delivery_rate`.
const LEN: libc::socklen_t = 168;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_kernel_s_numbers_are_at_these_places() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let payload = vec![7; 100_000];
        let mut got = vec![0; payload.len()];
        for _ in 0..4 {
            sender.write_all(&payload).unwrap();
            receiver.read_exact(&mut got).unwrap();
        }
        let received = TcpInfo::of(&receiver.into()).unwrap();
        assert_eq!(received.bytes_received, 400_000);
        let sent = TcpInfo::of(&sender.into()).unwrap();
        // The SYN counts as one.
        assert!((1..=400_001).contains(&sent.bytes_acked), "{sent:?}");
        assert!(sent.rtt > Duration::ZERO && sent.rtt < Duration::from_secs(5));
        assert!(sent.min_rtt > Duration::ZERO && sent.min_rtt <= sent.rtt * 4);
        assert!(sent.pmtu >= 60_000 && sent.mss > 10_000, "loopback: {sent:?}");
        assert!(sent.delivery_rate > 0 && sent.window >= 2, "{sent:?}");
        assert_eq!(sent.timeouts, 0);
    }

    #[test]
    fn what_the_peer_has_not_acknowledged_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = sender.write(&[7; 100_000]) {
            written += count;
        }
        // The receiver's kernel takes and acknowledges what it has room for.
        let sender = Socket::from(sender);
        let held = unacknowledged(&sender).unwrap();
        assert!(held > 0 && held < written as u64, "{held} of {written}");
        receiver.read_exact(&mut vec![0; written]).unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while unacknowledged(&sender).unwrap() > 0 {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
