//! From `--plugin` and `--stock` to a net.

use std::path::{Path, PathBuf};

use anyhow::Context;
use srv6_netdrive::{NetSource, Stock, Version};

/// Which net carries the data
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NetArgs {
    /// Net plugin: a file, or X for libnccl-net-X.so beside this program or where the loader looks
    #[arg(long, value_name = "FILE|srv6", default_value = "srv6", conflicts_with = "stock")]
    plugin: PathBuf,
    /// Version of the plugin's table [default: its newest]
    #[arg(long, value_name = "6-12", value_parser = version)]
    plugin_version: Option<Version>,
    /// NCCL to load with the plugin, which then gets that NCCL's log function and can find its transports
    #[arg(long, value_name = "FILE", conflicts_with = "stock")]
    nccl: Option<PathBuf>,
    /// Instead of a plugin, a transport inside this libnccl.so.2 (connecting needs a CUDA driver)
    #[arg(long, value_name = "FILE")]
    stock: Option<PathBuf>,
    /// Which transport inside NCCL
    #[arg(long, value_name = "NET", default_value = "socket", requires = "stock")]
    stock_net: StockNet,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum StockNet {
    Socket,
    Ib,
}

impl NetArgs {
    /// The net to load.
    pub(super) fn source(&self) -> anyhow::Result<NetSource> {
        if let Some(libnccl) = &self.stock {
            let stock = match self.stock_net {
                StockNet::Socket => Stock::Socket,
                StockNet::Ib => Stock::Ib,
            };
            return Ok(NetSource::Stock { libnccl: libnccl.clone(), stock });
        }
        let program = std::env::current_exe().context("finding this program's folder")?;
        let folder = program.parent().unwrap_or(Path::new("."));
        Ok(NetSource::Plugin {
            path: find(&self.plugin, folder),
            version: self.plugin_version,
            nccl: self.nccl.clone(),
        })
    }
}

/// The file that a plugin's name means: NCCL's rule, but this program's folder comes first.
fn find(plugin: &Path, folder: &Path) -> PathBuf {
    let name = plugin.to_string_lossy();
    if name.contains('/') || name.contains(".so") {
        return plugin.to_owned();
    }
    let file = format!("libnccl-net-{name}.so");
    // Cargo can't put a hyphen into a library's name.
    let built = format!("libnccl_net_{name}.so");
    [folder.join(&file), folder.join(built)].into_iter().find(|path| path.exists()).unwrap_or(file.into())
}

fn version(text: &str) -> Result<Version, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    Version::ALL
        .into_iter()
        .find(|version| version.number().to_string() == number)
        .ok_or_else(|| "wanted 6 to 12".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files() {
        let folder = std::env::temp_dir().join(format!("srv6ctl-plugin-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let find = |name: &str| find(Path::new(name), &folder);
        assert_eq!(find("srv6"), Path::new("libnccl-net-srv6.so"));
        std::fs::write(folder.join("libnccl_net_srv6.so"), "").unwrap();
        assert_eq!(find("srv6"), folder.join("libnccl_net_srv6.so"));
        std::fs::write(folder.join("libnccl-net-srv6.so"), "").unwrap();
        assert_eq!(find("srv6"), folder.join("libnccl-net-srv6.so"));
        assert_eq!(find("ofi"), Path::new("libnccl-net-ofi.so"));
        assert_eq!(find("./srv6"), Path::new("./srv6"));
        assert_eq!(find("libx.so"), Path::new("libx.so"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn versions() {
        assert_eq!(version("v8"), Ok(Version::V8));
        assert_eq!(version("12"), Ok(Version::V12));
        assert!(version("13").is_err());
    }
}
