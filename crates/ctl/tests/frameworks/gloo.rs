//! PyTorch over gloo: the training script of examples/ddp, which knows nothing of paths.

use std::process::Command;

use crate::process::{Ended, Process};
use crate::scene::{INTERFACE, PYTHON, Scene, Shim, repository};

/// What the ranks of a training job printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trained {
    /// SHA-256 over the weights, per rank.
    pub(crate) weights: Vec<String>,
    /// First and last loss, per rank.
    pub(crate) losses: Vec<[String; 2]>,
}

/// Trains over these hosts, the first of which is the master, and waits for the end.
pub(crate) fn train(scene: &Scene, hosts: &[&str], port: u16, shim: Shim) -> Trained {
    let script = repository().join("examples/ddp/train.py");
    let ended = run_ranks(scene, hosts, port, |host| {
        let mut command = scene.command(host, PYTHON, shim);
        command.arg(&script);
        command
    });
    Trained::read(&ended)
}

/// Runs one process per host with the variables that schedulers set; all must end well.
pub(crate) fn run_ranks(
    scene: &Scene,
    hosts: &[&str],
    port: u16,
    mut program: impl FnMut(&str) -> Command,
) -> Vec<Ended> {
    let master = scene.address(hosts[0]).to_string();
    let ranks: Vec<Process> = hosts
        .iter()
        .enumerate()
        .map(|(rank, host)| {
            Process::start(
                program(host)
                    .env("MASTER_ADDR", &master)
                    .env("MASTER_PORT", port.to_string())
                    .env("RANK", rank.to_string())
                    .env("WORLD_SIZE", hosts.len().to_string())
                    .env("GLOO_SOCKET_IFNAME", INTERFACE),
            )
        })
        .collect();
    let ended: Vec<Ended> = ranks.into_iter().map(Process::end).collect();
    ended.iter().for_each(Ended::assert_right);
    ended
}

impl Trained {
    pub(crate) fn read(ranks: &[Ended]) -> Self {
        let word = |ended: &Ended, before: &str| -> Vec<String> {
            let after = ended.printed.lines().filter_map(|line| line.split_once(before));
            after.map(|(_, word)| word.to_owned()).collect()
        };
        let weights = ranks.iter().map(|ended| word(ended, " weights ").concat()).collect();
        let losses = ranks.iter().map(|ended| word(ended, " loss ").try_into().expect("two losses"));
        Self { weights, losses: losses.collect() }
    }

    /// Every rank has the same weights, and has learnt something.
    pub(crate) fn assert_right(&self) {
        for (weights, [first, last]) in self.weights.iter().zip(&self.losses) {
            assert_eq!((weights.len(), weights), (64, &self.weights[0]), "{self:#?}");
            let [first, last] = [first, last].map(|loss| loss.parse::<f64>().unwrap());
            assert!(last < first / 2.0, "{self:#?}");
        }
    }
}
