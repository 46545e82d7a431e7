//! The Python wheel, built of what cargo built for these tests, in a virtual environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's, whose setuptools build without a network.
const PYTHON: &str = "/usr/bin/python3";

/// What `--env --shim` sets; the last is kept from processes that are to do without.
const NAMES: &str = "NCCL_NET_PLUGIN NCCL_NET NCCL_NET_PLUGIN_REF_COUNT LD_LIBRARY_PATH LD_PRELOAD";

/// The wheel as `pip install` leaves it.
pub(crate) struct Wheel {
    /// What `nccl_net_srv6.plugin_path()` says.
    pub(crate) plugin: PathBuf,
    /// What LD_PRELOAD is to be with `--shim`.
    pub(crate) shim: PathBuf,
    /// What `python -m nccl_net_srv6 --env` has a shell export.
    pub(crate) environment: Vec<(String, String)>,
}

impl Wheel {
    /// Builds it and installs it into a fresh environment under `folder`, whose name may have quotes.
    pub(crate) fn installed(folder: &Path) -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let deps = std::env::current_exe().map_err(|error| error.to_string())?;
        let built = output(
            Command::new(root.join("scripts/build-wheel"))
                .arg("--from")
                .arg(deps.parent().ok_or("a test has a folder")?)
                .env("PATH", path_with_debians_python())
                // Neither is there in this network namespace: other packages, and crates that aren't downloaded.
                .env("PIP_NO_BUILD_ISOLATION", "0")
                .env("CARGO_NET_OFFLINE", "true"),
        )?;
        let wheel = built.lines().last().ok_or("build-wheel printed nothing")?;
        let venv = folder.join("venv");
        output(Command::new(PYTHON).args(["-m", "venv"]).arg(&venv))?;
        let python = venv.join("bin/python");
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"];
        output(Command::new(&python).args(pip).arg(root.join(wheel)))?;
        let plugin = output(Command::new(&python).args(["-m", "nccl_net_srv6", "--plugin-path"]))?;
        let exports = output(
            Command::new(&python)
                .args(["-m", "nccl_net_srv6", "--env", "--shim"])
                // Cargo's, which would be kept behind the wheel's folder.
                .env_remove("LD_LIBRARY_PATH"),
        )?;
        // What a shell makes of it, and not what a reader would: that tests the quotes.
        let shell = format!(
            "unset LD_LIBRARY_PATH LD_PRELOAD\n{exports}for name in {NAMES}; do eval \"echo $name=\\$$name\"; done"
        );
        let exported = output(Command::new("/bin/sh").arg("-euc").arg(shell).env_clear())?;
        let mut environment: Vec<(String, String)> = exported
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let (_, shim) = environment.pop().ok_or("LD_PRELOAD comes last")?;
        Ok(Self { plugin: PathBuf::from(plugin.trim_end()), shim: PathBuf::from(shim), environment })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one in front of which Debian's Python is put")]
fn path_with_debians_python() -> String {
    format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default())
}

/// What a command prints; how it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
}
