//! Which transport is wrapped: decided once, at the first init.

use std::path::Path;
use std::sync::OnceLock;

use nccl_net_abi::{AnyNet, Context, Image, Init, Library, Net, Stock, Version, find_stock};

use crate::config::{Choice, Config};
use crate::error::Error;
use crate::handle::{Transport, name_hash};
use crate::multipath::Multipath;

/// NCCL's name for our tables, by which `NCCL_NET` selects us.
pub(crate) const NAME: &std::ffi::CStr = c"SRv6";

/// The wrapped transport. Lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct Inner {
    pub(crate) net: &'static dyn Net,
    pub(crate) transport: Transport,
    /// Its C table, if it has one: what our table can take over as it is.
    pub(crate) table: Option<AnyNet>,
    /// The multipath transport, if that is it: it steers for itself.
    pub(crate) multipath: Option<&'static Multipath>,
}

/// What one init of the inner transport has begun, to be ended once at most.
#[derive(Debug)]
pub(crate) struct Started(Context);

impl Started {
    /// A further communicator of a transport that starts once for all of them.
    pub(crate) const fn again(context: Context) -> Self {
        Self(context)
    }

    /// For listen, connect and setNetAttr.
    pub(crate) const fn context(&self) -> Context {
        self.0
    }
}

impl Inner {
    fn c(table: AnyNet, transport: Transport) -> Self {
        Self { net: Box::leak(Box::new(table)), transport, table: Some(table), multipath: None }
    }

    /// Whether each communicator has an init and a finalize of its own.
    pub(crate) fn has_context(&self) -> bool {
        self.net.version().is_some_and(Version::has_context)
    }

    /// Calls the inner init.
    ///
    /// # Errors
    /// As it fails.
    pub(crate) fn start(&self, init: &Init) -> Result<Started, Error> {
        self.net.init(init).map(Started).map_err(|code| Error::Inner { call: "init", code })
    }

    /// Calls the inner finalize, if there is one.
    ///
    /// # Errors
    /// As it fails.
    pub(crate) fn end(&self, started: Started) -> Result<(), Error> {
        if !self.net.capabilities().finalize {
            return Ok(());
        }
        // SAFETY: from the init of this process's only inner transport (`again` is for those without finalize, which
        // don't come here); `started` is used up.
        unsafe { self.net.finalize(started.0) }.map_err(|code| Error::Inner { call: "finalize", code })
    }
}

static BROUGHT: OnceLock<&'static dyn Net> = OnceLock::new();

/// Wraps this net, whatever `SRV6_TRANSPORT` says: for a Rust program or library that brings its own.
///
/// Counts for the first init after the call; later calls change nothing.
pub fn wrap(net: &'static dyn Net) {
    BROUGHT.get_or_init(|| net);
}

/// Chooses and starts the inner transport: its context is that of the communicator whose init this is.
///
/// # Errors
/// Nothing that can be wrapped without doubt, or its own init failed. Stock IB that can't start, or finds no device, is
/// no error in `auto`: NCCL itself would go on with Socket then.
pub(crate) fn choose(config: &Config, version: Version, init: &Init) -> Result<(Inner, Started), Error> {
    if let Some(&net) = BROUGHT.get() {
        let transport = Transport::Plugin { name_hash: name_hash(net.name().to_bytes()) };
        return start(Inner { net, transport, table: None, multipath: None }, init);
    }
    match &config.transport {
        Choice::Multipath => {
            let net: &Multipath = Box::leak(Box::new(Multipath::new(&config.multipath)));
            start(Inner { net, transport: Transport::Multipath, table: None, multipath: Some(net) }, init)
        }
        Choice::Plugin(path) => start(plugin(path, version)?, init),
        Choice::Ib => start(stock(Stock::Ib, "ib", version, init)?, init),
        Choice::Socket => start(stock(Stock::Socket, "socket", version, init)?, init),
        Choice::Auto => {
            // Both must be there: an NCCL in which IB can't be found must not end up on TCP unnoticed.
            let socket = stock(Stock::Socket, "auto", version, init)?;
            match start(stock(Stock::Ib, "auto", version, init)?, init) {
                Ok(ib) => Ok(ib),
                Err(reason @ (Error::Inner { .. } | Error::NoDevices { .. })) => {
                    log::info!("wrapping NCCL's Socket, as NCCL's IB can't be used: {}", reason.chain());
                    start(socket, init)
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// Starts `inner` and makes sure that it has devices.
fn start(inner: Inner, init: &Init) -> Result<(Inner, Started), Error> {
    let started = inner.start(init)?;
    let error = match inner.net.devices() {
        Ok(1..) => return Ok((inner, started)),
        Ok(_) => Error::NoDevices { transport: inner.transport },
        Err(code) => Error::Inner { call: "devices", code },
    };
    if let Err(error) = inner.end(started) {
        log::debug!("ending a start in vain: {}", error.chain());
    }
    Err(error)
}

/// NCCL's own transport, of the NCCL that called init.
fn stock(stock: Stock, wanted: &str, version: Version, init: &Init) -> Result<Inner, Error> {
    let no_table = |source| Error::Table { wanted: wanted.to_owned(), source };
    let image = Image::containing(init.logger.address()).map_err(no_table)?;
    let code = image.nccl_version().map_err(no_table)?;
    let path = || image.path().to_owned();
    match Version::internal_layout(code) {
        None => return Err(Error::UnknownRelease { path: path(), code }),
        Some(layout) if layout != version => {
            return Err(Error::Layout { path: path(), code, layout, chosen: version });
        }
        Some(_) => {}
    }
    let table = find_stock(&image, stock, version).map_err(no_table)?;
    let transport = match stock {
        Stock::Socket => Transport::Socket,
        Stock::Ib => Transport::Ib,
    };
    Ok(Inner::c(table, transport))
}

/// Another plugin: its table of NCCL's version if it has one, so that its functions can be called directly.
fn plugin(path: &Path, version: Version) -> Result<Inner, Error> {
    let no_table = |source| Error::Table { wanted: path.display().to_string(), source };
    let library = Library::open(path).map_err(no_table)?;
    let table = match library.net(version) {
        Err(nccl_net_abi::Error::NoSymbol { .. }) => library.newest(),
        found => found,
    }
    .map_err(no_table)?;
    let name = Net::name(&table);
    if name == NAME {
        return Err(Error::Ourselves { path: path.to_owned() });
    }
    let name_hash = name_hash(name.to_bytes());
    Ok(Inner::c(table, Transport::Plugin { name_hash }))
}
