//! The socket: who may connect, how many, and a task for each.

mod input;
mod output;
mod peer;
mod session;
mod turns;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Group;
use rustix::fs::{FlockOperation, flock};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::peer::Peer;
use self::session::{Ending, Session};
use self::turns::Turns;
use crate::throttle::Throttle;
use crate::{Agent, AgentError};

/// How often it is looked whether the socket is still there: a folder under /run may be made anew.
const LOOK: Duration = Duration::from_millis(500);

/// Pause after a failed accept, which is as a rule for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening socket of the only agent at its path.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    group: Option<u32>,
    /// Device and inode of the socket as it was made.
    id: (u64, u64),
    /// Held as long as this agent lives; another one at the same path finds it locked.
    lock: File,
    refusals: Throttle,
    turns: Arc<Turns>,
}

impl Server {
    /// Makes the socket, and its folder if that isn't there. Within a tokio runtime.
    ///
    /// # Errors
    /// Another agent has it, or it can't be made.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, AgentError> {
        let group = group.map(|name| group_id(name, path)).transpose()?;
        let (listener, id, lock) = listen(path, group)?;
        let (refusals, turns) = (Throttle::default(), Arc::default());
        Ok(Self { listener, path: path.to_owned(), group, id, lock, refusals, turns })
    }

    /// Serves every client in a task of its own until `stop`; gives back once all sessions have ended.
    pub async fn serve(mut self, agent: Arc<Agent>, stop: Arc<Notify>) {
        let mut sessions = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(&agent, stream, &mut sessions),
                    Err(error) => {
                        self.refusals.warn(&format!("socket={} no connection taken: {error}", self.path.display()));
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = sessions.join_next() => match ended {
                    Ok(Ending::Refused(reason)) => self.refusals.warn(&format!("session refused: {reason}")),
                    Ok(ending) => log::debug!("session ended: {ending}"),
                    Err(error) => log::error!("session ended: {error}"),
                },
                _ = look.tick() => self.look(),
                () = stop.notified() => break,
            }
        }
        // An error means that somebody has removed it.
        let _removed = fs::remove_file(&self.path);
        sessions.shutdown().await;
    }

    fn admit(&mut self, agent: &Arc<Agent>, stream: UnixStream, sessions: &mut JoinSet<Ending>) {
        let admitted =
            Peer::of(&stream, agent.config().scope).map_err(|error| error.to_string()).and_then(|peer| {
                Ok((agent.registry().admit(peer.uid).map_err(|error| error.to_string())?, peer))
            });
        match admitted {
            Ok((place, peer)) => {
                let turns = Arc::clone(&self.turns);
                sessions.spawn(Session::new(Arc::clone(agent), stream, peer, place, turns).run());
            }
            Err(reason) => {
                self.refusals.warn(&format!("session refused: {reason}"));
                let event = srv6_steer::protocol::Event::Refused { reason };
                // A new socket has room for so little.
                let _gone = stream.try_write(&event.encode());
            }
        }
    }

    /// Makes the socket again if it is gone. Sessions that are open stay.
    fn look(&mut self) {
        let there = fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if there {
            return;
        }
        match listen(&self.path, self.group) {
            Ok((listener, id, lock)) => {
                log::warn!("socket={} was gone and is made again", self.path.display());
                (self.listener, self.id, self.lock) = (listener, id, lock);
            }
            Err(error) => self.refusals.warn(&format!("socket={} is gone: {error}", self.path.display())),
        }
    }
}

/// The listener, what tells its file from others, and the lock.
fn listen(path: &Path, group: Option<u32>) -> Result<(UnixListener, (u64, u64), File), AgentError> {
    let fault = |doing, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| AgentError::Socket { doing, path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder).map_err(fault("make", folder))?;
        // Programs of jobs read hints and look for the socket here; who may connect, the socket's own mode says.
        fs::set_permissions(folder, Permissions::from_mode(0o755))
            .map_err(fault("set the mode of", folder))?;
    }
    let lock_path = path.with_extension("lock");
    let lock =
        File::options().create(true).append(true).open(&lock_path).map_err(fault("open", &lock_path))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| AgentError::Running { socket: path.to_owned() })?;
    // Whoever left it isn't there any more, or the lock would be held.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault("remove", path)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(fault("bind", path))?;
    chown(path, None, group).map_err(fault("give a group to", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(fault("set the mode of", path))?;
    let made = fs::metadata(path).map_err(fault("look at", path))?;
    Ok((listener, (made.dev(), made.ino()), lock))
}

fn group_id(name: &str, path: &Path) -> Result<u32, AgentError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(AgentError::UnknownGroup { name: name.to_owned() }),
        Err(errno) => Err(AgentError::Socket {
            doing: "find the group of",
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
}
