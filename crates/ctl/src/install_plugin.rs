//! `srv6ctl install-plugin`: brings the libraries of an image or a package to where a job finds them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use srv6_inject::names;

/// Copies the plugin and the preload library into a folder, such as one that an init container shares with a job
#[derive(Debug, clap::Args)]
pub(crate) struct InstallPluginArgs {
    /// The folder; it is made if it isn't there
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Where the libraries are
    #[arg(long, value_name = "FOLDER", default_value = names::LIB_DIR)]
    from: PathBuf,
}

pub(crate) fn run(args: &InstallPluginArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.to).with_context(|| format!("making {}", args.to.display()))?;
    let files = [names::PLUGIN_FILE, names::SHIM_FILE];
    // Both are copied before one is renamed, so that a job doesn't find one new and one old because the disk is full.
    let mut copies = Vec::new();
    for name in files {
        copies.push((name, copy(&args.from.join(name), &args.to)?));
    }
    for (name, copy) in copies {
        let target = args.to.join(name);
        copy.persist(&target).with_context(|| format!("putting {} in place", target.display()))?;
        let size = fs::metadata(&target).with_context(|| target.display().to_string())?.len();
        println!("{} {} ({size} bytes)", target.display(), names::VERSION);
    }
    Ok(())
}

/// A copy beside the place where it belongs: programs that have the old file mapped keep it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut source = File::open(from).with_context(|| format!("reading {}", from.display()))?;
    let mut copy =
        tempfile::NamedTempFile::new_in(to).with_context(|| format!("writing into {}", to.display()))?;
    io::copy(&mut source, &mut copy)
        .with_context(|| format!("copying {} into {}", from.display(), to.display()))?;
    let permissions = fs::Permissions::from_mode(0o755);
    copy.as_file().set_permissions(permissions).context("making the copy readable to all")?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn install(from: &Path, to: &Path) -> anyhow::Result<()> {
        run(&InstallPluginArgs { to: to.to_owned(), from: from.to_owned() })
    }

    #[test]
    fn files_come_into_place_by_a_rename_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join(names::PLUGIN_FILE), "plugin 1").unwrap();
        fs::write(from.join(names::SHIM_FILE), "shim").unwrap();
        install(&from, &to).unwrap();
        let plugin = to.join(names::PLUGIN_FILE);
        let before = File::open(&plugin).unwrap();
        assert_eq!(before.metadata().unwrap().mode() & 0o777, 0o755);

        fs::write(from.join(names::PLUGIN_FILE), "plugin 2").unwrap();
        install(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&plugin).unwrap(), "plugin 2");
        assert_eq!(io::read_to_string(before).unwrap(), "plugin 1", "who has the old file keeps it");
        let names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn nothing_is_put_in_place_if_one_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        fs::write(folder.path().join(names::PLUGIN_FILE), "plugin").unwrap();
        let error = install(folder.path(), &to).unwrap_err();
        assert!(format!("{error:#}").contains(names::SHIM_FILE), "{error:#}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }
}
