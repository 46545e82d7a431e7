//! The ends of a socket: in order, with all that was written, or at once.

use std::io::Read;
use std::time::Duration;

use socket2::SockFilter;

use super::Subflow;

impl Subflow {
    /// Closes a sender's socket in order: what was written still goes out, although nobody reads answers any more.
    ///
    /// A socket that is closed with unread data, or gets data after it was closed, resets the connection, and what
    /// the kernel hadn't sent by then is lost (RFC 2525 §2.17, `tcp_close` and `tcp_rcv_state_process` in Linux). The
    /// receiver's state frames would do that, so from here on they are cut off their segments: a socket filter
    /// (`SO_ATTACH_FILTER`) never takes the TCP header away, and so the acknowledgements in it.
    pub(crate) fn finish(self) {
        self.deafen();
    }

    /// Reads what the peer has said, and lets it say nothing more.
    pub(crate) fn deafen(&self) {
        self.drain();
        if let Err(error) = self.socket.attach_filter(&[KEEP_HEADER]) {
            log::debug!("peer={} closes without a filter: {error}", self.peer);
        }
        // What came between the last read and the filter.
        self.drain();
    }

    /// Closes at once: the peer gets a reset, and nothing that was written goes out any more.
    pub(crate) fn abort(self) {
        if let Err(error) = self.socket.set_linger(Some(Duration::ZERO)) {
            log::debug!("peer={} closes in order: {error}", self.peer);
        }
    }

    /// Reads and forgets what is there, up to a bound.
    pub(crate) fn drain(&self) {
        let mut scratch = [0; 4096];
        for _ in 0..DRAINS {
            if !matches!((&**self.socket).read(&mut scratch), Ok(1..)) {
                return;
            }
        }
    }
}

/// `ret #1`: the segment is cut to one byte, but never shorter than its TCP header (`tcp_filter` in Linux).
const KEEP_HEADER: SockFilter = SockFilter::new(0x06, 0, 0, 1);

/// So that a peer which never stops talking can't hold up a close.
const DRAINS: usize = 256;

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Config;
    use crate::subflow::{Moved, Role};

    #[test]
    fn what_was_written_arrives_although_answers_keep_coming() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut receiver, _) = listener.accept().unwrap();
            sender.set_nonblocking(true).unwrap();
            let peer = listener.local_addr().unwrap();
            let sender = Subflow::new(sender.into(), peer, Role::Sender(&Config::default())).unwrap();
            let payload = vec![7; 64 << 10];
            let mut written = 0;
            while let Moved::Bytes(count) = sender.send(&[IoSlice::new(&payload)]) {
                written += count;
            }
            // What the receiver's buffer doesn't take is still in the sender's when it closes.
            let unsent = sender.tcp_info().unwrap().unsent;
            assert!(unsent > 100_000, "{unsent}");
            receiver.write_all(&[1; 88]).unwrap();
            sender.finish();
            let mut read = 0;
            let mut place = vec![0; 100_000];
            loop {
                receiver.write_all(&[1; 88]).unwrap();
                match receiver.read(&mut place).unwrap() {
                    0 => break,
                    count => read += count,
                }
            }
            assert_eq!(read, written);
        }
    }

    #[test]
    fn an_aborted_socket_resets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let peer = listener.local_addr().unwrap();
        let sender = Subflow::new(sender.into(), peer, Role::Sender(&Config::default())).unwrap();
        sender.abort();
        let error = receiver.read(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}
