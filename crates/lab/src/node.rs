//! One node of a lab: a thread in namespaces of its own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use crate::Error;
use crate::namespace::{self, Namespace};

type Job = Box<dyn FnOnce() + Send>;

/// A host, a switch or the management network of a lab.
pub struct Node {
    name: String,
    pid: u32,
    tid: u32,
    namespace: Arc<Namespace>,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// A node in new namespaces that end with it.
    pub(crate) fn create(name: &str) -> Result<Self, Error> {
        let own = std::process::id();
        Self::start(name, own, None)
    }

    /// A node whose namespaces are those of another process's thread.
    pub(crate) fn join(name: &str, pid: u32, tid: u32) -> Result<Self, Error> {
        Self::start(name, pid, Some(tid))
    }

    fn start(name: &str, pid: u32, tid: Option<u32>) -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, started) = mpsc::channel();
        let node = name.to_owned();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let own = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
            let namespace = match tid {
                None => Namespace::create(&node),
                Some(tid) => Namespace::join(&node, pid, tid),
            };
            let entered = namespace.is_ok();
            let told = ready.send(namespace.map(|n| (n, tid.unwrap_or(own))));
            if entered && told.is_ok() {
                for job in queue {
                    job();
                }
            }
        });
        let failed = |source| Error::Namespace { node: name.to_owned(), action: "start its thread", source };
        let thread = spawned.map_err(failed)?;
        let (namespace, tid) =
            started.recv().map_err(|_| failed(std::io::ErrorKind::BrokenPipe.into()))??;
        Ok(Self { name: name.to_owned(), pid, tid, namespace, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Thread that lives in the node's namespaces, as `gettid` calls it.
    pub fn thread_id(&self) -> u32 {
        self.tid
    }

    /// Its network namespace below /proc; valid while the lab is up.
    pub fn namespace_path(&self) -> PathBuf {
        namespace::path(self.pid, self.tid, "net")
    }

    /// Runs `work` on the node's own thread and gives back what it returns.
    ///
    /// Blocks; calls wait for each other. For something long-lived, let `work` spawn a thread: it starts in the
    /// same namespaces.
    ///
    /// # Panics
    /// With what `work` panicked with.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.submit(work).recv() {
            Ok(Ok(value)) => value,
            Ok(Err(payload)) => resume_unwind(payload),
            Err(_) => unreachable!("a node's thread outlives every job it was given"),
        }
    }

    /// As [`Self::run`], but doesn't wait.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> mpsc::Receiver<std::thread::Result<T>> {
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move || {
            // Unwind safety: the payload goes on in the caller, which owned everything the closure held. The
            // caller may have gone meanwhile; then nobody wants the result.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        if let Some(jobs) = &self.jobs {
            // Sending fails only after the thread has ended, and then `result` says so to the caller.
            let _ = jobs.send(job);
        }
        result
    }

    /// A command that will run inside the node.
    ///
    /// Its working directory, environment and standard streams are the caller's, as for any other command.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.namespace.confine(&mut command);
        command
    }

    /// Runs a shell command line inside the node and gives back what it printed, standard error included.
    ///
    /// # Errors
    /// It could not be started or failed; the error holds its output.
    pub fn sh(&self, line: &str) -> Result<String, Error> {
        let failed =
            |message: String| Error::Command { node: self.name.clone(), command: line.to_owned(), message };
        let output = self
            .command("sh")
            .args(["-c", &format!("exec 2>&1; {line}")])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| failed(e.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(text) } else { Err(failed(format!("{}: {text}", output.status))) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Jobs can't end the thread with a panic (`submit` catches), so there is nothing to learn here.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("thread", &self.tid).finish_non_exhaustive()
    }
}
