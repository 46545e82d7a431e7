//! A connection, from the program's call to the moment when libc's may go on.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrV4, SocketAddrV6, SocketFlags, SocketType, getpeername,
    getsockname, socket_with,
};
use srv6_fabric::Flow;
use srv6_settings::Mode;
use srv6_steer::Status;

use crate::address::Address;
use crate::config::Config;
use crate::hosts::{self, Look};
use crate::outcome::{Failure, Kind, Outcome};
use crate::process;
use crate::published::Published;

/// What the environment asked for; `Err` with what is wrong in it.
static SETTINGS: Published<Result<Config, String>> = Published::nothing();

/// Cleared where nothing is to be steered: then calls go on to libc without a further look.
static ON: AtomicBool = AtomicBool::new(false);

/// Whether the program's call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It does, steered or not.
    Go,
    /// A signal handler has ended it.
    Interrupted,
}

/// Reads the settings. Not while another thread may change the environment.
pub(crate) fn read_settings() {
    let settings = Config::from_env();
    let level = settings.as_ref().map_or(log::LevelFilter::Warn, |config| config.log);
    crate::log::attach(level);
    let on = !matches!(&settings, Ok(Config { mode: Mode::Off, .. }));
    if let Ok(Config { prefixes, .. }) = &settings
        && !prefixes.is_empty()
    {
        hosts::set(prefixes);
    }
    SETTINGS.publish(settings.map_err(|mistakes| mistakes.to_string()));
    ON.store(on, Ordering::Release);
}

/// The settings.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn settings() -> Result<&'static Config, Failure> {
    let wrong = |reason: &str| Failure { kind: Kind::Settings, reason: reason.to_owned() };
    match SETTINGS.get() {
        Some(Ok(config)) => Ok(config),
        Some(Err(mistakes)) => Err(wrong(mistakes)),
        None => Err(wrong("the library isn't loaded yet")),
    }
}

/// Whether anything may be steered.
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Acquire)
}

/// Whether a destination needs more than this one lookup.
pub(crate) fn concerns(destination: Address) -> bool {
    is_on() && destination.is_routable() && hosts::look(destination) != Look::Other
}

/// Has the way to a destination steered before the program's call goes on.
///
/// `at_once`: the call itself must not block, whatever the socket's own mode is.
pub(crate) fn before(socket: BorrowedFd<'_>, destination: Address, at_once: bool) -> Passage {
    let started = Instant::now();
    if is_steering_thread() {
        return Passage::Go;
    }
    let steered = settings().and_then(|config| {
        // A descriptor that is no socket is libc's to refuse.
        let Ok(local) = getsockname(socket) else { return Ok(Passage::Go) };
        let Some(local) = ip(local) else { return Ok(Passage::Go) };
        let patience = Patience::of(config, socket, at_once);
        let process = process::current();
        let sure = match process.look(config, destination, patience.time)? {
            Look::Host => true,
            Look::Unknown => false,
            Look::Other | Look::OtherOnce => return Ok(Passage::Go),
        };
        let Some(flow) = flow(local, destination) else { return Ok(Passage::Go) };
        let steer = process.steer(config)?;
        let time = match process.earlier(destination) {
            // Its route is in place, as a rule; this only sees to it.
            Some(Status::Ready(_)) => patience.time.min(config.wait),
            Some(Status::Pending) if !patience.blocking => return Ok(Passage::Go),
            _ => patience.time,
        };
        let time =
            if process.is_doubtful() { Duration::ZERO } else { time.saturating_sub(started.elapsed()) };
        Ok(match process.request(steer, flow, time, sure) {
            Outcome::Interrupted => Passage::Interrupted,
            Outcome::Steered | Outcome::Failed(_) | Outcome::Late => Passage::Go,
        })
    });
    steered.unwrap_or_else(|failure| {
        give_up(&failure);
        Passage::Go
    })
}

/// Has the way back to the peer of an accepted connection steered, without waiting for it.
pub(crate) fn after_accept(socket: BorrowedFd<'_>) {
    let Ok(Some(peer)) = getpeername(socket) else { return };
    let Some(peer) = ip(peer) else { return };
    let destination = Address::from(peer);
    if !concerns(destination) {
        return;
    }
    let Some(local) = getsockname(socket).ok().and_then(ip) else { return };
    let steered = settings().and_then(|config| {
        let process = process::current();
        let sure = match process.look(config, destination, Duration::ZERO)? {
            Look::Host => true,
            Look::Unknown => false,
            Look::Other | Look::OtherOnce => return Ok(()),
        };
        if let Some(flow) = flow(local, destination)
            && !matches!(process.earlier(destination), Some(Status::Pending))
        {
            process.request(process.steer(config)?, flow, Duration::ZERO, sure);
        }
        Ok(())
    });
    if let Err(failure) = steered {
        give_up(&failure);
    }
}

/// The flow from where the kernel would send packets to a destination from.
///
/// # Errors
/// The kernel's word on why it would send none.
pub(crate) fn flow_to(destination: IpAddr) -> Result<Option<Flow>, Errno> {
    let unbound = match destination {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    source_of(destination).map(|_| flow(unbound, destination.into()))
}

/// How long a connection may wait.
#[derive(Debug, Clone, Copy)]
struct Patience {
    time: Duration,
    blocking: bool,
}

impl Patience {
    fn of(config: &Config, socket: BorrowedFd<'_>, at_once: bool) -> Self {
        let blocking = !at_once && fcntl_getfl(socket).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK));
        // The program's own deadline for connect, where it has set one.
        let own = socket_timeout(socket, Timeout::Send).ok().flatten().unwrap_or(Duration::MAX);
        let time = if blocking { config.deadline } else { config.wait };
        Self { time: time.min(own), blocking }
    }
}

/// Says why nothing is steered in this process and its children, and stops looking.
fn give_up(failure: &Failure) {
    if ON.swap(false, Ordering::AcqRel) {
        log::warn!("connections go unsteered: {failure}");
    }
}

/// Whether this is a thread of the steering, the shim's or that of a plugin in the same process, on its way to the path API.
fn is_steering_thread() -> bool {
    rustix::thread::name()
        .is_ok_and(|name| srv6_steer::THREADS.iter().any(|thread| thread.as_bytes() == name.as_bytes()))
}

/// The flow of a connection from a socket with this local address; `None` where no packet leaves the host.
fn flow(local: IpAddr, destination: Address) -> Option<Flow> {
    let dst = destination.ip();
    let local = local.to_canonical();
    let src = if local.is_unspecified() { source_of(dst).ok()? } else { local };
    let leaves = src != dst && Address::from(src).is_routable() && src.is_ipv4() == dst.is_ipv4();
    leaves.then_some(Flow { src, dst })
}

/// The address that packets to a destination would have as their source: that of a UDP socket, which sends nothing
/// when it is connected.
fn source_of(destination: IpAddr) -> Result<IpAddr, Errno> {
    /// Discard; any would do.
    const PORT: u16 = 9;
    let family = if destination.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let probe = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // The kernel's own call: ours would ask the same again.
    rustix::net::connect(probe.as_fd(), &SocketAddr::new(destination, PORT))?;
    ip(getsockname(probe.as_fd())?).ok_or(Errno::AFNOSUPPORT)
}

fn ip(address: SocketAddrAny) -> Option<IpAddr> {
    let v4 = SocketAddrV4::try_from(address.clone()).map(|address| IpAddr::V4(*address.ip()));
    v4.or_else(|_| SocketAddrV6::try_from(address).map(|address| IpAddr::V6(*address.ip()))).ok()
}
