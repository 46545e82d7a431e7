//! Every version's table, driven from C over the multipath transport on loopback.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod plugin;

use plugin::{compile, plugin, succeed};

fn every_version(scenario: &str) {
    let so = plugin();
    for version in 6..=12 {
        let program = compile(
            &["tests/c/multipath.c"],
            &format!("multipath_{scenario}_v{version}"),
            &["-rdynamic", &format!("-DV={version}")],
        );
        let settings = [("SRV6_TRANSPORT", "multipath"), ("SRV6_MODE", "off"), ("NCCL_SOCKET_IFNAME", "lo")];
        succeed(&program, &[so.to_str().unwrap(), scenario], &settings);
    }
}

#[test]
fn data_goes_through() {
    every_version("data");
}

#[test]
fn unloading_and_loading_again_works() {
    every_version("reload");
}

#[test]
fn parent_and_child_of_fork_work() {
    every_version("fork");
}

#[test]
fn forks_in_the_middle_of_everything_work() {
    every_version("forks");
}

#[test]
fn several_ranks_in_one_process() {
    every_version("threads");
}

#[test]
fn abort_with_requests_outstanding_leaves_nothing() {
    every_version("abort");
}

#[test]
fn bad_arguments_are_errors() {
    every_version("arguments");
}

#[test]
fn the_data_path_allocates_nothing() {
    every_version("quiet");
}
