//! The shim's settings: the only place that reads the environment.

use std::time::Duration;

use log::LevelFilter;
use srv6_fabric::Prefix;
use srv6_settings::{Mistakes, Mode, Reader, Steering};
use srv6_steer::Attachment;

/// What the environment asks for. Each field is described, under its variable's name, in [`srv6_settings::FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    /// How long a blocking connect waits for its path.
    pub(crate) deadline: Duration,
    /// How long one waits that must not block.
    pub(crate) wait: Duration,
    /// Empty: the topology's hosts.
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) log: LevelFilter,
    /// How to find the agent, and who this process is to it.
    pub(crate) agent: Attachment,
    /// `None` without a source of paths.
    pub(crate) steering: Option<srv6_steer::Config>,
}

impl Config {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// Every mistake at once.
    pub(crate) fn from_env() -> Result<Self, Mistakes> {
        Self::read(Reader::of_environment(std::env::vars_os()))
    }

    fn read(mut reader: Reader) -> Result<Self, Mistakes> {
        let steering = Steering::read(&mut reader);
        let prefixes = match reader.text("SRV6_SHIM_PREFIXES") {
            None => Vec::new(),
            Some(list) => match list.split(',').map(|prefix| prefix.trim().parse()).collect() {
                Ok(prefixes) => prefixes,
                Err(_) => reader.refuse("SRV6_SHIM_PREFIXES", Vec::new()),
            },
        };
        let config = Self {
            mode: steering.mode,
            deadline: steering.deadline,
            wait: Duration::from_millis(reader.number("SRV6_SHIM_WAIT_MS", 0..=60_000, 100)),
            prefixes,
            log: reader.parsed("SRV6_LOG").unwrap_or(LevelFilter::Warn),
            agent: steering.agent,
            steering: steering.config,
        };
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use srv6_settings::FIELDS;
    use srv6_steer::Source;

    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
        Config::read(Reader::of_environment(variables.iter().copied()))
    }

    #[test]
    fn defaults_are_what_the_fields_say() {
        let source = ("SRV6_TOPOLOGY", "fabric.json");
        let mut defaults: Vec<_> = FIELDS
            .iter()
            .filter(|field| !field.default.is_empty() && field.name != "SRV6_LOG")
            .map(|field| (field.name, field.default))
            .collect();
        defaults.push(source);
        let config = parse(&defaults).unwrap();
        assert_eq!(config, parse(&[source]).unwrap());
        assert_eq!(config.log, LevelFilter::Warn);
        assert_eq!(config.steering, Some(srv6_steer::Config::new(Source::File("fabric.json".into()))));
    }

    #[test]
    fn its_own_settings_have_an_effect() {
        let config = parse(&[
            ("SRV6_SHIM_PREFIXES", "2001:db8:1000::/36, 10.0.0.0/16"),
            ("SRV6_SHIM_WAIT_MS", "0"),
            ("SRV6_CONNECT_TIMEOUT_MS", "250"),
            ("SRV6_MODE", "off"),
            ("SRV6_LOG", "debug"),
            ("SRV6_AGENT_SOCKET", "/run/other.sock"),
            ("SRV6_JOB", "ddp"),
            ("RANK", "3"),
        ])
        .unwrap();
        let wanted = Config {
            mode: Mode::Off,
            deadline: Duration::from_millis(250),
            wait: Duration::ZERO,
            prefixes: vec!["2001:db8:1000::/36".parse().unwrap(), "10.0.0.0/16".parse().unwrap()],
            log: LevelFilter::Debug,
            agent: Attachment {
                deadline: Duration::from_millis(250),
                job: "ddp".to_owned(),
                rank: Some(3),
                ..Attachment::new("/run/other.sock".into())
            },
            steering: None,
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn mistakes_are_told_together_and_the_plugins_settings_are_known() {
        let text = parse(&[
            ("SRV6_SHIM_PREFIXES", "10.0.0.0/33"),
            ("SRV6_SHIM_WAIT_MS", "-1"),
            ("SRV6_MODE", "on"),
            ("SRV6_SHIM_PREFIX", "10.0.0.0/8"),
            ("SRV6_TRANSPORT", "socket"),
            ("SRV6_PATHS", "4"),
        ])
        .unwrap_err()
        .to_string();
        for wanted in [
            "SRV6_SHIM_PREFIXES=\"10.0.0.0/33\": want prefixes",
            "SRV6_SHIM_WAIT_MS=\"-1\": want 0 to 60000",
            "SRV6_MODE=\"on\": want auto",
            "SRV6_SHIM_PREFIX=\"10.0.0.0/8\": no such setting; did you mean SRV6_SHIM_PREFIXES?",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert!(!text.contains("SRV6_TRANSPORT") && !text.contains("SRV6_PATHS"), "{text}");
    }
}
