//! What the library adds to a connect that it doesn't steer.
//!
//! `scripts/measure shim` runs it. The program starts itself again with the library preloaded and calls the `connect` that
//! it then has, and libc's own, in alternation, with the addresses of no host of a fabric of 16 388. The descriptor is none,
//! so the kernel refuses at once and its own time varies little; the same with a UDP socket is the check on that. The last
//! line is one JSON object.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    unsafe_code,
    reason = "a bench that can't measure ends and says where; it calls functions of C"
)]

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libc::{sockaddr, socklen_t};

/// Hosts besides those of the fabric that the file begins as.
const HOSTS: u32 = 16_384;

/// Comparisons, and calls of each side in each.
const ROUNDS: usize = 101;
const CALLS: u32 = 20_000;

type Connect = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("inside") {
        return inside();
    }
    let program = std::env::current_exe().unwrap();
    let library = program.with_file_name("libsrv6_shim.so");
    assert!(library.exists(), "{} is not built", library.display());
    let topology = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim_unmatched.json");
    std::fs::write(&topology, fabric()).unwrap();
    let status = Command::new(&program)
        .arg("inside")
        .env("LD_PRELOAD", &library)
        .env("SRV6_TOPOLOGY", &topology)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// The fabric of 4 hosts, and many hosts more.
fn fabric() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fabrics/4x4.json");
    let mut documents: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let hosts = documents["hosts"].as_array_mut().unwrap();
    hosts.extend((0..HOSTS).map(|n| {
        serde_json::json!({
            "_key": format!("far{n:05}"),
            "name": format!("far{n:05}"),
            "ipv6_address": format!("2001:db8:f000:{n:x}::2"),
            "ipv4_address": std::net::Ipv4Addr::from_bits(0x0a80_0000 + 4 * n).to_string(),
        })
    }));
    documents.to_string()
}

fn inside() {
    let ours: Connect = libc::connect;
    let theirs = libc_connect();
    assert!(!std::ptr::fn_addr_eq(ours, theirs), "the library isn't preloaded");
    // SAFETY: takes numbers.
    let socket = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0) };
    let started = Instant::now();
    calls(ours, socket, &v6(), 1);
    let loading = started.elapsed();
    assert!(loading > Duration::from_micros(200), "no topology was read: {loading:?}");
    eprintln!("first connect, which reads the topology: {loading:?}");

    // SAFETY: takes numbers.
    let udp = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
    assert!(udp >= 0);
    let figures = [
        ("unmatched_ns", added(ours, theirs, -1, &v6())),
        ("unmatched_ipv4_ns", added(ours, theirs, -1, &v4([192, 0, 2, 1]))),
        ("loopback_udp_ns", added(ours, theirs, udp, &v4([127, 0, 0, 1]))),
    ];
    let mut result = serde_json::Map::new();
    for (name, (added, theirs)) in figures {
        eprintln!("{name}: {added:.1} on top of {theirs:.1}");
        result.insert(name.to_owned(), ((added * 10.0).round() / 10.0).into());
    }
    println!("{}", serde_json::Value::Object(result));
}

/// Nanoseconds per call that ours takes longer than libc's, and those of libc's: medians over the rounds.
fn added(ours: Connect, theirs: Connect, socket: c_int, address: &libc::sockaddr_in6) -> (f64, f64) {
    let (mut differences, mut plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever goes first may find a colder cache.
        let (with, without) = if round % 2 == 0 {
            let with = calls(ours, socket, address, CALLS);
            (with, calls(theirs, socket, address, CALLS))
        } else {
            let without = calls(theirs, socket, address, CALLS);
            (calls(ours, socket, address, CALLS), without)
        };
        differences.push(with - without);
        plain.push(without);
    }
    (median(differences), median(plain))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per call.
fn calls(connect: Connect, socket: c_int, address: &libc::sockaddr_in6, count: u32) -> f64 {
    let name = (&raw const *address).cast::<sockaddr>();
    let length = if c_int::from(address.sin6_family) == libc::AF_INET { 16 } else { 28 };
    let started = Instant::now();
    for _ in 0..count {
        // SAFETY: `name` points to at least `length` bytes of a socket address.
        std::hint::black_box(unsafe { connect(socket, name, length) });
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

/// libc's own, whoever stands before it.
fn libc_connect() -> Connect {
    // SAFETY: the name is a C string; libc is loaded already.
    let libc = unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW) };
    // SAFETY: a handle of dlopen, and a C string.
    let found = unsafe { libc::dlsym(libc, c"connect".as_ptr()) };
    assert!(!found.is_null());
    // SAFETY: libc's connect has this signature.
    unsafe { std::mem::transmute::<*mut c_void, Connect>(found) }
}

/// An address of the fabric's range that is none of its hosts'.
fn v6() -> libc::sockaddr_in6 {
    // SAFETY: all zeroes are a socket address.
    let mut name: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    name.sin6_family = 10;
    name.sin6_port = 9u16.to_be();
    name.sin6_addr.s6_addr = "2001:db8:f000:1f00::3".parse::<std::net::Ipv6Addr>().unwrap().octets();
    name
}

/// An IPv4 address, in a place that is large enough for either.
fn v4(address: [u8; 4]) -> libc::sockaddr_in6 {
    let mut name = v6();
    name.sin6_family = 2;
    // `sin_addr` lies where the flow label does.
    name.sin6_flowinfo = u32::from_ne_bytes(address);
    name
}
