//! The plugin inside real NCCL: releases from PyPI, one per layout of the net table.
//!
//! For each release a process of its own loads the libnccl, loads the plugin as NCCL does, and makes the calls that NCCL's
//! init and proxy make, with NCCL's own log function. Judges: the libnccl's own tables and symbols, `ip`, and
//! what NCCL's log printed.
//!
//! What can't run here: `ncclCommInitRank` and the data path of NCCL's own transports, which call CUDA. Stock connect
//! fails in its first CUDA call, with ncclUnhandledCudaError; the plugin must pass that on and take its route
//! back. Three releases by default, all with `SRV6_ALL_NCCL=1`; `scripts/in-userns` has `scripts/fetch-nccl` download
//! them, since the tests' own namespace has no way out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test with a main of its own fails as tests do"
)]

mod drive;
mod handle;
mod host;
mod release;
mod symbols;
mod table;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use release::Release;
use wheel::Wheel;

/// First argument of a child process; the release follows.
const DRIVE: &str = "drive";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, DRIVE, name, plugin] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        drive::drive(&Release::named(name).expect("a release of releases.txt"), Path::new(plugin));
        return ExitCode::SUCCESS;
    }
    let plugin = plugin();
    let mut trials: Vec<Trial> = Release::chosen()
        .into_iter()
        .map(|release| {
            let plugin = plugin.clone();
            Trial::test(format!("nccl_{}", release.name), move || run(&release, &plugin, &[]))
        })
        .collect();
    trials.push(Trial::test("the_wheel_is_found_and_steers", the_wheel_is_found_and_steers));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The plugin by the name that NCCL looks for, which Cargo can't give it.
fn plugin() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(built.exists(), "{} is missing", built.display());
    let named = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libnccl-net-srv6.so");
    // Another run may be looking at it: a rename replaces it without a moment in between.
    let fresh = named.with_extension(std::process::id().to_string());
    std::os::unix::fs::symlink(built, &fresh).unwrap();
    std::fs::rename(fresh, &named).unwrap();
    named
}

/// One release in a process of its own: two libnccls in one process would not be what a job has.
fn run(release: &Release, plugin: &Path, environment: &[(String, String)]) -> Result<(), Failed> {
    release.check_there()?;
    let path = std::env::vars_os().filter(|(name, _)| name == "PATH");
    let child = Command::new(std::env::current_exe()?)
        .args([DRIVE, &release.name])
        .arg(plugin)
        .env_clear()
        .envs(path)
        .envs(environment.iter().cloned())
        .env("NCCL_DEBUG", "INFO")
        .env("NCCL_SOCKET_IFNAME", "=eth1")
        .env("NCCL_SOCKET_FAMILY", "AF_INET6")
        // With a GPU in the machine stock connect would get further than this test expects.
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("SRV6_MODE", "local")
        .env("SRV6_TOPOLOGY", Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fabrics/4x4.json"))
        .output()?;
    if !child.status.success() {
        return Err(failed("the process failed", &child));
    }
    check_log(release, &child)
}

/// The newest release finds the plugin of a wheel by the name that it makes of NCCL_NET_PLUGIN, where the wheel's environment
/// has the loader look.
fn the_wheel_is_found_and_steers() -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("a-wheel's-").tempdir()?;
    let wheel = Wheel::installed(folder.path())?;
    let value = |wanted: &str| {
        let found = wheel.environment.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.as_str())
            .ok_or(format!("--env has no {wanted}: {:?}", wheel.environment))
    };
    assert!(wheel.plugin.starts_with(folder.path().canonicalize()?), "{}", wheel.plugin.display());
    assert_eq!(Path::new(value("LD_LIBRARY_PATH")?), wheel.plugin.parent().unwrap());
    assert_eq!(wheel.shim, wheel.plugin.with_file_name("libsrv6-shim.so"));
    assert_eq!(value("NCCL_NET")?, "SRv6");
    let name = format!("libnccl-net-{}.so", value("NCCL_NET_PLUGIN")?);
    let release = Release::chosen().into_iter().last().expect("releases.txt has some");
    run(&release, Path::new(&name), &wheel.environment)
}

/// What NCCL's own log function printed of ours.
fn check_log(release: &Release, child: &Output) -> Result<(), Failed> {
    let log = String::from_utf8_lossy(&child.stdout);
    let ours: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once("NET/SRv6 : ")?.1)).collect();
    let version = release.table;
    let wanted = [
        (format!(" v{version} wraps NCCL's Socket (Socket), connections are steered"), "INFO"),
        (
            "connection 2001:db8:1000::2 -> 2001:db8:1001::2: \
             path host00 > leaf00 > spine01 > leaf01 > host01 carrier fc00:0:1200:1001:1201:fe06:: from topology file in "
                .to_owned(),
            "INFO",
        ),
        ("connect: the wrapped transport's connect failed: ncclUnhandledCudaError (1)".to_owned(), "WARN"),
    ];
    for (text, level) in wanted {
        let found = ours.iter().filter(|line| line.contains(&text)).count();
        if found != 1 {
            return Err(failed(&format!("{found} log lines, wanted one, with {text:?}"), child));
        }
        let mark = format!("NCCL {level} NET/SRv6 : ");
        let marked = log.lines().any(|line| line.contains(&text) && line.contains(&mark));
        if !marked {
            return Err(failed(&format!("no {level} line with {text:?}"), child));
        }
    }
    Ok(())
}

fn failed(what: &str, child: &Output) -> Failed {
    let Output { status, stdout, stderr } = child;
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    format!("{what} ({status})\n--- NCCL's log\n{stdout}\n--- standard error\n{stderr}").into()
}
