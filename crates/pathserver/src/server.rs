//! The listening server, in the caller's thread or in its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::serve::ListenerExt;
use parking_lot::Mutex;
use srv6_fabric::Documents;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::answering::{Shared, respond};
use crate::api::{Service, replace};
use crate::faults::Faults;
use crate::store::{Fabric, Store};
use crate::{Options, ServerError};

/// Threads that work out answers; requests beyond wait for one of them.
const WORKERS: usize = 16;
/// Paths through long chains are followed by recursion.
const WORKER_STACK: usize = 16 << 20;
/// How long requests under way may take to end after a signal to stop.
const GRACE: Duration = Duration::from_secs(2);

/// A server that listens and doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Checks documents and listens on an address; port 0 takes any free one. The socket belongs to the network
    /// namespace of the calling thread.
    ///
    /// # Errors
    /// Documents that no fabric can have, or an address that can't be listened on.
    pub fn bind(address: SocketAddr, documents: &Documents, options: Options) -> Result<Self, ServerError> {
        let store = Store::new(Fabric::new(documents, &options)?);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared {
            service: Service { store, options, started },
            faults: Mutex::new(Faults::default()),
            requests: AtomicU64::new(0),
        });
        Ok(Self { listener, address, shared })
    }

    /// The address listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The base that clients are given: `http://ADDRESS/api/v1`.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Answers requests until SIGINT or SIGTERM; blocks. Requests under way then have two seconds to end.
    ///
    /// `ready` is called once both signals are caught: what it announces can be stopped cleanly.
    ///
    /// # Errors
    /// The runtime could not be made, or the socket broke.
    pub fn serve(self, ready: impl FnOnce()) -> Result<(), ServerError> {
        let address = self.address;
        let failed = |source| ServerError::Serve { address, source };
        let runtime = runtime().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let result = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::spawn(async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                log::info!("stopping");
                let _ = stop.send(true);
            });
            ready();
            self.run(stopped, GRACE).await
        });
        runtime.shutdown_background();
        result.map_err(failed)
    }

    /// Answers requests on a thread of its own until the handle is dropped.
    ///
    /// # Errors
    /// The runtime or the thread could not be made.
    pub fn spawn(self) -> Result<Running, ServerError> {
        let (address, shared) = (self.address, Arc::clone(&self.shared));
        let failed = |source| ServerError::Serve { address, source };
        let runtime = runtime().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let serve = move || {
            if let Err(error) = runtime.block_on(self.run(stopped, Duration::ZERO)) {
                log::error!("serve on {address}: {error}");
            }
            runtime.shutdown_background();
        };
        let thread =
            std::thread::Builder::new().name("srv6-pathserver".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Running { address, shared, stop, thread: Some(thread) })
    }

    async fn run(self, stopped: watch::Receiver<bool>, grace: Duration) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?.tap_io(|stream| {
            // Answers are one write each; nothing is gained by waiting for more.
            let _ = stream.set_nodelay(true);
        });
        let app = Router::new().fallback(respond).with_state(self.shared);
        let serve = axum::serve(listener, app).with_graceful_shutdown(wait(stopped.clone(), Duration::ZERO));
        tokio::select! {
            result = serve => result,
            () = wait(stopped, grace) => Ok(()),
        }
    }
}

/// A server on its own thread. It stops, and its connections are closed, when this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The address listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The base that clients are given: `http://ADDRESS/api/v1`.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Switches faults on, from the next request; `Faults::default()` switches them off.
    pub fn set_faults(&self, faults: Faults) {
        *self.shared.faults.lock() = faults;
    }

    /// Requests under `/api/v1` so far, those that met a fault included.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Serves other documents from now on.
    ///
    /// # Errors
    /// Documents that no fabric can have; the ones before are then served on.
    pub fn replace(&self, documents: &Documents) -> Result<(), ServerError> {
        replace(&self.shared.service, documents).map(|_| ())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // It ended by a panic or by itself; either way nothing is left to do.
            let _ = thread.join();
        }
    }
}

/// One thread for sockets, and others for the work: see [`crate::answering`].
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .thread_stack_size(WORKER_STACK)
        .thread_name("srv6-paths-work")
        .build()
}

/// Ends a while after the word to stop, or after nobody is left who could give it.
async fn wait(mut stopped: watch::Receiver<bool>, longer: Duration) {
    let _ = stopped.wait_for(|&stop| stop).await;
    tokio::time::sleep(longer).await;
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/api/v1")
}
