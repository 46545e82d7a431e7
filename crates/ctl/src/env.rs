//! `srv6ctl env`: the variables that a job on this host needs, from what `srv6ctl doctor` found.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::Environment;
use crate::doctor::{Examination, LookArgs, Status, examine};
use crate::path_source::Place;
use crate::progress;

/// Prints the variables to export for jobs on this host, as `eval "$(srv6ctl env)"` takes them
#[derive(Debug, clap::Args)]
pub(crate) struct EnvArgs {
    #[command(flatten)]
    look: LookArgs,
    /// Print a JSON array (name, value, reason) instead of shell commands; a value of null means unset
    #[arg(long)]
    json: bool,
    /// Print only what differs from the present environment; the exit status is 1 if anything does
    #[arg(long)]
    check: bool,
}

/// One variable; no value means that it must not be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Variable {
    name: &'static str,
    value: Option<String>,
    reason: String,
}

pub(crate) fn run(args: &EnvArgs) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let bar = progress::spinner("examining this host");
    let examination = examine(&args.look, &environment);
    bar.finish_and_clear();
    let examination = examination?;
    let mut wanted = variables(&examination, &environment);
    if args.check {
        wanted.retain(|variable| variable.value.as_deref() != environment.get(variable.name));
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&wanted)?);
    } else {
        for variable in &wanted {
            println!("{}", line(variable, args.check.then_some(&environment)));
        }
    }
    Ok(if args.check && !wanted.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn variables(found: &Examination, environment: &Environment) -> Vec<Variable> {
    let mut list = Vec::new();
    let mut add = |name, value: Option<String>, reason: &str| {
        list.push(Variable { name, value, reason: reason.to_owned() });
    };
    let failed = |check: &str| {
        found.report.0.iter().any(|finding| finding.check == check && finding.status >= Status::Warning)
    };
    match found.plugin.as_deref().filter(|_| failed("plugin.file")) {
        // It was named, but NCCL doesn't find it.
        Some(file) if is_named_for_nccl(file) => {
            add("NCCL_NET_PLUGIN", Some("srv6".to_owned()), "NCCL opens libnccl-net-srv6.so");
            let folder = file.parent().unwrap_or(Path::new(".")).display().to_string();
            let value =
                environment.get("LD_LIBRARY_PATH").map_or(folder.clone(), |old| format!("{folder}:{old}"));
            add("LD_LIBRARY_PATH", Some(value), "the plugin's folder");
        }
        Some(file) => add(
            "NCCL_NET_PLUGIN",
            Some(file.display().to_string()),
            "the plugin's file; NCCL before 2.21 and 2.27 want it as libnccl-net-srv6.so in LD_LIBRARY_PATH",
        ),
        None => {
            let present = environment.get("NCCL_NET_PLUGIN").filter(|_| !failed("nccl.net_plugin"));
            add(
                "NCCL_NET_PLUGIN",
                Some(present.unwrap_or("srv6").to_owned()),
                "NCCL opens libnccl-net-srv6.so",
            );
        }
    }
    if failed("nccl.net") {
        add("NCCL_NET", None, "it keeps NCCL from the plugin");
    }
    if found.release.is_none_or(|release| release.forgets_names()) {
        add(
            "NCCL_NET_PLUGIN_REF_COUNT",
            Some("1".to_owned()),
            "NCCL 2.28.3 to 2.29.7 forget an unloaded plugin",
        );
    }
    if let Some((interface, address)) = &found.data {
        add("NCCL_SOCKET_IFNAME", Some(format!("={}", interface.name)), "the interface in the fabric");
        if let Some(address) = address {
            let family = if address.is_ipv4() { "AF_INET" } else { "AF_INET6" };
            add("NCCL_SOCKET_FAMILY", Some(family.to_owned()), &family_reason(*address));
        }
    }
    if let Some(source) = &found.source {
        let (name, other, value) = match &source.place {
            Place::Api(url) => ("JALAPENO_API_ENDPOINT", "SRV6_TOPOLOGY", url.clone()),
            Place::File(file) => ("SRV6_TOPOLOGY", "JALAPENO_API_ENDPOINT", absolute(file)),
        };
        add(name, Some(value), "where paths come from");
        if environment.get(other).is_some() {
            add(other, None, "one source of paths");
        }
        if source.graph != "fabric_graph" {
            add("TOPOLOGY_COLLECTION", Some(source.graph.clone()), "the graph");
        }
        if source.hosts != "hosts" {
            add("SRV6_HOST_COLLECTION", Some(source.hosts.clone()), "the collection of hosts");
        }
    }
    if failed("kernel.encap_red") {
        add("SRV6_ENCAP", Some("encap".to_owned()), "this kernel has no reduced encapsulation");
    }
    list
}

fn family_reason(address: IpAddr) -> String {
    format!("the topology has {address}")
}

fn is_named_for_nccl(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "libnccl-net-srv6.so")
}

fn absolute(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// A shell command with its reason, and what is there now if that is asked for.
fn line(variable: &Variable, present: Option<&Environment>) -> String {
    let Variable { name, value, reason } = variable;
    let command = match value {
        Some(value) => format!("export {name}={}", quoted(value)),
        None => format!("unset {name}"),
    };
    let present = present.map_or_else(String::new, |environment| {
        let value = environment.get(name);
        format!("; now {}", value.map_or_else(|| "not set".to_owned(), quoted))
    });
    format!("{command}  # {reason}{present}")
}

/// A word of the shell that means exactly this text.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+[]".contains(&byte);
    // A word that begins with = is a command's path to zsh, and brackets are patterns.
    if !text.is_empty() && !text.starts_with('=') && !text.contains('[') && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Finding, Report};
    use crate::interfaces::Interface;

    fn examination(findings: Vec<Finding>) -> Examination {
        let address: IpAddr = "2001:db8:1000::2".parse().unwrap();
        let interface = Interface {
            name: "eth1".to_owned(),
            index: 2,
            mtu: 1500,
            up: true,
            running: true,
            loopback: false,
            addresses: vec![(address, 64)],
        };
        Examination {
            report: Report(findings),
            plugin: None,
            release: None,
            data: Some((interface, Some(address))),
            source: None,
        }
    }

    fn lines(found: &Examination, environment: &Environment) -> Vec<String> {
        variables(found, environment).iter().map(|v| line(v, None)).collect()
    }

    #[test]
    fn a_host_with_everything_gets_the_usual_variables() {
        assert_eq!(
            lines(&examination(Vec::new()), &Environment::default()),
            [
                "export NCCL_NET_PLUGIN=srv6  # NCCL opens libnccl-net-srv6.so",
                "export NCCL_NET_PLUGIN_REF_COUNT=1  # NCCL 2.28.3 to 2.29.7 forget an unloaded plugin",
                "export NCCL_SOCKET_IFNAME='=eth1'  # the interface in the fabric",
                "export NCCL_SOCKET_FAMILY=AF_INET6  # the topology has 2001:db8:1000::2",
            ]
        );
    }

    #[test]
    fn findings_add_and_remove_variables() {
        let mut found = examination(vec![
            Finding::failure("nccl.net", "NCCL_NET=Socket", "unset it"),
            Finding::warning("kernel.encap_red", "none", "SRV6_ENCAP=encap"),
            Finding::failure("plugin.file", "not found", "copy it"),
        ]);
        found.plugin = Some("/opt/srv6/libnccl-net-srv6.so".into());
        let environment = Environment::from([("LD_LIBRARY_PATH", "/usr/local/lib")]);
        let text = lines(&found, &environment).join("\n");
        for wanted in [
            "export LD_LIBRARY_PATH=/opt/srv6:/usr/local/lib ",
            "unset NCCL_NET ",
            "export SRV6_ENCAP=encap ",
        ] {
            assert!(text.contains(wanted), "no {wanted} in\n{text}");
        }
    }

    #[test]
    fn differences_show_what_is_there() {
        let variable = Variable {
            name: "NCCL_SOCKET_IFNAME",
            value: Some("=eth1".to_owned()),
            reason: "the interface in the fabric".to_owned(),
        };
        let environment = Environment::from([("NCCL_SOCKET_IFNAME", "eth0 eth1")]);
        assert_eq!(
            line(&variable, Some(&environment)),
            "export NCCL_SOCKET_IFNAME='=eth1'  # the interface in the fabric; now 'eth0 eth1'"
        );
        assert!(line(&variable, Some(&Environment::default())).ends_with("now not set"));
    }

    #[test]
    fn values_survive_the_shell() {
        for text in ["a'b", "two words", "$HOME", "", "=eth1", "http://[2001:db8::5]:80"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(text))])
                .output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text);
        }
        assert_eq!(quoted("/opt/x.so"), "/opt/x.so");
    }
}
