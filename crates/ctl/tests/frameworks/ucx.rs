//! UCX over TCP: Debian's ucx_perftest between two hosts, and NIXL on the UCX that it brings along.

use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;
use crate::scene::{INTERFACE, Scene, Shim, repository};

/// Sends 32 MB from one host to another by tag matching, and waits for the end.
pub(crate) fn perftest(scene: &Scene, from: &str, to: &str, shim: Shim) {
    let program = |host: &str| {
        let mut command = scene.command(host, "ucx_perftest", shim);
        over_tcp(&mut command);
        command.args(["-6", "-p", "13337"]);
        command
    };
    let server = Process::start(&mut program(to));
    scene.await_listener(to, 13337);
    let mut client = program(from);
    client.arg(scene.address(to).to_string());
    let client = Process::start(client.args(["-t", "tag_bw", "-s", "65536", "-n", "512", "-w", "16", "-f"]));
    let ended = client.end();
    ended.assert_right();
    let figures = ended.printed.lines().last().unwrap_or_default();
    assert_eq!(figures.split_whitespace().next(), Some("512"), "{ended:#?}");
    server.end().assert_right();
}

/// Moves 16 MB each way between the memories of two hosts, every byte checked by examples/nixl/transfer.py.
pub(crate) fn nixl(scene: &Scene, initiator: &str, target: &str, shim: Shim) {
    let python = virtual_environment();
    let program = |host: &str, role: &str| {
        let mut command = scene.command(host, &python, shim);
        over_tcp(&mut command);
        command.arg(repository().join("examples/nixl/transfer.py")).arg(role);
        command
    };
    let waiting = Process::start(&mut program(target, "target"));
    waiting.await_text("target is ready");
    let listener = scene.management_address(target);
    let ended = Process::start(program(initiator, "initiator").args(["--ip", &listener])).end();
    ended.assert_right();
    assert!(ended.printed.contains("READ 16 x 1048576 bytes: all as offered\n"), "{ended:#?}");
    let ended = waiting.end();
    ended.assert_right();
    assert!(ended.printed.contains("WRITE 16 x 1048576 bytes: all as sent\n"), "{ended:#?}");
}

/// UCX takes IPv4 first, shared memory before TCP, and any interface.
fn over_tcp(command: &mut Command) {
    command.envs([("UCX_TLS", "tcp"), ("UCX_NET_DEVICES", INTERFACE), ("UCX_TCP_AF_PRIO", "inet6,inet")]);
}

/// The Python that scripts/fetch-nixl has given NIXL.
fn virtual_environment() -> PathBuf {
    let python = repository().join(".cache/nixl/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/fetch-nixl", python.display());
    python
}
