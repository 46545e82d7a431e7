//! What the built .so shows to the loader.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod plugin;

use std::process::Command;

use nccl_net_abi::Version;
use plugin::{compile, plugin, succeed};

fn tool(program: &str, arguments: &[&str]) -> String {
    let so = plugin();
    let output = Command::new(program).args(arguments).arg(&so).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_seven_tables_and_nothing_else_are_exported() {
    // "address size type name"; D: initialised, writable data.
    let listed = tool("nm", &["-D", "-S", "--defined-only"]);
    let mut symbols: Vec<(String, String, usize)> = listed
        .lines()
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [_, size, kind, name] = fields[..] else { panic!("{line}") };
            (name.to_owned(), kind.to_owned(), usize::from_str_radix(size, 16).unwrap())
        })
        .collect();
    symbols.sort();
    let mut wanted: Vec<(String, String, usize)> = Version::ALL
        .iter()
        .map(|version| (version.symbol().to_str().unwrap().to_owned(), "D".to_owned(), version.table_size()))
        .collect();
    wanted.sort();
    assert_eq!(symbols, wanted);
}

#[test]
fn it_stays_mapped_and_is_resolved_at_once() {
    let dynamic = tool("readelf", &["-dW"]);
    let flags = dynamic.lines().find(|line| line.contains("FLAGS_1")).unwrap();
    assert!(flags.contains("NODELETE") && flags.contains("NOW"), "{flags}");
}

#[test]
fn it_needs_no_library_that_a_job_might_lack() {
    let dynamic = tool("readelf", &["-dW"]);
    for line in dynamic.lines().filter(|line| line.contains("NEEDED")) {
        let known =
            ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux"].iter().any(|name| line.contains(name));
        assert!(known, "{line}");
    }
}

#[test]
fn a_plain_c_program_loads_and_unloads_it() {
    let program = compile(&["tests/c/dlopen.c"], "dlopen", &[]);
    succeed(&program, &[plugin().to_str().unwrap()], &[]);
}
