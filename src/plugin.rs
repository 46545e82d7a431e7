//! The process's one plugin: what is wrapped, who uses it, and which paths are held for whom.
//!
//! A child of fork starts anew: it touches nothing of its parent's, whose sockets and threads it doesn't have.

use std::collections::HashMap;
use std::ffi::c_void;
use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use nccl_net_abi::{Code, Context, Image, Init, Net, Version};
use parking_lot::Mutex;
use srv6_fabric::{Family, Flow};

use crate::attempts::{Attempts, Key};
use crate::config::{Config, GUARD};
use crate::connect::{Connecting, Held, Progress, Steering, Terms, Way};
use crate::device::{self, Addresses};
use crate::error::Error;
use crate::handle::{self, Bytes, Trailer, Transport};
use crate::inner::{self, Inner, Started};
use crate::steering;

const INFINIBAND: &str = "/sys/class/infiniband";

/// How long the end of the last communicator, or of the process, waits for routes to be withdrawn. It takes
/// under a millisecond, unless the steering thread waits for the path API at that moment.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// The state of one process; each child of fork that calls init gets its own.
struct Generation {
    pid: OnceLock<u32>,
    /// One init at a time: NCCL's own transports count their users without a lock.
    starting: Mutex<()>,
    plugin: OnceLock<Plugin>,
    child: OnceLock<Box<Generation>>,
}

static FIRST: Generation = Generation::new();

impl Generation {
    const fn new() -> Self {
        Self {
            pid: OnceLock::new(),
            starting: Mutex::new(()),
            plugin: OnceLock::new(),
            child: OnceLock::new(),
        }
    }

    /// That of this very process. Takes no lock that the parent could have held when it forked.
    fn current() -> &'static Self {
        let pid = std::process::id();
        let mut generation = &FIRST;
        while *generation.pid.get_or_init(|| pid) != pid {
            generation = generation.child.get_or_init(|| Box::new(Self::new()));
        }
        generation
    }
}

/// What every call after the first successful init works with.
pub(crate) struct Plugin {
    inner: Inner,
    /// Where the NCCL that we serve is.
    nccl: usize,
    /// `None` also where the wrapped transport steers for itself.
    steering: Option<Box<dyn Steering>>,
    terms: Terms,
    communicators: Mutex<Communicators>,
    /// The first init's: for NCCLs and inner transports without a context per communicator.
    common: Context,
    attempts: Mutex<Attempts<Connecting>>,
    /// By comm; several for one comm if the inner transport gives the same one twice.
    paths: Mutex<HashMap<usize, Vec<Box<dyn Held>>>>,
}

/// Who has called init and not finalize, by what we handed out.
#[derive(Default)]
struct Communicators(HashMap<usize, Vec<Started>>);

/// What stands for a context where the inner transport has none: NCCL takes NULL for "not initialised".
static TOKEN: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Initialises for one communicator (v11 and later) or for the process; gives the plugin, and the context for
/// an NCCL that takes one (else NULL). `install` fills the version's table; nobody else is in init meanwhile.
///
/// # Errors
/// The first time: anything that makes us useless here, so that NCCL goes on without us. Later: only the inner transport's
/// own failure, or a second NCCL in the process.
pub(crate) fn init(
    version: Version,
    init: &Init,
    install: fn(Version, &'static Plugin),
) -> Result<(&'static Plugin, *mut c_void), Error> {
    let generation = Generation::current();
    let _one_at_a_time = generation.starting.lock();
    let (plugin, started) = if let Some(plugin) = generation.plugin.get() {
        (plugin, plugin.join(version, init)?)
    } else {
        let config = Config::from_env()?;
        crate::log::attach(init.logger, config.log);
        let (plugin, started) = Plugin::start(&config, version, init)?;
        (generation.plugin.get_or_init(|| plugin), Some(started))
    };
    install(version, plugin);
    let token = started.filter(|_| version.has_context()).map(|started| plugin.hand_out(started));
    Ok((plugin, token.unwrap_or(std::ptr::null_mut())))
}

/// Ends one communicator. A context that isn't (or no longer) one of ours is ignored: some NCCLs finalize
/// after a failed init.
///
/// # Errors
/// The inner transport's own failure.
pub(crate) fn finalize(token: *mut c_void) -> Result<(), Error> {
    let generation = Generation::current();
    let _one_at_a_time = generation.starting.lock();
    let Some(plugin) = generation.plugin.get() else { return Ok(()) };
    let Some((started, last)) = plugin.communicators.lock().leave(token) else { return Ok(()) };
    if last {
        // NCCL leaks comms when a job aborts; with the last communicator nothing can use their paths.
        plugin.give_all_back();
    }
    if plugin.inner.has_context() { plugin.inner.end(started) } else { Ok(()) }
}

/// The process exits: all that it still holds is given back, since nothing is sent any more.
///
/// Never waits for a lock for long: exit may have been called by a thread that is inside one of our functions.
pub(crate) fn leave() {
    if let Some(plugin) = Generation::current().plugin.get() {
        plugin.give_all_back();
    }
}

impl Communicators {
    fn enter(&mut self, token: *mut c_void, started: Started) {
        self.0.entry(token.addr()).or_default().push(started);
    }

    fn context(&self, token: *mut c_void) -> Option<Context> {
        self.0.get(&token.addr())?.last().map(Started::context)
    }

    /// What the communicator's init began, and whether it was the last one of all.
    fn leave(&mut self, token: *mut c_void) -> Option<(Started, bool)> {
        let users = self.0.get_mut(&token.addr())?;
        let started = users.pop()?;
        if users.is_empty() {
            self.0.remove(&token.addr());
        }
        Some((started, self.0.is_empty()))
    }
}

impl Plugin {
    fn start(config: &Config, version: Version, init: &Init) -> Result<(Self, Started), Error> {
        // First what can be undone by dropping it.
        let steer = steering::start(config)?;
        let (inner, started) = inner::choose(config, version, init)?;
        log::info!(
            "nccl-net-srv6 {} {version} wraps {} ({}), {}",
            env!("CARGO_PKG_VERSION"),
            inner.transport,
            inner.net.name().to_string_lossy(),
            if steer.is_some() { "connections are steered" } else { "connections go unsteered" },
        );
        if inner.transport == Transport::Ib && steer.is_some() {
            log::warn!(
                "NCCL's IB moves data past the kernel, whose routes steer none of it; SRV6_TRANSPORT=socket or \
                 multipath would be steered"
            );
        }
        let steering: Option<Box<dyn Steering>> = match (inner.multipath, steer) {
            (Some(multipath), Some(steer)) => {
                multipath.steer_by(Box::new(steer));
                None
            }
            (_, steer) => steer.map(|steer| Box::new(steer) as Box<dyn Steering>),
        };
        let plugin = Self {
            inner,
            nccl: nccl_of(init),
            steering,
            terms: Terms { strict: config.strict, patience: config.connect_timeout + GUARD },
            communicators: Mutex::default(),
            common: started.context(),
            attempts: Mutex::default(),
            paths: Mutex::default(),
        };
        Ok((plugin, started))
    }

    /// Init of a further communicator, or of the same NCCL after it unloaded us.
    fn join(&self, version: Version, init: &Init) -> Result<Option<Started>, Error> {
        let second = nccl_of(init);
        if second != self.nccl {
            return Err(Error::SecondNccl { first: self.nccl, second });
        }
        Ok(match (version.has_context(), self.inner.has_context()) {
            (true, true) => Some(self.inner.start(init)?),
            (true, false) => {
                Some(Started::again(Context { traffic_class: init.traffic_class, ..self.common }))
            }
            // Once is enough for both: a table without contexts has no finalize either.
            (false, _) => None,
        })
    }

    /// Notes the communicator and gives what NCCL gets as its context.
    ///
    /// The inner transport's own pointer where there is one, because setNetAttr may be the inner function itself.
    fn hand_out(&self, started: Started) -> *mut c_void {
        let raw = started.context().raw;
        let token = if raw.is_null() { TOKEN.as_ptr().cast_mut().cast() } else { raw };
        self.communicators.lock().enter(token, started);
        token
    }

    /// Gives back every path and waits until the routes are withdrawn: the process may end right after this, and
    /// the steering thread with it.
    fn give_all_back(&self) {
        let attempts = self.attempts.try_lock_for(LAST_WAIT).map(|mut attempts| attempts.clear());
        let paths = self.paths.try_lock_for(LAST_WAIT).map(|mut paths| std::mem::take(&mut *paths));
        drop((attempts, paths));
        if let Some(multipath) = self.inner.multipath {
            multipath.give_all_back(LAST_WAIT);
        }
        if let Some(steering) = &self.steering {
            steering.settle(LAST_WAIT);
        }
    }

    /// The wrapped transport.
    pub(crate) fn net(&self) -> &'static dyn Net {
        self.inner.net
    }

    /// Its C table, if it has one.
    pub(crate) fn table(&self) -> Option<nccl_net_abi::AnyNet> {
        self.inner.table
    }

    /// The inner context behind what NCCL presents; `None` stands for an NCCL that has no contexts.
    ///
    /// # Errors
    /// If we didn't hand it out, or it was finalized.
    pub(crate) fn context(&self, token: Option<*mut c_void>) -> Result<Context, Error> {
        let Some(token) = token else { return Ok(self.common) };
        self.communicators.lock().context(token).ok_or(Error::BadArgument { what: "context" })
    }

    /// What goes into the handle of a listener on `dev`, whose inner part is already there.
    pub(crate) fn trailer(&self, dev: i32, handle: &Bytes) -> Trailer {
        let transport = self.inner.transport;
        let address = match transport {
            Transport::Socket => handle::socket_address(handle),
            Transport::Multipath => crate::multipath::address(handle),
            Transport::Ib | Transport::Plugin { .. } => self.any_address(dev),
        };
        Trailer { transport, address: address.filter(|&address| !device::is_link_local(address)) }
    }

    /// One connect call of NCCL's; the comm, or NULL for "not yet". `dial` calls the inner connect.
    ///
    /// # Errors
    /// See [`Connecting::poll`]; also a peer with another transport.
    pub(crate) fn connect(
        &self,
        dev: i32,
        buffer: usize,
        handle: &Bytes,
        dial: impl FnOnce() -> Result<*mut c_void, Code>,
    ) -> Result<*mut c_void, Error> {
        let now = Instant::now();
        let key = Key { buffer, fingerprint: handle::fingerprint(handle, self.inner.transport) };
        let attempt = self.attempts.lock().take(key);
        self.sweep(now);
        let mut attempt = match (attempt, &self.steering) {
            (Some(attempt), _) => attempt,
            (None, Some(steering)) => {
                Connecting::begin(self.way(dev, handle)?, &**steering, self.terms, now)?
            }
            (None, None) => {
                self.same_transport(handle)?;
                return dial().map_err(|code| Error::Inner { call: "connect", code });
            }
        };
        match attempt.poll(now, self.terms, dial)? {
            Progress::Pending => {
                self.attempts.lock().put_back(key, attempt, now);
                Ok(std::ptr::null_mut())
            }
            Progress::Ready(connected) => {
                if let Some(path) = connected.path {
                    self.paths.lock().entry(connected.comm.addr()).or_default().push(path);
                }
                Ok(connected.comm)
            }
        }
    }

    /// The path of a comm that is about to be closed, for [`Plugin::closed`].
    pub(crate) fn take_path(&self, comm: *mut c_void) -> Option<Box<dyn Held>> {
        let mut paths = self.paths.lock();
        let held = paths.get_mut(&comm.addr()).and_then(Vec::pop);
        if paths.get(&comm.addr()).is_some_and(Vec::is_empty) {
            paths.remove(&comm.addr());
        }
        held
    }

    /// Gives back the path of a comm that is closed.
    pub(crate) fn closed(&self, path: Option<Box<dyn Held>>) {
        drop(path);
        self.sweep(Instant::now());
    }

    /// Withdraws the paths of connects that NCCL has given up.
    fn sweep(&self, now: Instant) {
        let abandoned = self.attempts.lock().sweep(now);
        if !abandoned.is_empty() {
            log::info!("{} connect(s) given up; their paths are withdrawn", abandoned.len());
        }
    }

    /// The trailer of the peer's listener, if it has one.
    fn same_transport(&self, handle: &Bytes) -> Result<Option<Trailer>, Error> {
        let trailer = Trailer::decode(handle);
        match trailer {
            Some(Trailer { transport: theirs, .. }) if theirs != self.inner.transport => {
                Err(Error::OtherTransport { ours: self.inner.transport, theirs })
            }
            trailer => Ok(trailer),
        }
    }

    fn way(&self, dev: i32, handle: &Bytes) -> Result<Way, Error> {
        let unknown = |reason: String| Ok(Way::Unknown(reason));
        let dst = match self.same_transport(handle)? {
            Some(Trailer { address: Some(address), .. }) => address,
            Some(_) => {
                return unknown(
                    "the peer's net device has no network interface, so it has no address".to_owned(),
                );
            }
            // NCCL's IB puts its set-up listener there, which is not where data goes.
            None => match handle::socket_address(handle) {
                Some(address) if self.inner.transport == Transport::Socket => address,
                _ => {
                    return unknown(
                        "the peer's handle has no data address: it doesn't run with nccl-net-srv6, or its transport \
                         uses the whole handle itself"
                            .to_owned(),
                    );
                }
            },
        };
        let addresses = match Addresses::read() {
            Ok(addresses) => addresses,
            Err(error) => return unknown(format!("the addresses of this host can't be read: {error}")),
        };
        if addresses.is_ours(dst) {
            return Ok(Way::Local(dst));
        }
        if device::is_link_local(dst) {
            return unknown(format!("the peer listens at {dst}, which has no meaning beyond its link"));
        }
        let Some((name, interface)) = self.interface(dev, &addresses) else {
            return unknown(format!(
                "net device {dev} has no network interface, so packets to {dst} have no source"
            ));
        };
        let family = Family::of(dst);
        match addresses.of(&interface, family) {
            Some(src) => Ok(Way::Fabric(Flow { src, dst })),
            None => unknown(format!(
                "interface {interface} of net device {dev} ({name}) has no {} address, so packets to {dst} have no source",
                family.name()
            )),
        }
    }

    fn any_address(&self, dev: i32) -> Option<IpAddr> {
        let addresses = Addresses::read().ok()?;
        let (_, interface) = self.interface(dev, &addresses)?;
        addresses.any_of(&interface)
    }

    /// The device's name and network interface; of a virtual device those of its first member.
    fn interface(&self, dev: i32, addresses: &Addresses) -> Option<(String, String)> {
        let mut properties = self.net().properties(dev).ok()?;
        if properties.members.count > 1 {
            let [first, ..] = properties.members.devs;
            properties = self.net().properties(first).ok()?;
        }
        let name = properties.name?.to_str().ok()?;
        let interface = device::interface(name, properties.port, addresses, Path::new(INFINIBAND))?;
        Some((name.to_owned(), interface))
    }
}

/// Which NCCL this init comes from: the image of its logger, or the logger itself if no image has it.
fn nccl_of(init: &Init) -> usize {
    let logger = init.logger.address();
    Image::containing(logger).map_or(logger.addr(), |image| image.base())
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("transport", &self.inner.transport).finish_non_exhaustive()
    }
}
