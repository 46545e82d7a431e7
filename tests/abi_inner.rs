//! The plugin around another plugin, of the same version and of others, driven from C.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod plugin;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use plugin::{compile, plugin, run, succeed};

/// Another plugin of this version.
fn other(version: u8, test: &str) -> String {
    let output = format!("libother_{test}_v{version}.so");
    let version = format!("-DV={version}");
    let path = compile(&["crates/abi/tests/c/fakenet.c"], &output, &["-shared", "-fPIC", &version]);
    path.to_str().unwrap().to_owned()
}

fn program(version: u8, inner: u8, test: &str) -> PathBuf {
    let options = [format!("-DV={version}"), format!("-DINNER={inner}"), "-Wno-unused-function".to_owned()];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    compile(&["tests/c/inner.c"], &format!("inner_{test}_v{version}_{inner}"), &options)
}

fn scenario(version: u8, inner: u8, name: &str, settings: &[(&str, &str)]) {
    let other = other(inner, &format!("{name}{version}"));
    let mut all = vec![("SRV6_TRANSPORT", other.as_str())];
    all.extend(settings);
    succeed(&program(version, inner, name), &[plugin().to_str().unwrap(), &other, name], &all);
}

const OFF: [(&str, &str); 1] = [("SRV6_MODE", "off")];

/// An interface with the name of the other plugin's first device and the address of the shipped fabric's host00.
///
/// The test binary has a network namespace of its own.
fn host00() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for command in [
            "ip link add fake0 type veth peer name leaf0",
            "ip link set leaf0 up",
            "ip address add 2001:db8:1000::2/64 dev fake0 nodad",
            "ip link set fake0 up",
            // The fabric's uSID block lies behind it.
            "ip -6 route add fc00::/32 dev fake0",
        ] {
            let status = Command::new("sh").args(["-c", command]).status().unwrap();
            assert!(status.success(), "{command}");
        }
    });
}

fn fabric() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fabrics/4x4.json").to_owned()
}

#[test]
fn members_are_the_inner_ones() {
    for version in 6..=12 {
        scenario(version, version, "members", &OFF);
    }
}

#[test]
fn another_version_is_adapted() {
    for (version, inner) in
        [(6, 12), (7, 10), (8, 9), (9, 6), (10, 11), (11, 8), (12, 6), (12, 7), (12, 11), (11, 12)]
    {
        scenario(version, inner, "members", &OFF);
    }
}

#[test]
fn every_inner_init_is_finalized_once() {
    for (version, inner) in [(6, 6), (10, 10), (10, 12), (11, 11), (12, 12), (11, 12), (12, 8)] {
        scenario(version, inner, "contexts", &OFF);
    }
}

#[test]
fn handles_keep_the_inner_bytes() {
    for version in 6..=12 {
        scenario(version, version, "handles", &OFF);
    }
}

#[test]
fn connections_are_steered_in_the_kernel_and_named_in_the_log() {
    host00();
    let fabric = fabric();
    let settings = [
        ("SRV6_MODE", "local"),
        ("SRV6_TOPOLOGY", fabric.as_str()),
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ];
    // One after the other: they install the same route.
    for version in 6..=12 {
        scenario(version, version, "steered", &settings);
    }
    // A process that ends without closing anything takes its route along.
    for version in [6, 10, 12] {
        scenario(version, version, "leaving", &settings);
        let shown = Command::new("ip").args(["-6", "route", "show", "proto", "83"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "", "v{version}");
    }
}

#[test]
fn peers_of_every_kind() {
    host00();
    let fabric = fabric();
    let settings = [("SRV6_TOPOLOGY", fabric.as_str()), ("ROUTE_PLATFORM", "none")];
    for version in [6, 8, 10, 12] {
        scenario(version, version, "peers", &settings);
    }
}

#[test]
fn a_silent_path_api_holds_up_no_thread() {
    host00();
    // Accepts into its backlog and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let lenient = [
        ("JALAPENO_API_ENDPOINT", endpoint.as_str()),
        ("ROUTE_PLATFORM", "none"),
        ("SRV6_CONNECT_TIMEOUT_MS", "2000"),
    ];
    scenario(12, 12, "silent", &lenient);
    scenario(8, 8, "silent", &lenient);
    let mut strict = lenient.to_vec();
    strict.push(("SRV6_STRICT", "1"));
    scenario(11, 11, "silent-strict", &strict);
    scenario(6, 6, "silent-strict", &strict);
}

#[test]
fn a_second_nccl_is_refused() {
    for version in [9, 12] {
        scenario(version, version, "second", &OFF);
    }
}

#[test]
fn an_inner_transport_without_devices_is_refused() {
    for version in [6, 12] {
        scenario(version, version, "nodevices", &OFF);
    }
}

/// init fails with this code and this in the log, and the process goes on.
fn refused(settings: &[(&str, &str)], code: &str, reason: &str) {
    let other = other(12, "refused");
    let program = program(12, 12, "refused");
    succeed(&program, &[plugin().to_str().unwrap(), &other, "refused", code, reason], settings);
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    let other = other(12, "refused_so");
    let so = plugin();
    let so = so.to_str().unwrap();
    refused(
        &[("SRV6_TRANSPORT", "tcp"), ("SRV6_STRICT", "2")],
        "5",
        "or ending in .so); SRV6_STRICT=\"2\": want 0 or 1",
    );
    refused(&[("SRV6_MODE", "agents")], "5", "want auto, agent, local or off");
    // A strict job goes nowhere unsteered because nobody answers.
    refused(
        &[("SRV6_TRANSPORT", &other), ("SRV6_AGENT_SOCKET", "/nowhere/agent.sock"), ("SRV6_STRICT", "1")],
        "5",
        "no agent answers at /nowhere/agent.sock",
    );
    refused(&[("SRV6_TRANSPORT", so)], "5", "is this plugin itself");
    refused(&[("SRV6_TRANSPORT", "/nowhere/libnccl-net-x.so")], "5", "can't load /nowhere/libnccl-net-x.so");
    let nothing = compile(&["tests/c/dlopen.c"], "libnothing.so", &["-shared", "-fPIC"]);
    refused(
        &[("SRV6_TRANSPORT", nothing.to_str().unwrap())],
        "5",
        "has none of the symbols ncclNetPlugin_v6 to ncclNetPlugin_v12",
    );
    // The program that calls is no NCCL.
    refused(&[], "5", "has no ncclGetVersion of its own");
    refused(
        &[("SRV6_TRANSPORT", &other), ("SRV6_STRICT", "1")],
        "5",
        "set JALAPENO_API_ENDPOINT or SRV6_TOPOLOGY",
    );
    refused(
        &[("SRV6_TRANSPORT", &other), ("JALAPENO_API_ENDPOINT", "gopher:/"), ("ROUTE_PLATFORM", "none")],
        "2",
        "steering can't start",
    );
}

#[test]
fn without_the_right_to_change_routes() {
    let other = other(12, "capability");
    let program = program(12, 12, "capability");
    let (so, fabric) = (plugin(), fabric());
    let settings = [("SRV6_TRANSPORT", other.as_str()), ("SRV6_TOPOLOGY", &fabric), ("SRV6_MODE", "local")];
    // Without capabilities, as an ordinary user's process.
    let capsh = |scenario: &[&str], settings: &[(&str, &str)]| {
        let mut arguments =
            vec!["--bounding-set=-net_admin", "--inh-caps=-net_admin", program.to_str().unwrap()];
        arguments.extend([so.to_str().unwrap(), &other]);
        arguments.extend(scenario);
        run("/usr/bin/setpriv".as_ref(), &arguments, settings)
    };
    let output = capsh(&["refused", "5", "SRV6_MODE=local needs CAP_NET_ADMIN"], &settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut auto = settings;
    auto[2] = ("SRV6_MODE", "auto");
    let output = capsh(&["members"], &auto);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
