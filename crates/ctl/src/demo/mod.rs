//! `srv6ctl demo`: the main job in the lab, from nothing to nothing.
//!
//! Two parts. First an all-reduce over the 4×4 fabric through the plugin, each flow shown with the paths it was
//! given, the routes in the kernel and the bytes the switches really carried. Then the same all-reduce where links
//! are the limit, plain ECMP against steered over one path each and over four.

mod compare;
mod ranks;
mod steered;

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};

/// Runs an all-reduce over a lab fabric through the plugin and proves which path every flow took
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The plugin; the default is libnccl-net-srv6.so beside this program
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Folder of the example fabrics; the default is examples/fabrics below the current folder
    #[arg(long, value_name = "FOLDER", default_value = "examples/fabrics")]
    fabrics: PathBuf,
    /// Runs of the ECMP side of the comparison; each has other ports, so other collisions
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    trials: u32,
    /// Largest message of the first all-reduce, with the suffixes of nccl-tests
    #[arg(long, value_name = "BYTES", default_value = "32M")]
    size: String,
}

/// Must be called before any thread is started: an ordinary user gets a user namespace here.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    srv6_lab::enter_user_namespace().context("making a user namespace for the lab")?;
    let began = Instant::now();
    let program = std::env::current_exe().context("finding this program")?;
    let plugin = match &args.plugin {
        Some(file) => file.clone(),
        None => program.with_file_name("libnccl-net-srv6.so"),
    };
    if !plugin.exists() {
        bail!("no plugin at {}; build it (scripts/demo does) or name it with --plugin", plugin.display());
    }
    let plugin = plugin.canonicalize().with_context(|| format!("finding {}", plugin.display()))?;
    let scene = Scene { program, plugin, folder: temporary_folder()? };
    let result = scene.play(args);
    if result.is_ok() {
        std::fs::remove_dir_all(&scene.folder).context("removing the logs")?;
    }
    result.with_context(|| format!("logs of all ranks are in {}", scene.folder.display()))?;
    println!("\nEvery flow took its path and the data was right. {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// What both parts run with.
#[derive(Debug)]
struct Scene {
    program: PathBuf,
    plugin: PathBuf,
    folder: PathBuf,
}

impl Scene {
    fn play(&self, args: &DemoArgs) -> anyhow::Result<()> {
        let four = args.fabrics.join("4x4.json");
        steered::play(self, &four, &args.size).context("part 1, every flow on its path")?;
        let shaped = args.fabrics.join("2x4x4.json");
        compare::play(self, &shaped, args.trials).context("part 2, plain ECMP against steered")
    }
}

/// A folder that only this user may look into. One that is already there is somebody else's and is refused.
fn temporary_folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("srv6-demo-{}", std::process::id()));
    let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    made.with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn heading(text: &str) {
    println!("\n-- {text}");
}
