//! srv6d as processes see it: clients in the hosts of a lab, the kernel's tables as judge.
//!
//! Agent and clients are processes of their own. A client is this program again, started inside a lab host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test with a main of its own fails as tests do"
)]

mod client;
mod crowd;
mod job;
mod lasting;
mod preloaded;
mod privileges;
mod raw;
mod scene;
mod source;
mod steering;
mod unruly;
mod vpp;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, client::CLIENT, socket, flows @ ..] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
    {
        client::run(socket, flows);
        return ExitCode::SUCCESS;
    }
    if let [_, job::RANK, handle @ ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        job::run(handle.first().copied());
        return ExitCode::SUCCESS;
    }
    let trials = [
        crowd::TESTS,
        job::TESTS,
        preloaded::TESTS,
        privileges::TESTS,
        source::TESTS,
        steering::TESTS,
        lasting::TESTS,
        unruly::TESTS,
        vpp::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    })
    .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
