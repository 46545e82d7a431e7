//! Tells other processes of this network namespace what this one's connections carry.
//!
//! A listening socket in the abstract unix namespace, which belongs to the network namespace as the connections do: no directory has to
//! be writable, and the name goes with the process, however that ends. Its thread waits in the kernel until somebody
//! asks. Each who does gets one document and the end of the stream.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, getsockopt, shutdown, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use socket2::Socket;

use super::connections;
use super::document::Document;
use crate::uninherited::Uninherited;

/// What the names of all such sockets begin with; process id and a random number follow.
pub(super) const NAME: &str = "srv6/connections/";

/// Longest that somebody may take to read what was asked for: others wait behind.
const PATIENCE: Duration = Duration::from_millis(500);

/// Wait after a failure that the next attempt would meet again.
const RELIEF: Duration = Duration::from_secs(1);

/// Open until it is dropped, by the last connection.
#[derive(Debug)]
pub(super) struct Service {
    door: Arc<Uninherited<UnixListener>>,
}

impl Service {
    /// Listens in the calling thread's network namespace, and starts the thread that answers.
    pub(super) fn open() -> io::Result<Arc<Service>> {
        // Process ids repeat across containers that share a network.
        let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("{NAME}{}/{random:016x}", std::process::id());
        let door = Arc::new(Uninherited::open(|| {
            let door = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
            // The thread accepts under the lock that forks wait for.
            door.set_nonblocking(true)?;
            Ok(door)
        })?);
        let service = Arc::new(Service { door: Arc::clone(&door) });
        thread::Builder::new().name("srv6-stats".to_owned()).spawn(move || answer(&door))?;
        Ok(service)
    }
}

impl Drop for Service {
    /// Ends the thread, which closes the socket.
    fn drop(&mut self) {
        // In a child of fork it is a dead socket, and an error: the parent's goes on.
        let _ = shutdown(self.door.as_raw_fd(), Shutdown::Both);
    }
}

fn answer(door: &Uninherited<UnixListener>) {
    loop {
        let mut doors = [PollFd::new(door.as_fd(), PollFlags::POLLIN)];
        match poll(&mut doors, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                log::debug!("nobody is told about connections any more: {error}");
                return;
            }
        }
        let [door_now] = &doors;
        if door_now.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
            return;
        }
        let client = match Uninherited::open(|| Ok(Socket::from(door.accept()?.0))) {
            Ok(client) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                // Most likely this process has no descriptor left.
                log::debug!("who asks about connections is not heard: {error}");
                thread::sleep(RELIEF);
                continue;
            }
        };
        if let Err(error) = tell(&client) {
            log::debug!("who asked about connections did not get everything: {error}");
        }
    }
}

/// Writes the document, if whoever asks may have it.
fn tell(client: &Socket) -> io::Result<()> {
    let asks = getsockopt(client, PeerCredentials)?;
    if !may_know(asks.uid(), geteuid().as_raw()) {
        log::debug!("user {} may not know about connections", asks.uid());
        return Ok(());
    }
    let document = Document::new(connections()).encode()?;
    let mut rest = document.as_slice();
    let deadline = Instant::now() + PATIENCE;
    while !rest.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        // No time at all would mean for ever.
        client.set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
        // MSG_NOSIGNAL: a SIGPIPE would end the training job, whose process this is.
        match client.send_with_flags(rest, libc::MSG_NOSIGNAL) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if left.is_zero() && !rest.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Who could look into this process anyway: its own user, and root of its user namespace.
fn may_know(asks: u32, own: u32) -> bool {
    asks == 0 || asks == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_same_user_may_know_and_nobody_else() {
        assert!(may_know(0, 1000) && may_know(1000, 1000) && may_know(0, 0));
        assert!(!may_know(1001, 1000) && !may_know(1000, 0) && !may_know(65534, 1000));
    }

    #[test]
    fn who_does_not_read_is_dropped() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let here = Socket::from(here);
        here.set_send_buffer_size(1).unwrap();
        // Fills what the kernel takes without a reader.
        here.set_nonblocking(true).unwrap();
        while here.send(&[0; 1024]).is_ok() {}
        here.set_nonblocking(false).unwrap();
        let error = tell(&here).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the send's own time limit: {error}");
        drop(there);
    }
}
