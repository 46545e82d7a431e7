//! The webhook as a process, and what it logs.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::secret::Secret;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running `srv6d webhook`, ended when dropped.
pub(crate) struct Serving {
    pub(crate) secret: Secret,
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    /// Starts one on a free port with these flags besides.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let secret = Secret::new();
        let mut child = command(&secret).args(flags).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line))
        });
        let mut address = None;
        eventually("the webhook says where it is", || {
            address = log.lock().unwrap().iter().find_map(|line: &String| {
                line.split_once(" webhook=")?.1.strip_suffix(" served")?.parse().ok()
            });
            address.is_some()
        });
        Self { secret, address: address.unwrap(), child, log }
    }

    /// How many lines were logged that have this text.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn tell_to_stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// How the process ended, within [`PATIENCE`].
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the webhook ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The program on a free port, with this secret.
pub(crate) fn command(secret: &Secret) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srv6d"));
    command.args(["webhook", "--listen=127.0.0.1:0"]);
    command.arg("--cert").arg(secret.path("tls.crt")).arg("--key").arg(secret.path("tls.key"));
    command.stdin(Stdio::null());
    command
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
