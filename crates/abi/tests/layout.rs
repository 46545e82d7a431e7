//! The C compiler's view of the headers agrees with what NCCL relies on.

mod compile;

use std::process::Command;

#[test]
fn c_sizes_and_offsets() {
    let program = compile::compile("layout.c", "layout", &[]);
    assert!(Command::new(program).status().unwrap().success());
}

#[test]
fn every_header_stands_alone() {
    for version in 6..=12 {
        let object = format!("alone_v{version}.o");
        let header = format!("net_v{version}.h");
        compile::compile(
            "alone.c",
            &object,
            &["-c", &format!("-DHEADER=\"{header}\""), &format!("-DTABLE=ncclNet_v{version}_t")],
        );
    }
}
