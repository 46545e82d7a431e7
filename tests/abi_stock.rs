//! Which of NCCL's own transports is wrapped, in a stand-in for NCCL whose transports move no data.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

mod plugin;

use std::path::{Path, PathBuf};
use std::process::Command;

use plugin::{compile, plugin, succeed};

/// A release of each layout.
const RELEASES: [(u8, u32); 7] =
    [(6, 21803), (7, 21903), (8, 22105), (9, 22403), (10, 22705), (11, 22809), (12, 23203)];

/// A shared object with NCCL's two tables of this layout, or fewer, of a release that calls itself `code`.
fn nccl(layout: u8, code: u32, tables: &[&str]) -> String {
    let version = format!("-DV={layout}");
    let name = format!("{layout}_{code}_{}", tables.join("_"));
    let mut objects = Vec::new();
    for table in tables {
        let (like, text) = if *table == "ib" { ("-DIB_LIKE", "IB") } else { ("-DSOCKET_LIKE", "Socket") };
        let options = [
            "-c",
            "-fPIC",
            &version,
            like,
            &format!("-DNAME=\"{text}\""),
            &format!("-DSYMBOL=stock_{table}"),
            &format!("-DFAKE=fake_{table}"),
        ];
        objects.push(compile(&["crates/abi/tests/c/fakenet.c"], &format!("{table}_{name}.o"), &options));
    }
    objects.push(compile(
        &["tests/c/nccl.c"],
        &format!("nccl_{name}.o"),
        &["-c", "-fPIC", &format!("-DCODE={code}")],
    ));
    let output = objects[0].with_file_name(format!("libfakenccl_{name}.so"));
    let linked = Command::new("cc").arg("-shared").arg("-o").arg(&output).args(&objects).status().unwrap();
    assert!(linked.success());
    output.to_str().unwrap().to_owned()
}

/// The program for this version; `test` keeps it apart from those of tests that run at the same time.
fn stock(version: u8, test: &str) -> PathBuf {
    compile(&["tests/c/stock.c"], &format!("stock_{test}_v{version}"), &[&format!("-DV={version}")])
}

fn init(program: &Path, nccl: &str, ib_devices: &str, expected: &str, transport: &str) {
    let settings = [("SRV6_MODE", "off"), ("SRV6_TRANSPORT", transport)];
    succeed(program, &[plugin().to_str().unwrap(), nccl, ib_devices, expected], &settings);
}

#[test]
fn the_stock_transport_is_chosen_as_nccl_would() {
    for (version, code) in RELEASES {
        let nccl = nccl(version, code, &["socket", "ib"]);
        let program = stock(version, "chosen");
        init(&program, &nccl, "2", "IB", "auto");
        init(&program, &nccl, "0", "Socket", "auto");
        init(&program, &nccl, "-1", "Socket", "auto");
        init(&program, &nccl, "2", "Socket", "socket");
        init(&program, &nccl, "1", "IB", "ib");
        init(&program, &nccl, "0", "NCCL's IB has no devices here", "ib");
    }
}

#[test]
fn a_missing_table_is_refused_rather_than_replaced_by_tcp() {
    let program = stock(10, "missing");
    init(&program, &nccl(10, 22705, &["socket"]), "0", "no IB table of layout v10", "auto");
    init(&program, &nccl(10, 22705, &["ib"]), "0", "no Socket table of layout v10", "auto");
    init(&program, &nccl(10, 22705, &["socket"]), "0", "Socket", "socket");
}

#[test]
fn an_unknown_or_mismatched_release_is_refused() {
    let next = nccl(12, 23400, &["socket", "ib"]);
    init(
        &stock(12, "next"),
        &next,
        "1",
        "NCCL release code 23400, whose internal net tables are unknown",
        "auto",
    );
    let shimmed = nccl(8, 22304, &["socket", "ib"]);
    init(
        &stock(7, "shimmed"),
        &shimmed,
        "1",
        "NCCL release code 22304 with internal tables of v8, but it chose our v7 table",
        "auto",
    );
}
