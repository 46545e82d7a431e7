//! An srv6d of a test's own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running srv6d; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Daemon {
    /// Starts one that serves MPIB's clients too, with these settings besides, and waits until it does.
    pub(crate) fn start(settings: &[(&str, &str)], flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings, flags)
    }

    /// As [`Self::start`], in the folder of one before.
    pub(crate) fn start_in(folder: tempfile::TempDir, settings: &[(&str, &str)], flags: &[&str]) -> Self {
        let at = |name: &str| folder.path().join(name);
        let fabric = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_srv6d"))
            .env("SRV6_TOPOLOGY", fabric)
            .env("SRV6_AGENT_SOCKET", at("run/agent.sock"))
            .env("SRV6D_HINTS", at("hints"))
            .env("SRV6D_HTTP", "off")
            .env("SRV6D_MPIB_DIR", at("mpib"))
            .env("SRV6D_MPIB_UNIT", "per1024")
            .envs(settings.iter().copied())
            .arg("--mpib-compat")
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let say = say.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _nobody_listens = say.send(line);
                }
            });
        }
        let input = child.stdin.take();
        let mut daemon = Self { child, folder, input, lines };
        eventually("srv6d listens", || {
            assert_eq!(
                daemon.child.try_wait().unwrap(),
                None,
                "{:?}",
                daemon.lines.iter().collect::<Vec<_>>()
            );
            std::os::unix::net::UnixStream::connect(daemon.socket()).is_ok()
        });
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("mpib/agent.sock")
    }

    pub(crate) fn mpib_hints(&self) -> PathBuf {
        self.folder.path().join("mpib/hints")
    }

    pub(crate) fn hints(&self) -> PathBuf {
        self.folder.path().join("hints")
    }

    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.folder.path().join("run/agent.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for a line of its output that contains `text`, and gives it.
    pub(crate) fn line(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {text:?} among {seen:?}");
    }

    /// Asks it to stop, waits until it has, and leaves its folder.
    pub(crate) fn stop(mut self) -> (ExitStatus, PathBuf) {
        signal(self.pid(), "TERM");
        let status = eventually_some("srv6d ends", || self.child.try_wait().unwrap());
        (status, self.folder.path().to_owned())
    }

    /// Kills it, and gives the folder for the next one.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Sends a signal by name.
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    eventually_some(what, || so().then_some(()));
}

/// Waits for a value.
pub(crate) fn eventually_some<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
