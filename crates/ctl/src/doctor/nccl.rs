//! The NCCL that a job here would load: where it is, its release and its traps, and its own tables.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nccl_net_abi::{Image, Stock, Version, find_stock};
use serde::{Deserialize, Serialize};

use super::child;
use super::finding::Finding;
use super::loader::SearchPath;
use super::selection::Release;
use crate::config::Environment;

/// The name of this check's own child.
pub(crate) const PROBE: &str = "probe-nccl";

const LIBRARY: &str = "libnccl.so.2";

/// An NCCL that could be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Who would load it from there.
    pub(crate) by: &'static str,
}

/// What a loaded NCCL says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    /// ncclGetVersion.
    code: i32,
    /// Why a table isn't found in it, by transport; `None` if it is.
    tables: Vec<(String, Option<String>)>,
}

/// All NCCLs that a job of this environment could load, the likeliest first.
pub(crate) fn find(named: Option<&Path>, path: &SearchPath, environment: &Environment) -> Vec<Found> {
    let named = named.map(|file| Found { path: file.to_owned(), by: "--nccl" });
    let loader = path.all(LIBRARY);
    // LD_LIBRARY_PATH beats the path that PyTorch's libraries carry; the system's folders don't.
    let (first, last): (Vec<_>, Vec<_>) = loader.into_iter().partition(|file| path.names_folder_of(file));
    let first = first.into_iter().map(|path| Found { path, by: "LD_LIBRARY_PATH" });
    let last = last.into_iter().map(|path| Found { path, by: "the system" });
    let python = python_folders(environment).into_iter().flat_map(|folder| {
        ["nvidia/nccl/lib", "torch/lib"]
            .map(|inside| Found { path: folder.join(inside).join(LIBRARY), by: "python3" })
    });
    let mut found: Vec<Found> = Vec::new();
    for candidate in named.into_iter().chain(first).chain(python).chain(last) {
        let real = candidate.path.canonicalize().ok();
        let known = found.iter().any(|f| f.path.canonicalize().ok() == real);
        if candidate.by == "--nccl" || (candidate.path.is_file() && !known) {
            found.push(candidate);
        }
    }
    found
}

/// Where this environment's python3 looks for packages.
fn python_folders(environment: &Environment) -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().find_map(|name| environment.get(name));
    let python =
        active.map_or_else(|| PathBuf::from("python3"), |folder| Path::new(folder).join("bin/python3"));
    let mut command = Command::new(python);
    command.args(["-c", "import sys\nfor folder in sys.path: print(folder)"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    // No Python here is nothing wrong.
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

/// Loads the likeliest NCCL in a child and judges it; gives its release too.
pub(crate) fn check(found: &[Found], environment: &Environment) -> (Option<Release>, Vec<Finding>) {
    let Some(first) = found.first() else {
        let finding = Finding::note(
            "nccl.found",
            "no libnccl.so.2 in LD_LIBRARY_PATH, python3's packages or the system: release and tables are not checked",
        );
        return (None, vec![finding.remedy("name the job's: srv6ctl doctor --nccl FILE")]);
    };
    let file = first.path.display().to_string();
    let outcome = child::ask::<Result<Facts, String>>(&[PROBE, &file], |_| {}, Duration::from_secs(60));
    let facts = match outcome.answer.and_then(|facts| facts) {
        Ok(facts) => facts,
        Err(reason) => {
            let message = format!("{file} ({}) can't be loaded: {reason}", first.by);
            let remedy = "name the NCCL that jobs load: srv6ctl doctor --nccl FILE";
            return (None, vec![Finding::failure("nccl.found", message, remedy)]);
        }
    };
    let release = Release(facts.code);
    let others: Vec<String> =
        found.iter().skip(1).map(|f| format!("{} ({})", f.path.display(), f.by)).collect();
    let message = format!("NCCL {release} at {file} ({})", first.by);
    let mut findings = vec![match others.as_slice() {
        [] => Finding::ok("nccl.found", message),
        others => Finding::note("nccl.found", format!("{message}; also {}", others.join(", ")))
            .remedy("--nccl FILE names the one that the job loads"),
    }];
    findings.push(release_finding(release, environment));
    findings.extend(tables(&facts, environment));
    (Some(release), findings)
}

fn release_finding(release: Release, environment: &Environment) -> Finding {
    const CHECK: &str = "nccl.release";
    if Version::internal_layout(release.0).is_none() {
        let message = format!("NCCL {release}: its internal tables are unknown (known: 2.13 to 2.32)");
        return if wraps_stock(environment) {
            Finding::failure(CHECK, message, "export SRV6_TRANSPORT=multipath, or use a newer nccl-net-srv6")
        } else {
            Finding::warning(CHECK, message, "use a newer nccl-net-srv6 if there is one")
        };
    }
    match release.0 {
        22_703..=22_705 => Finding::note(
            CHECK,
            format!(
                "NCCL {release} may unload a plugin twice whose init failed, and crash: its log says why init failed"
            ),
        ),
        22_807..=22_903 => Finding::note(
            CHECK,
            format!("NCCL {release} has no device-initiated networking (GIN) beside a net plugin"),
        ),
        _ => Finding::ok(CHECK, format!("NCCL {release} has no known trap for net plugins")),
    }
}

/// Whether the plugin is to wrap a transport of NCCL's own.
pub(crate) fn wraps_stock(environment: &Environment) -> bool {
    matches!(environment.get("SRV6_TRANSPORT").unwrap_or("auto"), "auto" | "ib" | "socket")
}

fn tables(facts: &Facts, environment: &Environment) -> Option<Finding> {
    const CHECK: &str = "nccl.tables";
    if facts.tables.is_empty() {
        return None;
    }
    let missing: Vec<&str> = facts.tables.iter().filter_map(|(_, reason)| reason.as_deref()).collect();
    let names: Vec<&str> = facts.tables.iter().map(|(name, _)| name.as_str()).collect();
    Some(if missing.is_empty() {
        Finding::ok(CHECK, format!("NCCL's own tables ({}) are found in it", names.join(" and ")))
    } else if wraps_stock(environment) {
        Finding::failure(
            CHECK,
            missing.join("; "),
            "export SRV6_TRANSPORT=multipath, which needs no table of NCCL's",
        )
    } else {
        Finding::note(CHECK, missing.join("; "))
    })
}

/// The child: loads an NCCL and looks into it.
///
/// # Errors
/// What can't be printed.
pub(crate) fn probe(file: &Path) -> anyhow::Result<()> {
    child::answer(&facts(file).map_err(|error| format!("{:#}", anyhow::Error::new(error))))
}

fn facts(file: &Path) -> Result<Facts, nccl_net_abi::Error> {
    let image = Image::open(file)?;
    let code = image.nccl_version()?;
    let tables = Version::internal_layout(code).map_or_else(Vec::new, |layout| {
        [Stock::Socket, Stock::Ib]
            .into_iter()
            .map(|stock| (stock.to_string(), find_stock(&image, stock, layout).err().map(|e| e.to_string())))
            .collect()
    });
    Ok(Facts { code, tables })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn an_unknown_release_can_only_carry_our_own_transport() {
        let wrapping = Environment::default();
        let own = Environment::from([("SRV6_TRANSPORT", "multipath")]);
        let release = Release(23_401);
        assert_eq!(release_finding(release, &wrapping).status, Status::Failure);
        assert_eq!(release_finding(release, &own).status, Status::Warning);
        assert!(release_finding(release, &own).message.contains("NCCL 2.34.1"));
        assert_eq!(release_finding(Release(22_703), &own).status, Status::Note);
        assert_eq!(release_finding(Release(23_203), &own).status, Status::Ok);
    }

    #[test]
    fn a_missing_table_matters_to_who_wraps_it() {
        let facts = Facts {
            code: 23_203,
            tables: vec![("Socket".to_owned(), None), ("IB".to_owned(), Some("no IB table".to_owned()))],
        };
        assert_eq!(tables(&facts, &Environment::default()).unwrap().status, Status::Failure);
        let own = Environment::from([("SRV6_TRANSPORT", "multipath")]);
        assert_eq!(tables(&facts, &own).unwrap().status, Status::Note);
        let whole = Facts { tables: vec![("Socket".to_owned(), None)], ..facts };
        assert_eq!(tables(&whole, &own).unwrap().status, Status::Ok);
    }

    #[test]
    fn no_nccl_is_a_note_and_a_named_one_is_believed() {
        let (release, findings) = check(&[], &Environment::default());
        assert_eq!((release, findings[0].status), (None, Status::Note));
        let path = SearchPath::default();
        let found = find(Some(Path::new("/nonexistent/libnccl.so.2")), &path, &Environment::default());
        assert_eq!(found[0].by, "--nccl");
    }
}
