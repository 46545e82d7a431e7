//! One release in this process: from dlopen to finalize.

use std::ffi::c_void;
use std::path::Path;
use std::time::{Duration, Instant};

use nccl_net_abi::bindings::ncclDebugLogger_t;
use nccl_net_abi::{AnyNet, Code, Context, Image, Init, Library, Logger, Net, Stock, Version, find_stock};

use crate::handle::{self, FILL, Handle};
use crate::release::Release;
use crate::symbols::Symbols;
use crate::{host, table};

pub(crate) fn drive(release: &Release, plugin: &Path) {
    host::enter();
    let image = Image::open(&release.library()).unwrap();
    assert_eq!(image.nccl_version().unwrap(), release.code());
    let version = Version::with_number(release.table).expect("releases.txt names a version that we have");
    let symbols = Symbols::read(&release.library());
    let (stock, logger) = internals(&image, &symbols, version);
    let ours = Library::open(plugin).unwrap().net(version).unwrap();
    assert_eq!(ours.name(), c"SRv6");

    let init = Init { logger, profiler: None, comm_id: 0x5eed, traffic_class: None };
    let context = ours.init(&init).unwrap();
    assert_eq!(
        context.raw.is_null(),
        !version.has_context(),
        "NCCL takes a NULL context for not initialised"
    );
    table::check_members(&ours, &stock);
    devices(&ours, &stock);
    let listener = listen(&ours, &stock, context);
    connect(&ours, &stock, context, listener);
    finish(&ours, &init, context);
}

/// The Socket table and the log function, by symbol: what the plugin has to find without symbols.
fn internals(image: &Image, symbols: &Symbols, version: Version) -> (AnyNet, Logger) {
    for stock in [Stock::Socket, Stock::Ib] {
        let symbol = format!("ncclNet{}", if stock == Stock::Socket { "Socket" } else { "Ib" });
        let found = find_stock(image, stock, version).unwrap();
        assert_eq!(found.address().addr(), image.base() + symbols.table(&symbol), "{stock}");
    }
    let socket = find_stock(image, Stock::Socket, version).unwrap();
    let address = image.base() + symbols.logger();
    assert!(image.contains(address));
    // SAFETY: the address of that function in the loaded image, and its type.
    let logger = unsafe { std::mem::transmute::<usize, ncclDebugLogger_t>(address) };
    // SAFETY: NCCL's own logger.
    (socket, unsafe { Logger::new(logger) }.unwrap())
}

fn devices(ours: &AnyNet, stock: &AnyNet) {
    assert_eq!(ours.devices(), Ok(1));
    assert_eq!(stock.devices(), Ok(1));
    let properties = ours.properties(0).unwrap();
    assert_eq!(properties, stock.properties(0).unwrap());
    assert_eq!(properties.name, Some(c"eth1"));
    assert!(ours.properties(1).is_err() || stock.properties(1).is_ok());
}

/// Listens by both tables; gives the plugin's handle.
fn listen(ours: &AnyNet, stock: &AnyNet, context: Context) -> [u8; 128] {
    // Stock Socket takes no notice of the context.
    let (ours, stock) = (listen_once(ours, context), listen_once(stock, Context::NONE));
    let address = host::ADDRESS.parse().unwrap();
    assert_eq!((handle::listener(&ours).0, handle::listener(&stock).0), (address, address));
    // Each listener has a port of its own; everything else that stock writes is the same.
    assert_ne!(handle::listener(&ours).1, handle::listener(&stock).1);
    assert_eq!(ours[..2], stock[..2]);
    assert_eq!(ours[4..72], stock[4..72]);
    assert_eq!(stock[72..], [FILL; 56], "stock Socket uses more of the handle than is known");
    assert_eq!(ours[72..96], [FILL; 24]);
    assert_eq!(ours[96..], handle::trailer(address));
    ours
}

fn listen_once(net: &AnyNet, context: Context) -> [u8; 128] {
    let mut handle = Handle::new();
    // SAFETY: 128 bytes of any alignment; the context is this net's, or unused.
    let comm = unsafe { net.listen(context, 0, handle.pointer()) }.unwrap();
    assert!(!comm.is_null());
    let bytes = handle.bytes();
    // SAFETY: from this table, not used again.
    unsafe { net.close_listen(comm) }.unwrap();
    bytes
}

/// Connects to a listener on host01: the route comes, stock connect fails for want of CUDA, the route goes.
fn connect(ours: &AnyNet, stock: &AnyNet, context: Context, listener: [u8; 128]) {
    table::watch_connect(stock);
    assert_eq!(host::routes(), "");
    let mut handle = Handle::of(handle::at(listener, host::PEER.parse().unwrap()));
    let before = handle.bytes();
    let deadline = Instant::now() + Duration::from_secs(60);
    let result = loop {
        // SAFETY: the same buffer at each call; NULL is what NCCL's self-check passes for the device.
        let result = unsafe { ours.connect(context, 0, handle.pointer(), std::ptr::null_mut()) };
        if !matches!(result, Ok(comm) if comm.is_null()) {
            break result;
        }
        assert!(Instant::now() < deadline, "connect is neither done nor failed");
        // Not a wait for time to pass: NCCL's proxy comes back after a while too, and this machine has few cores.
        std::thread::yield_now();
    };
    assert_eq!(result, Err(Code::UNHANDLED_CUDA_ERROR), "stock connect's own error is passed on");
    let [at_connect] = &table::seen_by_connect()[..] else { panic!("stock connect is called once") };
    let wanted = format!(
        "{}  encap seg6 mode encap.red segs 1 [ fc00:0:1200:1001:1201:fe06:: ] dev eth1 src {} metric 77",
        host::PEER,
        host::ADDRESS
    );
    assert!(
        at_connect.starts_with(&wanted),
        "the route must be there before stock connect is: {at_connect:?}"
    );
    assert_eq!(before[72..], handle.bytes()[72..], "connect changes nothing behind stock's part");
    host::wait_for_no_routes();
}

/// Ends the communicator, and begins and ends another one: a plugin may be loaded again after it was unloaded.
fn finish(ours: &AnyNet, init: &Init, context: Context) {
    if !ours.version().has_context() {
        assert_eq!(ours.init(init).map(|context| context.raw), Ok(std::ptr::null_mut::<c_void>()));
        return;
    }
    // SAFETY: from init, not used again.
    unsafe { ours.finalize(context) }.unwrap();
    // SAFETY: NCCL 2.28 and 2.29 do this after a failed init.
    unsafe { ours.finalize(Context::NONE) }.unwrap();
    let again = ours.init(init).unwrap();
    assert!(!again.raw.is_null());
    // SAFETY: from init, not used again.
    unsafe { ours.finalize(again) }.unwrap();
}
