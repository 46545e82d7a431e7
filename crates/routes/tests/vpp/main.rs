//! Segment routing in VPP: the same suite against a stand-in, or against a real VPP.
//!
//! `cargo test -p srv6-routes --test vpp` needs nothing. `scripts/vpp-check SOCKET` gives the API socket of a real VPP in
//! `--socket`, and in `--vppctl` a command whose `show sr policies` and `show sr steering-policies` are then asked as well.
//! What is programmed there lies in a range of binding SIDs of its own and is removed again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test with a main of its own fails as tests do"
)]

mod bulk;
mod place;
mod single;

use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use place::{Place, Server};

/// A test's name, and what it does with a VPP of its own.
#[derive(Clone, Copy)]
struct Test(&'static str, fn(&Place));

fn main() -> ExitCode {
    let (mut arguments, mut socket, mut vppctl) = (Vec::new(), None, None);
    let mut given = std::env::args();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--socket" => socket = given.next().map(PathBuf::from),
            "--vppctl" => vppctl = given.next(),
            _ => arguments.push(argument),
        }
    }
    let server = Server { socket, vppctl };
    let mut arguments = Arguments::from_iter(arguments);
    if let Some(socket) = &server.socket {
        // There is only one, and each test looks at all of it.
        arguments.test_threads = Some(1);
        println!("against the VPP at {}: {}", socket.display(), server.version());
    }
    let trials = [single::TESTS, bulk::TESTS].concat();
    let trials = trials.into_iter().map(|Test(name, test)| {
        let server = server.clone();
        Trial::test(name, move || {
            test(&Place::new(&server));
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
