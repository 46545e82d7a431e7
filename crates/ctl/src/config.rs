//! The environment, read once; what its variables mean is said where they are used.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Context;
use srv6_netdrive::{LogSettings, SettingsError};

/// The process's environment. Values that are no UTF-8 are read with replacement characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What this process was started with.
    pub(crate) fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .map(|(name, value)| {
                    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
                })
                .collect(),
        )
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What NCCL's own variables ask of the log: `NCCL_DEBUG`, `NCCL_DEBUG_SUBSYS`, `NCCL_DEBUG_FILE`.
    ///
    /// # Errors
    /// If one says what NCCL doesn't know.
    pub(crate) fn log_settings(&self) -> anyhow::Result<LogSettings> {
        fn parse<T: FromStr<Err = SettingsError> + Default>(
            environment: &Environment,
            name: &'static str,
        ) -> anyhow::Result<T> {
            environment.get(name).map_or(Ok(T::default()), |text| text.parse().context(name))
        }
        Ok(LogSettings {
            level: parse(self, "NCCL_DEBUG")?,
            subsystems: parse(self, "NCCL_DEBUG_SUBSYS")?,
            file: self.get("NCCL_DEBUG_FILE").map(str::to_owned),
        })
    }

    /// The same with one variable changed; an empty value counts as unset.
    #[cfg(test)]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// All variables, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}
