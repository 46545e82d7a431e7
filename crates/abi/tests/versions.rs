//! `AnyNet` over a C table of every version: what arrives there, and what comes back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::mut_from_ref,
    reason = "tests: a panic is the failure"
)]

mod compile;

use std::ffi::{c_char, c_int, c_void};
use std::ptr::{null_mut, without_provenance_mut};

use libloading::os::unix;
use nccl_net_abi::bindings::{NCCL_NET_OPTIONAL_RECV_COMPLETION, ncclDebugLogger_t, ncclNetAttr_v11_t};
use nccl_net_abi::{
    AnyNet, Capabilities, Code, Context, Error, Init, Level, Library, Logger, MemoryKind, Net, Receives,
    Subsystem, Version, VirtualDevice,
};

/// `struct fake` of `tests/c/fakenet.h`.
#[repr(C)]
struct Fake {
    devices: i32,
    connect_pending: i32,
    accept_pending: i32,
    init_result: i32,
    connect_result: i32,
    listen_bytes: i32,
    listener: [u8; 28],
    reserved: u32,
    inits: i32,
    finalizes: i32,
    listens: i32,
    connects: i32,
    accepts: i32,
    close_sends: i32,
    close_recvs: i32,
    close_listens: i32,
    dev: i32,
    tag: i32,
    type_: i32,
    count: i32,
    fd: i32,
    traffic_class: i32,
    had_config: i32,
    had_device: i32,
    size: i64,
    sizes: [i64; 8],
    offset: i64,
    comm_id: u64,
    context: *mut c_void,
    comm: *mut c_void,
    data: *mut c_void,
    mhandle: *mut c_void,
    phandle: *mut c_void,
    request_in: *mut c_void,
    logger: *mut c_void,
    profiler: *mut c_void,
    level: i32,
    flags: i32,
    text: [c_char; 512],
}

struct Loaded {
    net: AnyNet,
    fake: *mut Fake,
    logger: Logger,
    library: Library,
}

impl Loaded {
    fn new(version: Version, name: &str, options: &[&str]) -> Self {
        let number = format!("-DV={}", version.number());
        let mut all = vec!["-shared", "-fPIC", &number];
        all.extend(options);
        let path = compile::compile("fakenet.c", &format!("lib{name}_{version}.so"), &all);
        let library = Library::open(&path).unwrap();
        // SAFETY: our own test library; loading it again only raises its count.
        let symbols = unsafe { unix::Library::open(Some(&path), unix::RTLD_NOW) }.unwrap();
        // SAFETY: `fake` is a data symbol.
        let fake = unsafe { symbols.get::<*mut c_void>(b"fake\0") }.unwrap().as_raw_ptr().cast();
        // SAFETY: the type of `fake_logger`.
        let logger = *unsafe { symbols.get::<ncclDebugLogger_t>(b"fake_logger\0") }.unwrap();
        std::mem::forget(symbols);
        // SAFETY: fakenet.c keeps the contract.
        let logger = unsafe { Logger::new(logger) }.unwrap();
        Self { net: library.net(version).unwrap(), fake, logger, library }
    }

    fn full(version: Version, test: &str) -> Self {
        Self::new(version, test, &[])
    }

    fn fake(&self) -> &mut Fake {
        // SAFETY: one thread per library: each test compiles its own.
        unsafe { &mut *self.fake }
    }

    fn init(&self) -> Context {
        self.net
            .init(&Init {
                logger: self.logger,
                profiler: None,
                comm_id: 0xfeed_beef_dead_cafe,
                traffic_class: Some(104),
            })
            .unwrap()
    }
}

const DATA: *mut c_void = without_provenance_mut(0x7000);
const MHANDLE: *mut c_void = without_provenance_mut(0x7100);
const PHANDLE: *mut c_void = without_provenance_mut(0x7200);

#[test]
fn library_knows_what_it_has() {
    let loaded = Loaded::full(Version::V9, "library");
    assert_eq!(loaded.library.newest().unwrap(), loaded.net);
    assert!(matches!(loaded.library.net(Version::V8), Err(Error::NoSymbol { version: Version::V8, .. })));
    assert_eq!(Net::version(&loaded.net), Some(Version::V9));
    assert_eq!(Net::name(&loaded.net), c"Fake");
}

#[test]
fn a_file_that_is_no_plugin_says_so() {
    let error = Library::open("libm.so.6".as_ref()).unwrap().newest().unwrap_err();
    assert!(matches!(error, Error::NoPlugin { .. }), "{error}");
    let error = Library::open("/nowhere/libnccl-net-x.so".as_ref()).unwrap_err();
    assert!(matches!(error, Error::Load { .. }), "{error}");
}

#[test]
fn capabilities_are_the_members_that_are_not_null() {
    for version in Version::ALL {
        let number = version.number();
        let all = Capabilities {
            reg_mr_dmabuf: true,
            get_device_mr: number >= 7,
            irecv_consumed: number >= 7,
            make_vdevice: number >= 9,
            finalize: number >= 11,
            set_net_attr: number >= 11,
        };
        assert_eq!(Net::capabilities(&Loaded::full(version, "caps").net), all);
        let few = Capabilities { finalize: number >= 11, ..Capabilities::default() };
        assert_eq!(Net::capabilities(&Loaded::new(version, "few", &["-DSOCKET_LIKE"]).net), few);
    }
}

#[test]
fn a_null_member_is_an_error_not_a_crash() {
    let loaded = Loaded::new(Version::V12, "null", &["-DSOCKET_LIKE"]);
    assert_eq!(loaded.net.make_vdevice(&VirtualDevice::single(0)), Err(Code::INTERNAL_ERROR));
    // SAFETY: fakenet.c reads through none of these.
    let result = unsafe { loaded.net.reg_mr_dmabuf(null_mut(), DATA, 1, MemoryKind::CUDA, 0, 3) };
    assert_eq!(result, Err(Code::INTERNAL_ERROR));
}

#[test]
fn init_hands_on_what_the_version_takes() {
    for version in Version::ALL {
        let loaded = Loaded::full(version, "init");
        let context = loaded.init();
        let fake = loaded.fake();
        assert_eq!(fake.inits, 1);
        assert_eq!(fake.logger.cast_const(), loaded.logger.address());
        assert_eq!(context.raw.is_null(), !version.has_context(), "{version}");
        assert_eq!(context.traffic_class, Some(104));
        if version.has_context() {
            assert_eq!((fake.had_config, fake.traffic_class, fake.comm_id), (1, 104, 0xfeed_beef_dead_cafe));
            // SAFETY: the context of this net.
            unsafe { loaded.net.finalize(context) }.unwrap();
            assert_eq!((fake.finalizes, fake.context), (1, context.raw));
        } else {
            // SAFETY: the context of this net.
            assert_eq!(unsafe { loaded.net.finalize(context) }, Err(Code::INTERNAL_ERROR));
        }
        fake.init_result = 5;
        let init = Init { logger: loaded.logger, profiler: None, comm_id: 0, traffic_class: None };
        assert_eq!(loaded.net.init(&init), Err(Code::INVALID_USAGE));
        if version.has_context() {
            assert_eq!((fake.had_config, fake.traffic_class), (1, -1), "a config, with nothing in it");
        }
    }
}

#[test]
fn the_logger_gets_our_text_as_text() {
    let loaded = Loaded::full(Version::V6, "logger");
    loaded.logger.log(Level::Warn, Subsystem::Net, c"here.rs", 7, c"100 %s of %n");
    let fake = loaded.fake();
    assert_eq!((fake.level, fake.flags), (2, -1), "a warning of all subsystems");
    // SAFETY: fake_logger terminates it.
    assert_eq!(unsafe { std::ffi::CStr::from_ptr(fake.text.as_ptr()) }, c"100 %s of %n");
    for (subsystem, flags) in [(Subsystem::Init, 0x1), (Subsystem::Net, 0x10), (Subsystem::SetUp, 0x11)] {
        loaded.logger.log(Level::Info, subsystem, c"here.rs", 7, c"text");
        assert_eq!((loaded.fake().level, loaded.fake().flags), (3, flags));
    }
}

#[test]
fn properties_that_a_version_lacks_have_defaults() {
    for version in Version::ALL {
        let number = version.number();
        let loaded = Loaded::full(version, "props");
        let properties = loaded.net.properties(1).unwrap();
        assert_eq!(properties.name, Some(c"fake1"));
        assert_eq!(properties.pci_path, None);
        assert_eq!((properties.guid, properties.speed, properties.max_recvs), (4712, 25_000, 3));
        assert_eq!((properties.port, properties.latency, properties.max_comms), (1, 2.5, 99));
        assert_eq!(properties.reg_is_global, number >= 8);
        assert_eq!(properties.force_flush, number >= 9);
        let (members, p2p, coll) = if number >= 9 {
            (VirtualDevice { count: 2, devs: [1, 2, 0, 0, 0, 0, 0, 0] }, 5 << 30, 6 << 30)
        } else {
            (VirtualDevice::single(1), 1 << 30, 1 << 30)
        };
        assert_eq!(
            (properties.members, properties.max_p2p_bytes, properties.max_coll_bytes),
            (members, p2p, coll)
        );
        assert_eq!(properties.max_multi_request_size, if number >= 11 { 7 } else { 1 });
        assert_eq!((properties.rail_id, properties.plane_id), if number >= 12 { (3, 4) } else { (-1, -1) });
        assert_eq!(loaded.net.properties(2), Err(Code::INVALID_ARGUMENT));
        assert_eq!(loaded.net.devices(), Ok(2));
    }
}

#[test]
fn connections_come_and_go() {
    for version in Version::ALL {
        let number = version.number();
        let loaded = Loaded::full(version, "connect");
        let context = loaded.init();
        let fake = loaded.fake();
        fake.connect_pending = 2;
        fake.accept_pending = 1;
        fake.listener = *b"a socket address of 28 bytes";
        let mut buffer = [0xab_u8; 129];
        let handle = buffer[1..].as_mut_ptr().cast::<c_void>(); // unaligned, as NCCL's may be
        let mut device = null_mut();
        // SAFETY: 128 bytes, and what fakenet.c gave.
        let listener = unsafe { loaded.net.listen(context, 1, handle) }.unwrap();
        assert_eq!(&buffer[1..29], b"a socket address of 28 bytes");
        assert!(buffer[1 + 72..].iter().all(|&byte| byte == 0xab));
        let mut polls = 0;
        let send = loop {
            polls += 1;
            let handle = buffer[1..].as_mut_ptr().cast();
            // SAFETY: as above.
            let comm = unsafe { loaded.net.connect(context, 1, handle, &raw mut device) }.unwrap();
            if !comm.is_null() {
                break comm;
            }
        };
        assert_eq!((polls, fake.connects, fake.dev), (3, 3, 1));
        assert_eq!(fake.had_device, i32::from(number >= 7));
        assert_eq!(fake.context, context.raw);
        if number == 10 {
            assert_eq!((fake.had_config, fake.traffic_class), (1, 104));
            // SAFETY: as above.
            unsafe { loaded.net.connect(Context::NONE, 1, buffer[1..].as_mut_ptr().cast(), null_mut()) }
                .unwrap();
            assert_eq!((fake.had_config, fake.had_device), (0, 0), "NULL stays NULL");
        }
        // SAFETY: a comm of this net.
        assert!(unsafe { loaded.net.accept(listener, null_mut()) }.unwrap().is_null());
        // SAFETY: a comm of this net.
        let receive = unsafe { loaded.net.accept(listener, null_mut()) }.unwrap();
        assert!(!receive.is_null());
        fake.connect_result = 1;
        // SAFETY: as above.
        let failed = unsafe { loaded.net.connect(context, 1, buffer[1..].as_mut_ptr().cast(), null_mut()) };
        assert_eq!(failed, Err(Code::UNHANDLED_CUDA_ERROR));
        // SAFETY: a comm of this net, as in the next two.
        unsafe { loaded.net.close_send(send) }.unwrap();
        // SAFETY: see above.
        unsafe { loaded.net.close_recv(receive) }.unwrap();
        // SAFETY: see above.
        unsafe { loaded.net.close_listen(listener) }.unwrap();
        assert_eq!((fake.close_sends, fake.close_recvs, fake.close_listens), (1, 1, 1));
    }
}

#[test]
fn data_calls_convert_sizes_and_keep_the_rest() {
    for version in Version::ALL {
        let number = version.number();
        let loaded = Loaded::full(version, "data");
        let net = loaded.net;
        let fake = loaded.fake();
        let comm = without_provenance_mut(0x6000);
        let huge = (1_usize << 31) + 5;

        // SAFETY: fakenet.c reads through no pointer but the arrays below; so for the whole test.
        let mhandle = unsafe { net.reg_mr(comm, DATA, 4096, MemoryKind::CUDA) }.unwrap();
        assert_eq!((fake.comm, fake.data, fake.size, fake.type_), (comm, DATA, 4096, 2));
        // SAFETY: see above.
        let large = unsafe { net.reg_mr(comm, DATA, huge, MemoryKind::HOST) };
        assert_eq!(large.is_ok(), number >= 8, "v6 and v7 register up to 2 GiB");
        // SAFETY: see above.
        unsafe { net.reg_mr_dmabuf(comm, DATA, huge, MemoryKind::CUDA, 1 << 40, 17) }.unwrap();
        assert_eq!((fake.size, fake.offset, fake.fd), (i64::try_from(huge).unwrap(), 1 << 40, 17));
        // SAFETY: see above.
        unsafe { net.dereg_mr(comm, mhandle) }.unwrap();
        assert_eq!(fake.mhandle, mhandle);

        // SAFETY: see above.
        let request = unsafe { net.isend(comm, DATA, 77, -3, MHANDLE, PHANDLE) }.unwrap();
        assert_eq!((fake.comm, fake.data, fake.size, fake.tag, fake.mhandle), (comm, DATA, 77, -3, MHANDLE));
        assert_eq!(fake.phandle, if number >= 10 { PHANDLE } else { null_mut() });
        // SAFETY: see above.
        assert_eq!(unsafe { net.test(request, null_mut()) }, Err(Code::REMOTE_ERROR));
        // SAFETY: see above.
        assert!(unsafe { net.isend(comm, DATA, 0, 0, MHANDLE, PHANDLE) }.unwrap().is_null());
        // SAFETY: see above.
        let large = unsafe { net.isend(comm, DATA, huge, 0, MHANDLE, PHANDLE) };
        assert_eq!(large.is_ok(), number >= 9, "v6 to v8 count messages in int");

        let mut data = [null_mut(), null_mut(), DATA];
        let mut sizes = [1, 0, 1 << 30];
        let mut tags = [5, 6, 7];
        let mut mhandles = [null_mut(), null_mut(), MHANDLE];
        let mut phandles = [PHANDLE; 3];
        let receives = Receives {
            count: 3,
            data: data.as_mut_ptr(),
            sizes: sizes.as_mut_ptr(),
            tags: tags.as_mut_ptr(),
            mhandles: mhandles.as_mut_ptr(),
            phandles: phandles.as_mut_ptr(),
        };
        let mut request = NCCL_NET_OPTIONAL_RECV_COMPLETION;
        // SAFETY: the arrays have three entries.
        unsafe { net.irecv(comm, &receives, &mut request) }.unwrap();
        assert_eq!((fake.count, fake.data, fake.tag, fake.mhandle), (3, DATA, 7, MHANDLE));
        assert_eq!(fake.sizes[..3], [1, 0, 1 << 30]);
        let hint = if number >= 9 { NCCL_NET_OPTIONAL_RECV_COMPLETION } else { null_mut() };
        assert_eq!(fake.request_in, hint, "{version}: tables older than the hint don't see it");
        let mut size: c_int = 0;
        // SAFETY: see above.
        assert_eq!(unsafe { net.test(request, &raw mut size) }, Ok(true));
        assert_eq!(size, 1234);

        let mut flush_sizes: [c_int; 1] = [31];
        // SAFETY: the arrays have one entry.
        let flush = unsafe {
            net.iflush(comm, 1, data[2..].as_mut_ptr(), flush_sizes.as_mut_ptr(), mhandles[2..].as_mut_ptr())
        }
        .unwrap();
        assert_eq!((fake.count, fake.data, fake.size, fake.mhandle), (1, DATA, 31, MHANDLE));
        // SAFETY: see above.
        assert_eq!(unsafe { net.test(flush, null_mut()) }, Ok(false));
    }
}

#[test]
fn optional_members_are_reached() {
    for version in Version::ALL {
        let number = version.number();
        let loaded = Loaded::full(version, "optional");
        let net = loaded.net;
        let fake = loaded.fake();
        if number >= 7 {
            // SAFETY: fakenet.c reads through neither.
            let device = unsafe { net.get_device_mr(DATA, MHANDLE) }.unwrap();
            assert_eq!(device.addr(), MHANDLE.addr() + 1);
            // SAFETY: fakenet.c reads through neither.
            unsafe { net.irecv_consumed(DATA, 2, MHANDLE) }.unwrap();
            assert_eq!((fake.count, fake.data), (2, MHANDLE));
        }
        if number >= 9 {
            let four = VirtualDevice { count: 4, devs: [3, 2, 1, 0, 0, 0, 0, 0] };
            assert_eq!(net.make_vdevice(&four), Ok(2));
            assert_eq!((fake.count, &fake.sizes[..4]), (4, &[3, 2, 1, 0][..]));
            assert_eq!(net.devices(), Ok(3));
            let five = VirtualDevice { count: 5, devs: [0, 1, 2, 3, 4, 0, 0, 0] };
            let made = if number == 12 { Ok(3) } else { Err(Code::INVALID_ARGUMENT) };
            assert_eq!(net.make_vdevice(&five), made);
        }
        if number >= 11 {
            let mut attr = ncclNetAttr_v11_t { op: 9, ..ncclNetAttr_v11_t::default() };
            let context = Context { raw: DATA, traffic_class: None };
            // SAFETY: fakenet.c doesn't read through the context.
            unsafe { net.set_net_attr(context, &mut attr) }.unwrap();
            assert_eq!((fake.context, fake.count), (DATA, 9));
        }
    }
}
