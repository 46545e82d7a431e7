//! The plugin's own word: it is loaded and initialised in a child, as NCCL would, with the job's settings.
//!
//! Only `ROUTE_PLATFORM` is set to `none` there, so that no route is touched. What init and devices say covers every
//! setting of the plugin, the transport that it would wrap and the devices that NCCL would get from it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nccl_net_abi::{Image, Version};
use serde::{Deserialize, Serialize};
use srv6_netdrive::{Driver, DriverOptions, LogLevel, LogSettings, NetSource, Subsystems, start_log};

use super::child;
use super::finding::Finding;
use super::selection::NAME;
use crate::config::Environment;

/// The name of this check's own child.
pub(crate) const PROBE: &str = "probe-plugin";

/// What an initialised net says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Its name, as `NCCL_NET` would select it.
    pub(crate) name: String,
    /// Version of the table that was used.
    pub(crate) version: u8,
    /// Names of its devices, in order.
    pub(crate) devices: Vec<String>,
}

/// Loads the plugin in a child and judges what it says; gives its devices too.
pub(crate) fn check(
    plugin: &Path,
    nccl: Option<&Path>,
    environment: &Environment,
) -> (Option<Facts>, Vec<Finding>) {
    let plugin_text = plugin.display().to_string();
    let nccl_text = nccl.map(|file| file.display().to_string());
    let mut arguments = vec![PROBE, &plugin_text];
    arguments.extend(nccl_text.as_deref());
    let outcome = child::ask::<Result<Facts, String>>(
        &arguments,
        |command| quiet(command, environment),
        Duration::from_secs(60),
    );
    let remarks = remarks(&outcome.log);
    match outcome.answer.and_then(|facts| facts) {
        Ok(facts) => {
            let mut findings = vec![identity(&facts, plugin)];
            findings.push(Finding::ok("settings.plugin", "the plugin accepts its settings"));
            findings.push(wrapped(&outcome.log, nccl.is_some()));
            findings.retain(|finding| !finding.message.is_empty());
            (Some(facts), findings)
        }
        Err(reason) => {
            let said = if remarks.is_empty() { reason } else { remarks.join("; ") };
            (None, vec![refusal(&said, nccl.is_some())])
        }
    }
}

/// No routes, and a log that can be read.
fn quiet(command: &mut Command, environment: &Environment) {
    match environment.get("ROUTE_PLATFORM") {
        None | Some("linux") => {
            command.env("ROUTE_PLATFORM", "none");
        }
        Some("vpp") => {
            // With a socket a dry run is one of VPP's, and minds the same settings.
            let socket = environment.get("SRV6_VPP_SOCKET").unwrap_or("/run/vpp/api.sock");
            command.env("ROUTE_PLATFORM", "none").env("SRV6_VPP_SOCKET", socket);
        }
        Some(_) => {}
    }
    command.env("NCCL_DEBUG", "INFO").env_remove("NCCL_DEBUG_SUBSYS").env_remove("NCCL_DEBUG_FILE");
}

fn identity(facts: &Facts, plugin: &Path) -> Finding {
    const CHECK: &str = "plugin.name";
    let Facts { name, version, .. } = facts;
    let file = plugin.display();
    if name == NAME {
        Finding::ok(CHECK, format!("{file} is {NAME}, table v{version}"))
    } else {
        Finding::failure(
            CHECK,
            format!("{file} is the net plugin {name:?} and not {NAME}: connections would be its, unsteered"),
            format!("export NCCL_NET_PLUGIN=srv6, or SRV6_TRANSPORT={file} to have it wrapped"),
        )
    }
}

/// The plugin's line that says what it wraps.
fn wrapped(log: &str, with_nccl: bool) -> Finding {
    const CHECK: &str = "settings.transport";
    let line = log.lines().find_map(|line| line.split_once(" wraps ").map(|(_, rest)| rest));
    match line {
        Some(rest) => {
            let transport = rest.split(',').next().unwrap_or(rest);
            Finding::ok(CHECK, format!("the plugin would wrap {transport}"))
        }
        None if with_nccl => Finding::note(CHECK, "the plugin didn't say what it would wrap"),
        None => Finding::ok(CHECK, ""),
    }
}

/// Warnings of the plugin's, without what NCCL's log writes before them.
fn remarks(log: &str) -> Vec<String> {
    let mut remarks: Vec<String> = log
        .lines()
        .filter_map(|line| line.split_once("NCCL WARN ").map(|(_, text)| text))
        .map(|text| text.trim_start_matches("NET/SRv6 : ").trim_start_matches("init: ").trim().to_owned())
        .collect();
    remarks.dedup();
    remarks
}

fn refusal(said: &str, with_nccl: bool) -> Finding {
    // What the plugin says when it looks for NCCL's own tables and there is no NCCL.
    if said.contains("nothing to wrap") && !with_nccl {
        return Finding::note(
            "settings.transport",
            "the plugin accepts its settings; which transport it would wrap shows only with an NCCL",
        )
        .remedy("name the job's: srv6ctl doctor --nccl FILE");
    }
    let names_setting = said.contains("want ") || said.contains("SRV6_") || said.contains("no such setting");
    let check = match (said.contains("nothing to wrap"), names_setting) {
        (true, _) => "settings.transport",
        (false, true) => "settings.plugin",
        (false, false) => "plugin.init",
    };
    let remedy = if said.contains("no devices") {
        "let it have an interface that is up and has an address: NCCL_SOCKET_IFNAME, NCCL_SOCKET_FAMILY"
    } else {
        "see docs/CONFIG.md for its settings"
    };
    Finding::failure(check, format!("the plugin refuses to start: {said}"), remedy)
}

/// The child: loads, initialises, asks, answers.
///
/// # Errors
/// What can't be printed.
pub(crate) fn probe(plugin: PathBuf, nccl: Option<PathBuf>) -> anyhow::Result<()> {
    child::answer(&facts(plugin, nccl).map_err(|error| format!("{error:#}")))
}

fn facts(plugin: PathBuf, nccl: Option<PathBuf>) -> anyhow::Result<Facts> {
    start_log(&LogSettings { level: LogLevel::Info, subsystems: Subsystems::default(), file: None })?;
    // NCCL takes the table of its own version.
    let version = match &nccl {
        Some(file) => Version::internal_layout(Image::open(file)?.nccl_version()?),
        None => None,
    };
    let source = |nccl| NetSource::Plugin { path: plugin.clone(), version, nccl };
    let driver = match Driver::load(&source(nccl.clone()), &DriverOptions::default()) {
        // A stripped NCCL has no log function to be found; ours does as well, but the plugin can't find NCCL by it.
        Err(srv6_netdrive::Error::NoLogger { .. }) => Driver::load(&source(None), &DriverOptions::default())?,
        loaded => loaded?,
    };
    Ok(Facts {
        name: driver.name().to_owned(),
        version: driver.version().number(),
        devices: driver.devices().iter().map(srv6_netdrive::Device::name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn another_plugin_is_told_by_its_name() {
        let facts = Facts { name: "AWS Libfabric".to_owned(), version: 11, devices: Vec::new() };
        let finding = identity(&facts, Path::new("/opt/libnccl-net.so"));
        assert_eq!(finding.status, Status::Failure);
        assert!(finding.message.contains("AWS Libfabric"), "{finding:?}");
    }

    #[test]
    fn the_plugins_words_are_taken_from_the_log() {
        let log = "host:1:2 [0] NCCL INFO hello\n\nhost:1:2 [0] src/config/mod.rs:9 NCCL WARN SRV6_PATHS=\"9\": want 1 to 8\n";
        assert_eq!(remarks(log), ["SRV6_PATHS=\"9\": want 1 to 8"]);
        let finding = refusal(&remarks(log).join("; "), true);
        assert_eq!((finding.check, finding.status), ("settings.plugin", Status::Failure));
        let wraps = "NCCL INFO nccl-net-srv6 0.1.0 v11 wraps Socket (Socket), connections are steered";
        assert!(wrapped(wraps, true).message.ends_with("would wrap Socket (Socket)"));
    }

    #[test]
    fn without_nccl_its_tables_are_not_missed() {
        let finding = refusal("SRV6_TRANSPORT=auto: nothing to wrap: no loaded image", false);
        assert_eq!(finding.status, Status::Note);
    }
}
