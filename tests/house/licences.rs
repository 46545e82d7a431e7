//! What comes from elsewhere: under which licences, and from where.

use std::collections::BTreeSet;

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use crate::packages::cargo;
use crate::read;

/// The list in `deny.toml`, which cargo-deny reads too.
fn allowed() -> Vec<Licensee> {
    let rules: toml::Table = read("deny.toml").parse().expect("TOML");
    let names = rules["licenses"]["allow"].as_array().expect("a list of licences");
    names
        .iter()
        .map(|name| Licensee::parse(name.as_str().expect("a string")).expect("an SPDX identifier"))
        .collect()
}

/// Every package of Cargo.lock that is built for Linux, ours and others'.
fn packages() -> Vec<Value> {
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let metadata: Value = serde_json::from_str(&cargo(&arguments)).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages").clone();
    assert!(packages.len() >= 100, "only {} packages", packages.len());
    packages
}

/// Whether a crate under this expression may come in.
fn permitted(license: &str, allowed: &[Licensee]) -> bool {
    // Older crates write MIT/Apache-2.0.
    let expression =
        Expression::parse_mode(license, ParseMode::LAX).unwrap_or_else(|error| panic!("{license}: {error}"));
    expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)))
}

#[test]
fn every_crate_has_a_licence_that_we_may_ship() {
    let allowed = allowed();
    for package in packages() {
        let license = package["license"].as_str().unwrap_or_else(|| panic!("{}: no licence", package["id"]));
        assert!(permitted(license, &allowed), "{}: {license} is not in deny.toml", package["id"]);
    }
    for refused in ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "SSPL-1.0"] {
        assert!(!permitted(refused, &allowed), "{refused} passes");
    }
}

#[test]
fn crates_come_from_the_registry_only() {
    let sources: BTreeSet<String> =
        packages().iter().filter_map(|package| Some(package["source"].as_str()?.to_owned())).collect();
    // Ours have none.
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    assert_eq!(sources, BTreeSet::from([registry.to_owned()]));
}
