//! One side of a benchmark, as its user starts it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running process and what it has printed so far. Killed if it is dropped.
pub(crate) struct Process {
    child: Child,
    printed: Arc<Mutex<String>>,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) printed: String,
    /// Standard error.
    pub(crate) said: String,
}

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// `srv6ctl bench p2p` with a plugin.
pub(crate) fn p2p(plugin: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
    command.args(["bench", "p2p", "--plugin"]).arg(plugin);
    command.env_remove("NIXL_ETCD_ENDPOINTS").env_remove("NIXL_ETCD_NAMESPACE");
    command
}

/// The plugin as cargo built it beside this test.
pub(crate) fn own_plugin() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(built.exists(), "{} is not built", built.display());
    built
}

/// A port that nobody has, and that no outgoing connection gets before it is listened on: those begin at 32768.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (printed, said) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), &printed),
            collect(child.stderr.take().unwrap(), &said),
        ];
        Self { child, printed, said, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until a text stands in what it said or printed.
    pub(crate) fn await_text(&self, text: &str) {
        let started = Instant::now();
        loop {
            let seen = format!("{}{}", self.said.lock().unwrap(), self.printed.lock().unwrap());
            if seen.contains(text) {
                return;
            }
            assert!(started.elapsed() < LIMIT, "{text:?} never came:\n{seen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < LIMIT, "it still runs:\n{}", self.said.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let text = |text: &Mutex<String>| text.lock().unwrap().clone();
        Ended { status, printed: text(&self.printed), said: text(&self.said) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Ended {
    pub(crate) fn assert_right(&self) {
        assert!(self.status.success(), "{self:#?}");
    }

    /// It failed, and said all of this.
    pub(crate) fn assert_failed(&self, texts: &[&str]) {
        assert_eq!(self.status.code(), Some(1), "{self:#?}");
        for text in texts {
            assert!(self.said.contains(text), "{text:?} is not in {self:#?}");
        }
    }
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    })
}
