//! Build script of the two packages that meet NCCL's C ABI.
fn main() {}
