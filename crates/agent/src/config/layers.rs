//! Where values come from: flags before the environment before the file.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};

use srv6_settings::Said;

use super::fields::{ALL, flag};

/// All that was said, the stronger layer's word for each name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers(pub(super) BTreeMap<String, Said>);

/// The settings file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Operating system's word.
    #[error("settings file {path}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// No TOML.
    #[error("settings file {path} is no TOML")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what.
        #[source]
        source: toml::de::Error,
    },
    /// A value that is no text, number or truth value.
    #[error("settings file {path}: {name} is a {kind}; want a text, a number, or true or false")]
    Kind {
        /// The file.
        path: String,
        /// The key.
        name: String,
        /// What it is.
        kind: &'static str,
    },
}

/// The command line: a flag for each setting, and what isn't a setting.
pub fn command() -> Command {
    let settings = ALL.iter().copied().flatten().map(|field| {
        let default =
            if field.default.is_empty() { String::new() } else { format!(" [default: {}]", field.default) };
        Arg::new(field.name)
            .long(flag(field))
            .value_name("VALUE")
            .help(format!("{}: {}{default}", field.name, field.text))
    });
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("srv6d")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Steers the flows of all jobs of a host over SRv6 paths")
        .after_help(
            "Each setting is also an environment variable and a key of the file that SRV6D_CONFIG names. \
             Stopped by SIGTERM or SIGINT the agent leaves its routes, for jobs go on and the next agent takes them over.",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(super::webhook::command())
        .args(settings)
        .arg(switch("mpib-compat", "Serve clients of the MPIB transport agent too: SRV6D_MPIB_COMPAT=1"))
        .arg(switch("manual", "Read hints from standard input: `SLOT VALUE` or `all VALUE`, one a line"))
        .arg(switch("check", "Check settings, rights, kernel and path source, say what is wrong, and end"))
        .arg(switch("flush", "When stopped, remove every route and rule of clients instead of leaving them"))
}

impl Layers {
    /// Flags of `matches`, then this process's environment, then the file that these name.
    ///
    /// # Errors
    /// The file can't be used.
    pub fn of_process(matches: &ArgMatches) -> Result<Self, FileError> {
        let mut layers = Self::of_environment(std::env::vars_os().map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        }));
        for field in ALL.iter().copied().flatten() {
            if let Some(value) = matches.get_one::<String>(field.name) {
                let said = Said { value: value.clone(), place: Some(format!("--{}", flag(field))) };
                layers.0.insert(field.name.to_owned(), said);
            }
        }
        if matches.get_flag("mpib-compat") {
            let said = Said { value: "1".to_owned(), place: Some("--mpib-compat".to_owned()) };
            layers.0.insert("SRV6D_MPIB_COMPAT".to_owned(), said);
        }
        if let Some(file) = layers.0.get("SRV6D_CONFIG").map(|said| said.value.clone()) {
            layers.add_file(Path::new(&file))?;
        }
        Ok(layers)
    }

    /// What an environment says. An empty value counts as unset, and what isn't ours is left out.
    pub fn of_environment(variables: impl Iterator<Item = (String, String)>) -> Self {
        let is_field = |name: &str| ALL.iter().copied().flatten().any(|field| field.name == name);
        let ours = |name: &str| name.starts_with("SRV6D_") || is_field(name);
        Self(
            variables
                .filter(|(name, value)| ours(name) && !value.is_empty())
                .map(|(name, value)| (name, Said { value, place: Some("environment".to_owned()) }))
                .collect(),
        )
    }

    fn add_file(&mut self, file: &Path) -> Result<(), FileError> {
        let path = file.display().to_string();
        let text =
            std::fs::read_to_string(file).map_err(|source| FileError::Read { path: path.clone(), source })?;
        let table: toml::Table =
            text.parse().map_err(|source| FileError::Syntax { path: path.clone(), source })?;
        for (name, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(truth) => u8::from(truth).to_string(),
                other => return Err(FileError::Kind { path, name, kind: other.type_str() }),
            };
            if !value.is_empty() {
                self.0.entry(name).or_insert(Said { value, place: Some(path.clone()) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(arguments: &[&str]) -> Result<Layers, FileError> {
        Layers::of_process(&command().get_matches_from([&["srv6d"], arguments].concat()))
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("srv6d-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn flags_win_over_the_file_and_numbers_need_no_quotes() {
        let folder = folder("layers");
        let file = folder.join("srv6d.toml");
        std::fs::write(&file, "SRV6_POLICY = \"hops\"\nSRV6D_GRACE_S = 7\nSRV6D_NONSENSE = true\n").unwrap();
        let path = file.to_str().unwrap();
        let layers = layers(&["--srv6d-config", path, "--srv6-policy", "load"]).unwrap();
        let said =
            |name: &str| layers.0.get(name).map(|said| (said.value.as_str(), said.place.as_deref().unwrap()));
        assert_eq!(said("SRV6_POLICY"), Some(("load", "--srv6-policy")));
        assert_eq!(said("SRV6D_GRACE_S"), Some(("7", path)));
        assert_eq!(said("SRV6D_NONSENSE"), Some(("1", path)), "for the reader to refuse");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = folder("none");
        let file = folder.join("srv6d.toml");
        let path = file.to_str().unwrap();
        assert!(layers(&["--srv6d-config", path]).unwrap_err().to_string().contains(path));
        std::fs::write(&file, "SRV6_POLICY = [\"hops\"]\n").unwrap();
        assert!(
            layers(&["--srv6d-config", path]).unwrap_err().to_string().contains("SRV6_POLICY is a array")
        );
        std::fs::write(&file, "SRV6_POLICY hops\n").unwrap();
        assert!(layers(&["--srv6d-config", path]).unwrap_err().to_string().contains("no TOML"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_command_line_is_in_order() {
        command().debug_assert();
    }
}
