//! The workspace as Cargo sees it: layers, closures, versions, lints.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{read, root, toml_string};

/// Every package by its layer. Code of a layer depends on layers further down this list only.
const LAYERS: [&[&str]; 5] = [
    &["srv6ctl", "nccl-net-srv6", "srv6-shim", "srv6-agent"],
    &["srv6-settings"],
    &[
        "srv6-steer",
        "srv6-transport",
        "srv6-netdrive",
        "srv6-lab",
        "srv6-pathserver",
        "srv6-sim",
        "srv6-vpp-standin",
    ],
    &["srv6-hints", "srv6-paths", "srv6-routes"],
    &["srv6-fabric", "nccl-net-abi", "srv6-inject"],
];

/// What a library inside a training process must not bring along.
const BANNED: [&str; 14] = [
    "actix-web",
    "arangors",
    "axum",
    "diesel",
    "hyper",
    "mysql",
    "native-tls",
    "openssl",
    "postgres",
    "reqwest",
    "rusqlite",
    "rustls",
    "sqlx",
    "tiny_http",
];

/// Runs this toolchain's cargo without a network, and gives what it prints.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn packages() -> Vec<Value> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages").clone();
    assert!(packages.len() >= 10, "only {} packages in the workspace", packages.len());
    packages
}

/// Names of all packages that end up in a package's binary, itself included.
fn closure(package: &str) -> BTreeSet<String> {
    cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(ToOwned::to_owned)
        .collect()
}

fn layer(package: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&package))
        .unwrap_or_else(|| panic!("package {package} has no layer: say in LAYERS what it may depend on"))
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_else(|| panic!("{} has no {key}", package["name"]))
}

#[test]
fn dependencies_point_down() {
    for package in packages() {
        let name = text(&package, "name");
        for dependency in package["dependencies"].as_array().expect("a list") {
            // Tests may look up: what drives a crate in a test is above it. `path`: ours.
            if dependency["kind"] == "dev" || dependency["path"].is_null() {
                continue;
            }
            let on = text(dependency, "name");
            assert!(layer(name) < layer(on), "{name} depends on {on}, which is not below it");
        }
    }
}

#[test]
fn every_layered_package_exists() {
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let layered: BTreeSet<&str> = LAYERS.concat().into_iter().collect();
    assert_eq!(layered, names);
}

#[test]
fn libraries_in_a_job_bring_no_server_tls_or_database() {
    for package in ["nccl-net-srv6", "srv6-shim"] {
        let closure = closure(package);
        assert!(closure.contains("srv6-steer") && closure.contains("ureq"), "not {package}'s: {closure:?}");
        for name in BANNED {
            let found: Vec<_> = closure
                .iter()
                .filter(|crate_| *crate_ == name || crate_.starts_with(&format!("{name}-")))
                .collect();
            assert!(found.is_empty(), "{package} links {found:?}");
        }
    }
    // The same look at a program that has a server finds it.
    assert!(closure_has_banned("srv6-pathserver"), "the check sees nothing");
}

fn closure_has_banned(package: &str) -> bool {
    closure(package).iter().any(|name| BANNED.contains(&name.as_str()))
}

#[test]
fn one_toolchain_edition_and_licence() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toml_string(&toolchain, "channel").expect("a channel");
    for package in packages() {
        let name = text(&package, "name");
        let version = text(&package, "rust_version");
        assert!(
            channel == version || channel.starts_with(&format!("{version}.")),
            "{name} wants Rust {version}, rust-toolchain.toml has {channel}"
        );
        assert_eq!(text(&package, "edition"), "2024", "{name}");
        assert_eq!(text(&package, "license"), "Apache-2.0", "{name}");
        assert_eq!(text(&package, "version"), env!("CARGO_PKG_VERSION"), "{name}");
    }
    // The wheel carries the plugin that is built from the same tree.
    let python = read("python/pyproject.toml");
    assert_eq!(toml_string(&python, "version"), Some(env!("CARGO_PKG_VERSION")), "python/pyproject.toml");
    assert!(read("LICENSE").contains("Apache License\n                           Version 2.0, January 2004"));
}

#[test]
fn every_package_has_the_lints() {
    for package in packages() {
        let manifest = std::fs::read_to_string(text(&package, "manifest_path")).expect("a manifest");
        let lints = manifest.split("\n[lints]\n").nth(1).unwrap_or_default();
        assert!(
            lints.lines().next() == Some("workspace = true"),
            "{}: want [lints] workspace = true",
            package["manifest_path"]
        );
    }
}

#[test]
fn versions_are_written_once() {
    for package in packages() {
        let manifest = std::fs::read_to_string(text(&package, "manifest_path")).expect("a manifest");
        // The root's own table of versions ends where its package begins.
        let own = manifest.split("\n[package]\n").nth(1).unwrap_or(&manifest);
        for section in own.split("\n[").filter(|section| section.contains("dependencies]\n")) {
            for line in section.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                assert!(
                    line.contains("workspace = true") || line.contains("path = "),
                    "{}: {line}",
                    package["manifest_path"]
                );
            }
        }
    }
}
