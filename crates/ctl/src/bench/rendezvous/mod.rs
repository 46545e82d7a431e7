//! How the ranks find each other and stay in touch: NCCL's bootstrap network.
//!
//! Rank 0 listens at `MASTER_ADDR:MASTER_PORT`; every rank, rank 0 too, holds one connection to it for as long as it
//! lives. A connection that closes or falls silent ends the job on all ranks, with the name of the rank to blame.

mod frame;
mod hub;

use std::io::{self, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use srv6_netdrive::{Abort, Exchange, hostname};

use super::ranks::Place;
use frame::{Frame, GREETING};
use hub::{Hub, is_timeout};

/// One rank among the others.
#[derive(Debug)]
pub(super) struct Rendezvous {
    place: Place,
    writer: Arc<Mutex<TcpStream>>,
    inbox: Receiver<Vec<Vec<u8>>>,
    abort: Abort,
    hub: Option<Hub>,
    /// Dropped to stop the beating.
    _heart: Sender<()>,
}

impl Rendezvous {
    /// Meets the other ranks; `None` if there are none.
    ///
    /// `abort` is ordered when a rank is gone. `patience` is how long to wait for all ranks to come.
    ///
    /// # Errors
    /// If the ranks don't all come in time, or this one is refused.
    pub(super) fn join(place: &Place, abort: &Abort, patience: Duration) -> anyhow::Result<Option<Self>> {
        if place.world == 1 {
            return Ok(None);
        }
        let hub = if place.rank == 0 { Some(listen(place, patience)?) } else { None };
        let deadline = Instant::now() + patience;
        let mut stream = knock(place, deadline)?;
        let master = || format!("speaking to rank 0 at {}:{}", place.master, place.port);
        prepare(&stream).with_context(master)?;
        stream.write_all(GREETING).with_context(master)?;
        let hello =
            Frame::Hello { rank: place.rank, world: place.world, host: hostname(), pid: std::process::id() };
        hello.write(&mut stream).with_context(master)?;
        let writer = Arc::new(Mutex::new(stream.try_clone().with_context(master)?));
        let (heart, stopped) = channel();
        let beating = Arc::clone(&writer);
        // From now on: the others may be long in coming.
        spawn("heart", move || beat(&beating, &stopped))?;
        // Welcome comes when the last rank does.
        stream.set_read_timeout(Some(patience + BEAT)).with_context(master)?;
        loop {
            match Frame::read(&mut stream) {
                Ok(Frame::Welcome) => break,
                Ok(Frame::Beat) => {}
                Ok(Frame::Refused(reason) | Frame::Gone(reason)) => bail!(reason),
                Ok(other) => bail!("rank 0 answered {other:?} to a greeting"),
                Err(error) if is_timeout(&error) => bail!("not all ranks came within {patience:?}"),
                Err(error) => return Err(error).with_context(master),
            }
        }
        stream.set_read_timeout(Some(SILENCE)).with_context(master)?;

        let (letters, inbox) = channel();
        let alarm = abort.clone();
        spawn("rendezvous", move || listen_to_hub(stream, &letters, &alarm))?;
        let (place, abort) = (place.clone(), abort.clone());
        Ok(Some(Self { place, writer, inbox, abort, hub, _heart: heart }))
    }

    /// Tells the others that this rank can't go on.
    pub(super) fn fail(&self, reason: &str) {
        // If rank 0 can't be reached the others learn it from the closed connection.
        let _ = self.send(&Frame::Failed(reason.to_owned()));
    }

    /// Leaves; rank 0 waits until all have left, so that none takes it for dead.
    pub(super) fn leave(self) {
        let _ = self.send(&Frame::Bye);
        if let Some(hub) = &self.hub {
            hub.finish();
        }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        frame.write(&mut *self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn gather(&self, mine: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
        let sent = self.send(&Frame::Share(mine.to_vec()));
        // However long: a rank that is dead or silent ends the job, one that is at work may take its time.
        let Ok(all) = self.inbox.recv() else {
            return Err(match self.abort.reason() {
                Some(reason) => anyhow!(reason.to_owned()),
                None => anyhow!("rank 0 is gone"),
            });
        };
        sent.context("speaking to rank 0")?;
        if all.len() != self.place.world {
            bail!("rank 0 gathered {} answers of {} ranks", all.len(), self.place.world);
        }
        Ok(all)
    }
}

impl Exchange for Rendezvous {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        self.gather(mine).map_err(Into::into)
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        // Also wakes the thread that reads.
        let _ = self.writer.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    }
}

/// How often both sides show that they are alive.
const BEAT: Duration = Duration::from_secs(1);

/// Silence after which the other side counts as dead: a stopped process or a lost host closes no connection.
const SILENCE: Duration = Duration::from_secs(10);

fn listen(place: &Place, patience: Duration) -> anyhow::Result<Hub> {
    // Any address: MASTER_ADDR may be one that only the others reach (a service's, a NAT's).
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, place.port));
    let any4 = SocketAddr::from(([0, 0, 0, 0], place.port));
    let listener =
        TcpListener::bind(any)
            .or_else(|error| {
                if error.kind() == io::ErrorKind::AddrInUse { Err(error) } else { TcpListener::bind(any4) }
            })
            .with_context(|| format!("listening on port {} (MASTER_PORT) as rank 0", place.port))?;
    Hub::start(listener, place.world, patience).context("starting the rendezvous")
}

/// Connects to rank 0, which may start later.
fn knock(place: &Place, deadline: Instant) -> anyhow::Result<TcpStream> {
    let target = (place.master.trim_matches(['[', ']']), place.port);
    loop {
        let result = target.to_socket_addrs().and_then(|addresses| {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in addresses {
                match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                let (master, port) = target;
                return Err(error).with_context(|| {
                    format!("can't reach rank 0 at {master} port {port} (MASTER_ADDR, MASTER_PORT)")
                });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))
}

/// Sorts what the hub says until there is no more to hear.
fn listen_to_hub(mut stream: TcpStream, letters: &Sender<Vec<Vec<u8>>>, abort: &Abort) {
    loop {
        match Frame::read(&mut stream) {
            Ok(Frame::All(all)) => {
                if letters.send(all).is_err() {
                    return;
                }
            }
            Ok(Frame::Beat) => {}
            Ok(Frame::Gone(reason) | Frame::Refused(reason)) => return abort.now(reason),
            Ok(other) => return abort.now(format!("rank 0 sent {other:?} out of turn")),
            Err(error) if is_timeout(&error) => {
                return abort.now(format!("rank 0 is silent for {SILENCE:?}"));
            }
            Err(_) => return abort.now("rank 0 is gone"),
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
mod tests;
