//! Taking connections: no more at a time than there is room for, and on when descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long nothing is taken after the kernel refused to give a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket and the places behind it.
pub(crate) struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    /// What log lines begin with.
    name: String,
}

impl Door {
    /// Over a socket that doesn't block, with this many places. `name` begins its log lines.
    pub(crate) fn new(listener: std::net::TcpListener, places: usize, name: String) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, room: Arc::new(Semaphore::new(places)), name })
    }

    /// The next connection, and its place, which is free again when dropped. Further ones wait in the kernel.
    pub(crate) async fn next(&self) -> (TcpStream, OwnedSemaphorePermit) {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { std::future::pending().await };
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                // Out of descriptors, as a rule; there may be some again in a moment.
                Err(error) => {
                    log::warn!("{} accept: {error}", self.name);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// A socket that doesn't block and listens at this address; port 0 takes any free one. It belongs to the calling thread's
/// network namespace.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
