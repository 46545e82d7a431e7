//! Jobs of several processes on this host, as a launcher would start them.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// A job of several ranks.
pub(crate) struct Job {
    test: &'static str,
    world: usize,
    pub(crate) port: u16,
    plugin: PathBuf,
    /// `--plugin`, or `--stock` if it is an NCCL.
    flag: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Job {
    /// An all-reduce.
    pub(crate) fn new(world: usize, plugin: PathBuf, arguments: &[&str]) -> Self {
        Self::of("all-reduce", world, plugin, arguments)
    }

    pub(crate) fn of(test: &'static str, world: usize, plugin: PathBuf, arguments: &[&str]) -> Self {
        // Below those that the kernel picks: it could pick one again, for a net's listener, before rank 0 listens.
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        Self { test, world, port, plugin, flag: "--plugin", arguments, environment: Vec::new() }
    }

    /// Over a transport inside an NCCL.
    pub(crate) fn stock(test: &'static str, world: usize, libnccl: PathBuf, arguments: &[&str]) -> Self {
        Self { flag: "--stock", ..Self::of(test, world, libnccl, arguments) }
    }

    /// This repository's plugin over its own transport and loopback.
    pub(crate) fn over_multipath(test: &'static str, world: usize, arguments: &[&str]) -> Self {
        Self::of(test, world, own_plugin(), arguments)
            .with("SRV6_TRANSPORT", "multipath")
            .with("SRV6_MODE", "off")
            .with("NCCL_SOCKET_IFNAME", "lo")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn start(&self, rank: usize) -> Child {
        Command::new(env!("CARGO_BIN_EXE_srv6ctl"))
            .args(["bench", self.test, self.flag])
            .arg(&self.plugin)
            .args(&self.arguments)
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", self.world.to_string())
            .env("MASTER_ADDR", "localhost")
            .env("MASTER_PORT", self.port.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn run(&self) -> Vec<Output> {
        let children: Vec<Child> = (0..self.world).map(|rank| self.start(rank)).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
    }

    /// Runs it and gives what rank 0 printed.
    pub(crate) fn succeed(&self) -> String {
        let outputs = self.run();
        all_succeeded(&outputs);
        text(&outputs[0].stdout)
    }
}

/// The plugin as cargo built it beside this test.
pub(crate) fn own_plugin() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(built.exists(), "{} is not built", built.display());
    built
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The rows as an awk script sees them.
pub(crate) fn rows(printed: &str) -> Vec<Vec<String>> {
    let table = printed.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    table.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

pub(crate) fn all_succeeded(outputs: &[Output]) {
    for (rank, output) in outputs.iter().enumerate() {
        assert!(
            output.status.success(),
            "rank {rank}: {}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}
