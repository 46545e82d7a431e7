//! How initiator and target find each other: TCP to an address, whichever of them is there first.

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use srv6_netdrive::{Abort, hostname};

use super::control::{Control, SILENCE, greet};
use super::wire::{Agent, Frame, Op, Terms};
use super::{say, sizes};

/// Where a target listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: String,
    pub(super) port: u16,
}

/// What a target was told of the initiator's terms; if something else comes, it refuses.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub(super) sizes: Option<Vec<u64>>,
    pub(super) op: Option<Op>,
}

/// An initiator that a target has accepted.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) agent: Agent,
    pub(super) terms: Terms,
    pub(super) control: Control,
    pub(super) abort: Abort,
}

impl Address {
    pub(super) fn new(ip: &str, port: u16) -> Self {
        Self { ip: ip.trim_matches(['[', ']']).to_owned(), port }
    }

    /// # Errors
    /// If the address is not this machine's, or the port is taken.
    pub(super) fn listen(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind((self.ip.as_str(), self.port)).with_context(|| {
            format!("can't listen at {self} (--ip wants an address of this machine, or 0.0.0.0 or ::)")
        })
    }

    /// Connects as soon as somebody listens there; `still` says before each further attempt whether it is worth while.
    ///
    /// # Errors
    /// If nobody does until the deadline.
    pub(super) fn connect(
        &self,
        deadline: Instant,
        mut still: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<TcpStream> {
        let mut told = false;
        loop {
            let error = match self.try_connect() {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(error).with_context(|| format!("can't reach the target at {self}"));
            }
            if !told {
                say(&format!("Waiting for the target at {self} ({error}), up to {} s", rest.as_secs()));
                told = true;
            }
            std::thread::sleep(RETRY.min(rest));
            still()?;
        }
    }

    fn try_connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.ip.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ip, port } = self;
        if ip.contains(':') { write!(f, "[{ip}]:{port}") } else { write!(f, "{ip}:{port}") }
    }
}

/// This process under a name.
pub(super) fn agent(name: Option<&str>) -> Agent {
    let (host, pid) = (hostname(), std::process::id());
    Agent { name: name.map_or_else(|| format!("{host}-{pid}"), str::to_owned), host, pid }
}

/// The initiator's part of the introduction; a target that serves somebody else is waited for.
///
/// # Errors
/// If what listens there is no target, or it refuses.
pub(super) fn introduce(
    mut stream: TcpStream,
    address: &Address,
    agent: &Agent,
    terms: &Terms,
    deadline: Instant,
    patience: Duration,
) -> anyhow::Result<(Control, Abort)> {
    let answering = || format!("the target at {address} did not answer (does it serve another initiator?)");
    let rest = deadline.saturating_duration_since(Instant::now()).max(SILENCE);
    stream.set_read_timeout(Some(rest)).with_context(answering)?;
    greet(&mut stream).with_context(answering)?;
    Frame::Hello { agent: agent.clone(), terms: terms.clone() }.write(&mut stream).with_context(answering)?;
    match Frame::read(&mut stream).with_context(answering)? {
        Frame::Welcome { agent } => {
            let abort = Abort::default();
            let peer = format!("target {} at {address} (pid {})", agent.name, agent.pid);
            Ok((Control::start(stream, peer, &abort, patience)?, abort))
        }
        Frame::Refused(reason) => bail!("the target at {address} refused: {reason}"),
        other => bail!("the target at {address} answered {other:?} to an introduction"),
    }
}

/// Waits for an initiator; other programs that knock are sent away.
///
/// # Errors
/// If none comes until the deadline, or one comes with other terms.
pub(super) fn accept(
    listener: &TcpListener,
    agent: &Agent,
    expected: &Expected,
    deadline: Instant,
    patience: Duration,
) -> anyhow::Result<Guest> {
    listener.set_nonblocking(true).context("waiting for an initiator")?;
    loop {
        match listener.accept() {
            Ok((stream, from)) => match hear(stream) {
                Ok((stream, guest, terms)) => {
                    return admit(
                        stream,
                        guest,
                        terms,
                        &from.ip().to_canonical().to_string(),
                        agent,
                        expected,
                        patience,
                    );
                }
                Err(error) => say(&format!("{from} knocked and is no initiator of ours: {error:#}")),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ensure!(
                    Instant::now() < deadline,
                    "no initiator came to {} within the time-out (--timeout)",
                    listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string())
                );
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error).context("waiting for an initiator"),
        }
    }
}

/// Who knocks; nobody may take long to say it, since others may wait.
fn hear(mut stream: TcpStream) -> anyhow::Result<(TcpStream, Agent, Terms)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    greet(&mut stream)?;
    match Frame::read(&mut stream).context("waiting for an introduction")? {
        Frame::Hello { agent, terms } => Ok((stream, agent, terms)),
        other => Err(anyhow!("it began with {other:?}")),
    }
}

fn admit(
    mut stream: TcpStream,
    guest: Agent,
    terms: Terms,
    from: &str,
    agent: &Agent,
    expected: &Expected,
    patience: Duration,
) -> anyhow::Result<Guest> {
    let peer = format!("initiator {} at {from} (pid {})", guest.name, guest.pid);
    if let Some(difference) = expected.differs(&terms) {
        // Whether it hears that or not, this run has ended.
        let _ = Frame::Refused(difference.clone()).write(&mut stream);
        bail!("{peer} was refused: {difference}");
    }
    Frame::Welcome { agent: agent.clone() }
        .write(&mut stream)
        .with_context(|| format!("answering {peer}"))?;
    let abort = Abort::default();
    let control = Control::start(stream, peer, &abort, patience)?;
    Ok(Guest { agent: guest, terms, control, abort })
}

impl Expected {
    fn differs(&self, terms: &Terms) -> Option<String> {
        let list = |sizes: &[u64]| sizes.iter().map(|&size| sizes::text(size)).collect::<Vec<_>>().join(", ");
        if let Some(sizes) = &self.sizes
            && *sizes != terms.sizes
        {
            return Some(format!(
                "the target was started with --buffer_sizes {}, the initiator with {}: leave it out at the target, \
                 or give both the same",
                list(sizes),
                list(&terms.sizes)
            ));
        }
        match self.op {
            Some(op) if op != terms.op => Some(format!(
                "the target was started with --op {op:?}, the initiator with {:?}: leave it out at the target",
                terms.op
            )),
            _ => None,
        }
    }
}

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_they_are_typed() {
        assert_eq!(Address::new("10.0.0.1", 5).to_string(), "10.0.0.1:5");
        assert_eq!(Address::new("[::1]", 5), Address::new("::1", 5));
        assert_eq!(Address::new("::1", 5).to_string(), "[::1]:5");
    }

    #[test]
    fn other_terms_are_named() {
        let terms = Terms { sizes: vec![1 << 20, 5], iterations: 1, warmup: 0, op: Op::Read, comm_id: 0 };
        let expected = |sizes: &[u64]| Expected { sizes: Some(sizes.to_vec()), op: None };
        assert_eq!(Expected::default().differs(&terms), None);
        assert_eq!(expected(&[1 << 20, 5]).differs(&terms), None);
        let difference = expected(&[1 << 20]).differs(&terms).unwrap();
        assert!(
            difference.contains("--buffer_sizes 1.0 MB, the initiator with 1.0 MB, 5.0 B"),
            "{difference}"
        );
        let write = Expected { sizes: None, op: Some(Op::Write) };
        assert!(write.differs(&terms).unwrap().contains("--op Write, the initiator with Read"));
    }

    #[test]
    fn nobody_there_is_an_error_with_address_and_reason() {
        let address = Address::new("127.0.0.1", 1);
        let error = address.connect(Instant::now(), || Ok(())).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("can't reach the target at 127.0.0.1:1: Connection refused"), "{error}");
        let mut asked = 0;
        let error = address
            .connect(Instant::now() + Duration::from_secs(60), || {
                asked += 1;
                ensure!(asked < 3, "it has left");
                Ok(())
            })
            .unwrap_err();
        assert_eq!((error.to_string().as_str(), asked), ("it has left", 3));
        let foreign = format!("{:#}", Address::new("192.0.2.1", 0).listen().unwrap_err());
        assert!(foreign.starts_with("can't listen at 192.0.2.1:0 ("), "{foreign}");
    }
}
