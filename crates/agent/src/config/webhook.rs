//! Arguments of `srv6d webhook`. The agent's settings don't concern it, apart from how much is logged.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use srv6_inject::{Mode, Options, names};

use super::fields::{FIELDS, SHARED};

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where HTTPS is served.
    pub listen: SocketAddr,
    /// The certificate, and those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// How long reviews are answered after SIGTERM.
    pub linger: Duration,
    /// How much is logged.
    pub log: log::LevelFilter,
    /// How pods are injected that don't say it themselves.
    pub injection: Options,
}

/// The subcommand.
pub(super) fn command() -> Command {
    let value = |name: &'static str, shown: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(shown).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("webhook")
        .about("Injects the plugin into labelled pods when the Kubernetes API server asks, over HTTPS")
        .after_help(
            "Pods with the label nccl-net-srv6/inject: \"true\" are injected. Their annotations nccl-net-srv6/mode, shim, strict, \
             containers, host-network and library-path win over the flags here. Certificate and key are read again when they \
             change; a pair that can't be used is logged, and the old one goes on.",
        )
        .arg(
            value("listen", "ADDRESS", "Address and port to serve /mutate, /healthz, /readyz and /metrics on")
                .value_parser(value_parser!(SocketAddr))
                .default_value("[::]:9443"),
        )
        .arg(value("cert", "FILE", "Certificate chain in PEM").value_parser(value_parser!(PathBuf)).required(true))
        .arg(value("key", "FILE", "The certificate's key in PEM").value_parser(value_parser!(PathBuf)).required(true))
        .arg(
            value("linger", "SECONDS", "How long reviews are answered after SIGTERM, 0 to 300, while the cluster learns of it")
                .value_parser(value_parser!(u64).range(0..=300))
                .default_value("5"),
        )
        .arg(
            value("srv6-log", "LEVEL", "How much is written to standard error")
                .env("SRV6_LOG")
                .value_parser(value_parser!(log::LevelFilter))
                .default_value("info"),
        )
        .arg(
            value("mode", "MODE", "Who steers: the node's agent, or one in each pod")
                .value_parser(["node", "sidecar"])
                .default_value("node"),
        )
        .arg(switch("shim", "Preload the library for sockets that aren't NCCL's, too"))
        .arg(switch("strict", "Pods must be steered: one that can't be injected is refused, a connection without a path fails"))
        .arg(switch("library-path", "Name the plugin by LD_LIBRARY_PATH and not by its path, for NCCL before 2.21 and NCCL 2.27"))
        .arg(value("plugin-image", "IMAGE", "Image that brings the libraries").default_value(names::PLUGIN_IMAGE))
        .arg(value("agent-image", "IMAGE", "Image of the agent in a pod").default_value(names::AGENT_IMAGE))
        .arg(value("path-api", "URL", "JALAPENO_API_ENDPOINT of whoever steers in the pod"))
        .arg(
            value("agent-env", "NAME=VALUE", "A setting of the agent in a pod; again for more. What is empty counts as unset")
                .action(ArgAction::Append)
                .value_parser(setting),
        )
        .arg(value("config-map", "NAME", "ConfigMap of the pod's namespace with settings of the agent in a pod"))
        .arg(
            value("env", "NAME=VALUE", "A variable for the steered containers; again for more")
                .action(ArgAction::Append)
                .value_parser(variable),
        )
}

impl WebhookConfig {
    /// Of this subcommand's arguments.
    pub fn of(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        // Arguments that are required or have a default are always there.
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
        let injection = Options {
            mode: if text("mode").as_deref() == Some("sidecar") { Mode::Sidecar } else { Mode::Node },
            shim: matches.get_flag("shim"),
            strict: matches.get_flag("strict"),
            library_path: matches.get_flag("library-path"),
            plugin_image: text("plugin-image").unwrap_or_default(),
            agent_image: text("agent-image").unwrap_or_default(),
            env: matches.get_many("env").into_iter().flatten().cloned().collect(),
            path_api: text("path-api"),
            agent_env: matches
                .get_many::<(String, String)>("agent-env")
                .into_iter()
                .flatten()
                .filter(|(_, value)| !value.is_empty())
                .cloned()
                .collect(),
            config_map: text("config-map"),
            ..Options::default()
        };
        Self {
            listen: matches.get_one("listen").copied().unwrap_or(SocketAddr::from(([0; 8], 9443))),
            certificate: path("cert"),
            key: path("key"),
            linger: Duration::from_secs(matches.get_one("linger").copied().unwrap_or_default()),
            log: matches.get_one("srv6-log").copied().unwrap_or(log::LevelFilter::Info),
            injection,
        }
    }
}

/// `NAME=VALUE`, where the name is one of the agent's settings.
fn setting(text: &str) -> Result<(String, String), String> {
    let known = |name: &str| SHARED.iter().chain(&FIELDS).any(|field| field.name == name);
    match text.split_once('=') {
        Some((name, value)) if known(name) => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err("no such setting of the agent; want one of docs/CONFIG.md".to_owned()),
        None => Err("want NAME=VALUE".to_owned()),
    }
}

/// `NAME=VALUE`, where the name is one of C's, and one of the plugin's if it looks like one.
fn variable(text: &str) -> Result<(String, String), String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.starts_with("SRV6_") && !srv6_settings::FIELDS.iter().any(|field| field.name == name) {
        return Err(
            "no such setting, and the plugin would refuse to start; want one of docs/CONFIG.md".to_owned()
        );
    }
    match text.split_once('=') {
        Some((name, value))
            if !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') =>
        {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("want NAME=VALUE, the name of letters, digits and _".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<WebhookConfig, String> {
        let all = [&["webhook", "--cert", "tls.crt", "--key", "tls.key"], arguments].concat();
        command()
            .try_get_matches_from(all)
            .map(|matches| WebhookConfig::of(&matches))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_pods_are_injected_as_the_command_line_tool_does_it() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.injection, Options::default());
        assert_eq!((config.listen.port(), config.linger), (9443, Duration::from_secs(5)));
        assert_eq!((config.certificate, config.key), ("tls.crt".into(), "tls.key".into()));
    }

    #[test]
    fn flags_say_how_pods_are_injected() {
        let config = parse(&[
            "--mode=sidecar",
            "--shim",
            "--strict",
            "--library-path",
            "--plugin-image=r.example/nccl-net-srv6:1",
            "--agent-image=r.example/srv6d:1",
            "--path-api=http://[2001:db8::5]:30800",
            "--agent-env=SRV6_POLICY=load",
            "--agent-env=DEST_FUNCTION=",
            "--config-map=srv6",
            "--env=SRV6_PATHS=4",
            "--env=NCCL_DEBUG=INFO",
        ]);
        let variables = [("SRV6_PATHS", "4"), ("NCCL_DEBUG", "INFO")];
        let wanted = Options {
            mode: Mode::Sidecar,
            shim: true,
            strict: true,
            library_path: true,
            plugin_image: "r.example/nccl-net-srv6:1".to_owned(),
            agent_image: "r.example/srv6d:1".to_owned(),
            path_api: Some("http://[2001:db8::5]:30800".to_owned()),
            agent_env: vec![("SRV6_POLICY".to_owned(), "load".to_owned())],
            config_map: Some("srv6".to_owned()),
            env: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Options::default()
        };
        assert_eq!(config.unwrap().injection, wanted);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_wanted() {
        for (argument, wanted) in [
            ("--listen=9443", "'9443' for '--listen <ADDRESS>'"),
            ("--linger=301", "301 is not in 0..=300"),
            ("--mode=pod", "[possible values: node, sidecar]"),
            ("--env=A-B=1", "want NAME=VALUE"),
            ("--env=1A=1", "want NAME=VALUE"),
            ("--env=SRV6_PAHTS=4", "no such setting"),
            ("--agent-env=SRV6_POLCY=load", "no such setting of the agent"),
            ("--srv6-log=loud", "'loud' for '--srv6-log <LEVEL>'"),
        ] {
            let refused = parse(&[argument]).unwrap_err();
            assert!(refused.contains(wanted), "{argument}: {refused}");
        }
        let refused = command().try_get_matches_from(["webhook"]).unwrap_err().to_string();
        assert!(refused.contains("--cert <FILE>") && refused.contains("--key <FILE>"), "{refused}");
    }
}
