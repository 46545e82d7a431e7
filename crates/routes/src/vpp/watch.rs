//! Notices that VPP has ended, and that it is there again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::VppConfig;
use super::client::Client;
use crate::{Change, RouteError, Watch};

/// How soon a stop, and a VPP that is there again, are noticed.
const SLICE: Duration = Duration::from_millis(100);

/// A connection of its own that says nothing: it breaks when VPP ends.
#[derive(Debug)]
pub(super) struct VppWatch {
    socket: PathBuf,
    timeout: Duration,
    client: Option<Client>,
    stop: Arc<AtomicBool>,
}

impl VppWatch {
    pub(super) fn new(config: &VppConfig) -> Self {
        let client = Client::connect(&config.socket, config.timeout).ok();
        let (socket, timeout) = (config.socket.clone(), config.timeout);
        Self { socket, timeout, client, stop: Arc::default() }
    }
}

impl Watch for VppWatch {
    fn wait(&mut self) -> Result<Option<Vec<Change>>, RouteError> {
        while !self.stop.load(Ordering::Relaxed) {
            match &mut self.client {
                Some(client) => {
                    if client.wait_for_end(SLICE).unwrap_or(true) {
                        log::warn!("VPP at {} has ended", self.socket.display());
                        self.client = None;
                    }
                }
                None => match Client::connect(&self.socket, self.timeout) {
                    Ok(client) => {
                        self.client = Some(client);
                        return Ok(Some(vec![Change::Lost]));
                    }
                    // There is nothing to wait on but time.
                    Err(_) => std::thread::sleep(SLICE),
                },
            }
        }
        Ok(None)
    }

    fn stopper(&self) -> Box<dyn Fn() + Send> {
        let stop = Arc::clone(&self.stop);
        Box::new(move || stop.store(true, Ordering::Relaxed))
    }
}
