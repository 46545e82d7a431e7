//! Net tables word by word, and a look at the kernel's routes at the moment when stock connect is called.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, OnceLock};

use nccl_net_abi::bindings::{ncclNetCommConfig_v10_t, ncclNetDeviceHandle_v7_t, ncclResult_t};
use nccl_net_abi::{AnyNet, Table};

use crate::host;

/// NCCL's order of the members, which never changed; each version has the first so many.
const MEMBERS: [&str; 22] = [
    "name",
    "init",
    "devices",
    "getProperties",
    "listen",
    "connect",
    "accept",
    "regMr",
    "regMrDmaBuf",
    "deregMr",
    "isend",
    "irecv",
    "iflush",
    "test",
    "closeSend",
    "closeRecv",
    "closeListen",
    "getDeviceMr",
    "irecvConsumed",
    "makeVDevice",
    "finalize",
    "setNetAttr",
];

/// The members through which data goes.
const DATA_PATH: [&str; 11] = [
    "isend",
    "irecv",
    "test",
    "iflush",
    "regMr",
    "regMrDmaBuf",
    "deregMr",
    "getDeviceMr",
    "irecvConsumed",
    "makeVDevice",
    "setNetAttr",
];

/// What a plugin that steers has to see.
const OURS: [&str; 4] = ["init", "listen", "connect", "closeSend"];

/// Checks that `ours`, after init, is `stock` wherever data goes, and has its NULLs everywhere.
pub(crate) fn check_members(ours: &AnyNet, stock: &AnyNet) {
    for (member, (ours, stock)) in MEMBERS.iter().zip(words(ours).into_iter().zip(words(stock))) {
        assert_eq!(
            ours == 0,
            stock == 0,
            "{member} is NULL in one of the tables: {ours:#x}, stock {stock:#x}"
        );
        if DATA_PATH.contains(member) {
            assert_eq!(ours, stock, "{member} is not the stock function");
        }
        if OURS.contains(member) {
            assert_ne!(ours, stock, "{member} is the stock function");
        }
    }
}

fn words(net: &AnyNet) -> Vec<usize> {
    let count = net.version().members() + 1;
    // SAFETY: a table is its name and so many function pointers, all of one word; it lives as long as the process.
    unsafe { std::slice::from_raw_parts(net.address().cast::<usize>(), count) }.to_vec()
}

/// The kernel's routes of ours at each call of stock connect.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(crate) fn seen_by_connect() -> Vec<String> {
    std::mem::take(&mut SEEN.lock().unwrap())
}

type Out = *mut *mut c_void;
type Device = *mut *mut ncclNetDeviceHandle_v7_t;

macro_rules! watch_connect {
    ($($version:ident($($argument:ident: $type:ty),*))*) => {
        /// Puts a function into the stock table that notes the routes and goes on to stock connect.
        ///
        /// The table is plain data of the libnccl, and whoever wraps it reads its members at each call.
        pub(crate) fn watch_connect(stock: &AnyNet) {
            match stock.table() {
                $(Table::$version(table) => {
                    type Connect = unsafe extern "C" fn($($type),*) -> ncclResult_t;
                    static STOCK: OnceLock<Connect> = OnceLock::new();
                    unsafe extern "C" fn watched($($argument: $type),*) -> ncclResult_t {
                        SEEN.lock().unwrap().push(host::routes());
                        // SAFETY: passed on unchanged.
                        unsafe { STOCK.get().unwrap()($($argument),*) }
                    }
                    // SAFETY: lives as long as the process; nobody calls through it now.
                    let connect = unsafe { &mut (*table.as_ptr()).connect };
                    STOCK.set(connect.expect("stock tables are complete")).expect("watched once per process");
                    *connect = Some(watched);
                })*
            }
        }
    };
}

watch_connect! {
    V6(dev: c_int, handle: *mut c_void, comm: Out)
    V7(dev: c_int, handle: *mut c_void, comm: Out, device: Device)
    V8(dev: c_int, handle: *mut c_void, comm: Out, device: Device)
    V9(dev: c_int, handle: *mut c_void, comm: Out, device: Device)
    V10(dev: c_int, config: *mut ncclNetCommConfig_v10_t, handle: *mut c_void, comm: Out, device: Device)
    V11(context: *mut c_void, dev: c_int, handle: *mut c_void, comm: Out, device: Device)
    V12(context: *mut c_void, dev: c_int, handle: *mut c_void, comm: Out, device: Device)
}
