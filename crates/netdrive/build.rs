//! Compiles NCCL's log function: Rust can call a C-variadic function but not define one.

fn main() {
    println!("cargo:rerun-if-changed=src/nccl_log/format.c");
    cc::Build::new().file("src/nccl_log/format.c").std("c11").warnings(true).compile("srv6_netdrive_log");
}
