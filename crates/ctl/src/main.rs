//! srv6ctl.
fn main() {}
