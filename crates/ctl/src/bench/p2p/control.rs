//! The connection on which both sides agree, and by which each knows that the other lives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use srv6_netdrive::Abort;

use super::wire::{Ends, Frame, GREETING, GREETING_START};

/// The other side, while it lives.
#[derive(Debug)]
pub(super) struct Control {
    /// Who it is, for people.
    peer: String,
    writer: Arc<Mutex<TcpStream>>,
    inbox: Receiver<Frame>,
    abort: Abort,
    patience: Duration,
    /// Dropped to stop the beating.
    _heart: Sender<()>,
}

impl Control {
    /// Watches over the connection from now on: when the other side fails, is gone or silent, `abort` is ordered.
    ///
    /// # Errors
    /// If the connection can't be used.
    pub(super) fn start(
        stream: TcpStream,
        peer: String,
        abort: &Abort,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let speaking = || format!("speaking to {peer}");
        stream.set_read_timeout(Some(SILENCE)).with_context(speaking)?;
        let writer = Arc::new(Mutex::new(stream.try_clone().with_context(speaking)?));
        let (heart, stopped) = channel();
        let beating = Arc::clone(&writer);
        spawn("p2p heart", move || beat(&beating, &stopped))?;
        let (letters, inbox) = channel();
        let (alarm, name) = (abort.clone(), peer.clone());
        spawn("p2p control", move || listen(stream, &name, &letters, &alarm))?;
        Ok(Self { peer, writer, inbox, abort: abort.clone(), patience, _heart: heart })
    }

    /// # Errors
    /// If the other side can't be reached.
    pub(super) fn send(&self, frame: &Frame) -> anyhow::Result<()> {
        let sent = frame.write(&mut *self.writer.lock().unwrap_or_else(PoisonError::into_inner));
        sent.map_err(|error| self.gone().unwrap_or_else(|| error.into()))
            .with_context(|| format!("speaking to {}", self.peer))
    }

    /// The next frame.
    ///
    /// # Errors
    /// If the other side is gone or takes too long.
    pub(super) fn receive(&self) -> anyhow::Result<Frame> {
        match self.inbox.recv_timeout(self.patience) {
            Ok(frame) => Ok(frame),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} did not answer within {:?}", self.peer, self.patience)
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.gone().unwrap_or_else(|| anyhow!("{} is gone", self.peer)))
            }
        }
    }

    /// Waits until the other side has come to the same step, and gives its TCP connections.
    ///
    /// # Errors
    /// If it doesn't come, or is at another step.
    pub(super) fn meet(&self, step: &str, connections: Vec<Ends>) -> anyhow::Result<Vec<Ends>> {
        self.send(&Frame::Here { step: step.to_owned(), connections })?;
        match self.receive()? {
            Frame::Here { step: theirs, connections } => {
                ensure!(theirs == step, "{} is at {theirs:?}, this side at {step:?}", self.peer);
                Ok(connections)
            }
            other => Err(self.out_of_turn(&other)),
        }
    }

    /// What to say to a frame that isn't the one to come now.
    pub(super) fn out_of_turn(&self, frame: &Frame) -> anyhow::Error {
        anyhow!("{} sent {frame:?} out of turn", self.peer)
    }

    /// Adds to an error that something went wrong on the other side first, or tells that side of it.
    ///
    /// A dead process shows first as a broken data connection; why it broke is known a moment later.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.abort.reason().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let Some(reason) = self.abort.reason() else {
            // If it can't be told, it learns it from the closed connection.
            let _ = self.send(&Frame::Failed(format!("{error:#}")));
            return error;
        };
        if format!("{error:#}").contains(reason) { error } else { error.context(reason.to_owned()) }
    }

    fn gone(&self) -> Option<anyhow::Error> {
        self.abort.reason().map(|reason| anyhow!(reason.to_owned()))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Also wakes the thread that reads.
        let _ = self.writer.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    }
}

/// Says who we are and hears whether the other side is one of ours.
///
/// # Errors
/// If it is not, or of another version.
pub(super) fn greet(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true).context("setting up the connection")?;
    stream.set_write_timeout(Some(SILENCE)).context("setting up the connection")?;
    stream.write_all(GREETING).context("sending a greeting")?;
    let mut heard = [0; GREETING.len()];
    stream.read_exact(&mut heard).context("waiting for a greeting")?;
    if heard == *GREETING {
        return Ok(());
    }
    match heard.strip_prefix(GREETING_START) {
        Some(version) => bail!(
            "the other side speaks version {} of the protocol, this srv6ctl version 1: use the same release",
            String::from_utf8_lossy(version).trim_end()
        ),
        None => bail!("what answers there is no srv6ctl bench p2p"),
    }
}

/// Silence after which the other side counts as dead: a stopped process or a lost host closes no connection.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// How often both sides show that they are alive.
const BEAT: Duration = Duration::from_secs(1);

/// Sorts what the other side says until there is no more to hear.
fn listen(mut stream: TcpStream, peer: &str, letters: &Sender<Frame>, abort: &Abort) {
    loop {
        match Frame::read(&mut stream) {
            Ok(Frame::Beat) => {}
            Ok(Frame::Failed(reason)) => return abort.now(format!("{peer} failed: {reason}")),
            Ok(frame) => {
                let last = frame == Frame::Bye;
                if letters.send(frame).is_err() || last {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return abort.now(format!("{peer} is silent for {SILENCE:?}"));
            }
            Err(_) => return abort.now(format!("{peer} is gone")),
        }
    }
}

fn beat(writer: &Mutex<TcpStream>, stopped: &Receiver<()>) {
    while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
        // A failure shows on the reading side.
        let _ = Frame::Beat.write(&mut *writer.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(body).context("starting a thread")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let left = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (left, listener.accept().unwrap().0)
    }

    fn control(stream: TcpStream, peer: &str) -> (Control, Abort) {
        let abort = Abort::default();
        let patience = Duration::from_secs(5);
        (Control::start(stream, peer.into(), &abort, patience).unwrap(), abort)
    }

    #[test]
    fn both_meet_at_a_step_and_nowhere_else() {
        let (left, right) = pair();
        let ((left, _), (right, _)) = (control(left, "target"), control(right, "initiator"));
        let ends = Ends { local: "[::1]:1".parse().unwrap(), remote: "[::1]:2".parse().unwrap() };
        let there = std::thread::spawn(move || {
            assert_eq!(right.meet("one", vec![ends]).unwrap(), []);
            right.meet("two", Vec::new()).unwrap_err();
        });
        assert_eq!(left.meet("one", Vec::new()).unwrap(), [ends]);
        let error = left.meet("three", Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "target is at \"two\", this side at \"three\"");
        there.join().unwrap();
    }

    #[test]
    fn who_fails_or_dies_is_named() {
        let (left, right) = pair();
        let ((left, abort), (right, _)) = (control(left, "target"), control(right, "initiator"));
        right.send(&Frame::Failed("no memory".into())).unwrap();
        let error = left.explain(anyhow!("isend failed"));
        assert_eq!(format!("{error:#}"), "target failed: no memory: isend failed");
        assert_eq!(abort.reason(), Some("target failed: no memory"));

        let (left, right) = pair();
        let (left, abort) = control(left, "target");
        drop(right);
        assert_eq!(left.receive().unwrap_err().to_string(), "target is gone");
        assert_eq!(abort.reason(), Some("target is gone"));
    }

    #[test]
    fn whoever_says_goodbye_is_not_gone() {
        let (left, right) = pair();
        let ((left, abort), (right, _)) = (control(left, "target"), control(right, "initiator"));
        right.send(&Frame::Bye).unwrap();
        drop(right);
        assert_eq!(left.receive().unwrap(), Frame::Bye);
        assert_eq!(abort.reason(), None);
    }

    #[test]
    fn strangers_and_other_versions_are_told_apart() {
        for (said, wanted) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "what answers there is no srv6ctl bench p2p"),
            (b"srv6ctl bench p2p v2\r\n", "the other side speaks version 2 of the protocol"),
        ] {
            let (mut left, mut right) = pair();
            right.write_all(said).unwrap();
            let error = format!("{:#}", greet(&mut left).unwrap_err());
            assert!(error.starts_with(wanted), "{error}");
        }
        let (mut left, mut right) = pair();
        std::thread::scope(|scope| {
            let there = scope.spawn(|| greet(&mut right).unwrap());
            greet(&mut left).unwrap();
            there.join().unwrap();
        });
    }
}
