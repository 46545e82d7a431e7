//! Labs that outlive the command that made them: `srv6ctl lab`.
//!
//! One process per lab, the keeper, holds it and does nothing else. A state file says which process that is and
//! which of its threads lives in which node; with that, any process of the same user can enter a node, read
//! counters or break a link. The lab ends with its keeper, so there is nothing to clean up after a crash but
//! the state file, and whoever looks at it next does that.

mod directory;
mod process;
mod state;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use srv6_fabric::{Topology, chain};

pub use directory::Directory;
pub use state::{Request, State};

use crate::{Error, Lab, Node, enter_user_namespace};

/// What [`start`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The lab is up now.
    Now,
    /// It was up already, with the same topology and options.
    Already,
}

/// What [`stop`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The lab, and this many processes that still ran inside.
    Now {
        /// Processes that were told to end.
        processes: usize,
    },
    /// It wasn't up.
    Already,
}

/// What a keeper is told on its standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    directory: PathBuf,
    request: Request,
}

/// What a keeper answers on its standard output, one line.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Up,
    Failed(String),
}

/// Brings a lab up in a process of its own and returns once it is there.
///
/// `keeper` is a command that will call [`keep`], as the first thing it does.
///
/// # Errors
/// The keeper's own, a lab of this name with something else in it, or a state directory that can't be used.
pub fn start(directory: &Directory, request: &Request, mut keeper: Command) -> Result<Started, Error> {
    let _lock = directory.lock()?;
    if let Some(state) = directory.state(request.name())? {
        return match state.request().difference(request) {
            None => Ok(Started::Already),
            Some(difference) => Err(Error::UpDifferently { name: request.name().to_owned(), difference }),
        };
    }
    let failed = |action: String| Error::Keeper { action };
    let log = directory.create_log(request.name())?;
    let mut child = keeper
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|e| failed(format!("could not be started: {e}")))?;

    let order = Order { directory: directory.path().to_owned(), request: request.clone() };
    let order =
        serde_json::to_vec(&order).map_err(|e| failed(format!("could not be told what to do: {e}")))?;
    let mut text = String::new();
    let talked = (|| {
        // Taken and dropped: the end of its input is the end of the order.
        child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?.write_all(&order)?;
        child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?.read_to_string(&mut text)
    })();
    match serde_json::from_str(&text) {
        Ok(Answer::Up) => Ok(Started::Now),
        Ok(Answer::Failed(message)) => {
            let _ = child.wait();
            Err(Error::Remote { message })
        }
        Err(_) => {
            let status = child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
            let said = talked.err().map_or(String::new(), |e| format!(", {e}"));
            let log = directory.read_log(request.name());
            Err(failed(format!("ended without an answer ({status}{said}): {}", log.trim())))
        }
    }
}

/// The keeper's whole life: reads its order from standard input, brings the lab up, answers on standard
/// output, and then holds the lab until it is killed.
///
/// Must be called while the process has one thread. Returns only on failure, which it has reported by then.
///
/// # Errors
/// Whatever kept the lab from coming up.
pub fn keep() -> Result<std::convert::Infallible, Error> {
    let lab = build();
    let answer = match &lab {
        Ok(_) => Answer::Up,
        Err(error) => Answer::Failed(chain(error)),
    };
    let failed = |action: &str, e: &dyn std::fmt::Display| Error::Keeper {
        action: format!("could not {action}: {e}"),
    };
    let told = serde_json::to_string(&answer).map_err(|e| failed("answer", &e))?;
    let told = std::io::stdout().write_all(told.as_bytes()).and_then(|()| std::io::stdout().flush());
    let (lab, directory, name) = lab?;
    if let Err(e) = told {
        // Nobody waits for this lab any more, so nobody would know of it.
        drop(lab);
        directory.forget(&name)?;
        return Err(failed("answer", &e));
    }
    // From here on no terminal, pipe or directory of the caller is held.
    let null = std::fs::File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|e| failed("open /dev/null", &e))?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| failed("let its input go", &e))?;
    rustix::stdio::dup2_stdout(&null).map_err(|e| failed("let its output go", &e))?;
    loop {
        // Killing it is how the lab is taken down; unparking this thread by mistake is harmless.
        std::thread::park();
    }
}

/// Takes a lab down and waits until it is gone. Processes that run inside are told to end, then made to.
///
/// # Errors
/// The keeper can't be reached or doesn't end.
pub fn stop(directory: &Directory, name: &str) -> Result<Stopped, Error> {
    let _lock = directory.lock()?;
    let Some(state) = directory.state(name)? else { return Ok(Stopped::Already) };
    // Recorded while they can still be read: the keeper's threads are the only names these namespaces have.
    let namespaces = state.namespaces();
    let processes = process::end_inside(&namespaces, state.pid())?;
    process::end_keeper(&state)?;
    directory.forget(name)?;
    Ok(Stopped::Now { processes })
}

fn build() -> Result<(Lab, Directory, String), Error> {
    let failed = |action: &str, e: &dyn std::fmt::Display| Error::Keeper {
        action: format!("could not {action}: {e}"),
    };
    // What is typed at the terminal, and its end, isn't meant for the lab.
    rustix::process::setsid().map_err(|e| failed("leave its session", &e))?;
    rustix::process::chdir("/").map_err(|e| failed("change to /", &e))?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| failed("read its order", &e))?;
    let order: Order = serde_json::from_str(&text).map_err(|e| failed("understand its order", &e))?;
    enter_user_namespace()?;
    let topology: Topology = order.request.topology()?;
    let lab = Lab::up(&topology, order.request.options())?;
    let threads = lab.nodes().iter().map(|n| (n.name().to_owned(), Node::thread_id(n))).collect();
    let directory = Directory::at(order.directory)?;
    let name = order.request.name().to_owned();
    directory.remember(&State::of_this_process(order.request, threads)?)?;
    Ok((lab, directory, name))
}
