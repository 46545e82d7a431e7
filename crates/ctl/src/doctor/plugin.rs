//! The plugin's file: whether NCCL finds it, what it exports, what it needs, and who is in its way.

use std::path::{Path, PathBuf};

use nccl_net_abi::Version;

use super::finding::Finding;
use super::loader::SearchPath;
use super::object_file::{self, SharedObject};
use super::selection::{Item, Release, items};
use crate::config::Environment;

const DEFAULT: &str = "libnccl-net.so";

/// The file that NCCL would open first, if it finds one.
pub(crate) fn chosen(release: Release, path: &SearchPath, environment: &Environment) -> Option<PathBuf> {
    let tried = items(release, environment.get("NCCL_NET_PLUGIN"));
    tried.iter().flat_map(|item| &item.files).find_map(|name| path.find(name))
}

/// All checks of the file; `named` is one given by `--plugin`.
pub(crate) fn check(
    named: Option<&Path>,
    release: Option<Release>,
    path: &SearchPath,
    environment: &Environment,
) -> Vec<Finding> {
    let assumed = release.unwrap_or(Release::NEWEST);
    let tried = items(assumed, environment.get("NCCL_NET_PLUGIN"));
    let chosen = chosen(assumed, path, environment);
    let mut findings = vec![found(chosen.as_deref(), named, &tried)];
    if let Some(file) = named.or(chosen.as_deref()) {
        match object_file::read(file) {
            Ok(object) => findings.extend(content(file, &object, release, path)),
            Err(error) => findings.push(Finding::failure(
                "plugin.symbols",
                format!("{error:#}"),
                "install libnccl_net_srv6.so of this release as libnccl-net-srv6.so",
            )),
        }
    }
    findings.extend(other(chosen.as_deref(), release, path));
    findings
}

fn found(chosen: Option<&Path>, named: Option<&Path>, tried: &[Item]) -> Finding {
    const CHECK: &str = "plugin.file";
    let names: Vec<&str> = tried.iter().flat_map(|item| &item.files).map(String::as_str).collect();
    let remedy = "copy libnccl_net_srv6.so as libnccl-net-srv6.so into a folder of LD_LIBRARY_PATH or the loader's cache, and \
                  export NCCL_NET_PLUGIN=srv6";
    match (chosen, named) {
        (Some(file), Some(named)) if file.canonicalize().ok() != named.canonicalize().ok() => {
            Finding::failure(
                CHECK,
                format!("NCCL opens {}, not {}", file.display(), named.display()),
                "put its folder first in LD_LIBRARY_PATH, or its name into NCCL_NET_PLUGIN",
            )
        }
        (Some(file), _) => Finding::ok(CHECK, format!("NCCL finds {}", file.display())),
        (None, _) => Finding::failure(CHECK, format!("NCCL finds none of {}", names.join(", ")), remedy),
    }
}

fn content(file: &Path, object: &SharedObject, release: Option<Release>, path: &SearchPath) -> Vec<Finding> {
    let symbols = symbols(file, object, release);
    // What else it lacks doesn't matter in something that is no plugin.
    if object.tables.is_empty() {
        return vec![symbols];
    }
    let libc = path.find("libc.so.6").and_then(|file| object_file::read(&file).ok());
    vec![symbols, glibc(object, libc.and_then(|libc| libc.provides)), residence(object, release)]
}

fn symbols(file: &Path, object: &SharedObject, release: Option<Release>) -> Finding {
    const CHECK: &str = "plugin.symbols";
    let file = file.display();
    let wanted = release.and_then(|release| Version::internal_layout(release.0));
    let list: Vec<String> = object.tables.iter().map(|version| format!("v{}", version.number())).collect();
    if list.is_empty() {
        return Finding::failure(
            CHECK,
            format!("{file} exports none of ncclNetPlugin_v6 to ncclNetPlugin_v12: NCCL passes it over"),
            "install libnccl_net_srv6.so of this release as libnccl-net-srv6.so",
        );
    }
    match wanted {
        Some(wanted) if !object.tables.contains(&wanted) => Finding::failure(
            CHECK,
            format!("{file} exports {}, but this NCCL's own tables are v{}", list.join(" "), wanted.number()),
            "install a plugin that has that version",
        ),
        _ => Finding::ok(CHECK, format!("ncclNetPlugin_{}", list.join(" "))),
    }
}

fn glibc(object: &SharedObject, provided: Option<object_file::Glibc>) -> Finding {
    const CHECK: &str = "plugin.glibc";
    match (object.needs, provided) {
        (Some(needed), Some(provided)) if needed > provided => Finding::failure(
            CHECK,
            format!("the plugin needs glibc {needed}, and here is {provided}: it can't be loaded"),
            format!("build it where glibc is {provided} or older"),
        ),
        (Some(needed), Some(provided)) => {
            Finding::ok(CHECK, format!("the plugin needs glibc {needed}; here is {provided}"))
        }
        (None, _) => Finding::ok(CHECK, "the plugin needs no particular glibc"),
        (Some(needed), None) => {
            Finding::note(CHECK, format!("the plugin needs glibc {needed}; which one is here can't be told"))
        }
    }
}

fn residence(object: &SharedObject, release: Option<Release>) -> Finding {
    const CHECK: &str = "plugin.resident";
    let unloads = release.is_none_or(Release::unloads);
    match (object.resident, unloads) {
        (true, _) => Finding::ok(CHECK, "the plugin stays in memory when NCCL unloads it (-z nodelete)"),
        (false, true) => Finding::warning(
            CHECK,
            "the plugin is not linked -z nodelete: NCCL from 2.28 on unloads it while its thread runs",
            "build it with the project's build.rs, or export NCCL_NET_PLUGIN_REF_COUNT=1",
        ),
        (false, false) => {
            Finding::note(CHECK, "the plugin is not linked -z nodelete; this NCCL never unloads it")
        }
    }
}

/// A `libnccl-net.so` of somebody else's.
fn other(chosen: Option<&Path>, release: Option<Release>, path: &SearchPath) -> Option<Finding> {
    const CHECK: &str = "plugin.other";
    let foreign = path.find(DEFAULT)?;
    let same = |file: &Path| file.canonicalize().ok() == foreign.canonicalize().ok();
    let file = foreign.display();
    Some(if chosen.is_some_and(same) {
        // Whether it is this plugin under that name shows when it is loaded.
        return None;
    } else if release.is_some_and(Release::forgets_names) {
        Finding::warning(
            CHECK,
            format!("{file} is what this NCCL opens once it has forgotten the plugin's name"),
            format!("export NCCL_NET_PLUGIN_REF_COUNT=1, or remove {file}"),
        )
    } else {
        Finding::note(
            CHECK,
            format!("{file} is there too; NCCL doesn't open it while NCCL_NET_PLUGIN names another"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::super::object_file::Glibc;
    use super::*;

    fn object() -> SharedObject {
        SharedObject {
            tables: Version::ALL.to_vec(),
            needs: Some(Glibc(2, 34)),
            provides: None,
            resident: true,
        }
    }

    #[test]
    fn a_plugin_without_the_wanted_table_is_a_failure() {
        let none = SharedObject { tables: Vec::new(), ..object() };
        let old = SharedObject { tables: vec![Version::V6], ..object() };
        let file = Path::new("/x.so");
        assert_eq!(symbols(file, &none, None).status, Status::Failure);
        assert_eq!(symbols(file, &old, Some(Release(23_203))).status, Status::Failure);
        assert_eq!(symbols(file, &old, Some(Release(21_803))).status, Status::Ok);
        assert!(symbols(file, &object(), None).message.ends_with("v6 v7 v8 v9 v10 v11 v12"));
    }

    #[test]
    fn an_older_glibc_is_a_failure() {
        assert_eq!(glibc(&object(), Some(Glibc(2, 31))).status, Status::Failure);
        assert_eq!(glibc(&object(), Some(Glibc(2, 36))).status, Status::Ok);
    }

    #[test]
    fn unloading_matters_from_2_28_on() {
        let loose = SharedObject { resident: false, ..object() };
        assert_eq!(residence(&loose, Some(Release(22_809))).status, Status::Warning);
        assert_eq!(residence(&loose, Some(Release(22_705))).status, Status::Note);
        assert_eq!(residence(&object(), Some(Release(22_809))).status, Status::Ok);
    }
}
