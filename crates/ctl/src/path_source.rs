//! Where a subcommand learns about paths: the settings that the plugin has for it, or flags of the same meaning.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use srv6_fabric::{Encoding, Family, Policy, SidFormat, Topology};
use srv6_paths::{ApiError, Jalapeno, JalapenoConfig, PathError, PathSource, TopologyFile};

use crate::config::Environment;

/// Longest wait for one answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a question and its repetitions.
const DEADLINE: Duration = Duration::from_secs(8);

/// Flags that stand for settings; without them the environment counts.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SourceArgs {
    /// Path API that is asked [default: JALAPENO_API_ENDPOINT]
    #[arg(long, value_name = "URL", conflicts_with = "topology")]
    api: Option<String>,
    /// Topology file instead of a path API [default: SRV6_TOPOLOGY]
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
}

/// What is known about the fabric before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathSettings {
    pub(crate) place: Place,
    /// Edge collection.
    pub(crate) graph: String,
    /// Collection of hosts.
    pub(crate) hosts: String,
    pub(crate) policy: Policy,
    pub(crate) algo: u8,
    /// DEST_FUNCTION.
    pub(crate) function: Option<u32>,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Api(String),
    File(PathBuf),
}

impl PathSettings {
    /// `None` where neither flags nor environment name a source.
    ///
    /// # Errors
    /// Two sources, or a value that the plugin would refuse too.
    pub(crate) fn new(args: &SourceArgs, environment: &Environment) -> anyhow::Result<Option<Self>> {
        let place = match (&args.api, &args.topology) {
            (Some(api), _) => Place::Api(api.clone()),
            (None, Some(file)) => Place::File(file.clone()),
            (None, None) => {
                let api = environment.get("JALAPENO_API_ENDPOINT");
                let file = environment.get("SRV6_TOPOLOGY");
                match (api, file) {
                    (Some(_), Some(_)) => bail!(
                        "JALAPENO_API_ENDPOINT and SRV6_TOPOLOGY are both set: unset one, or use --api or --topology"
                    ),
                    (Some(api), None) => Place::Api(api.to_owned()),
                    (None, Some(file)) => Place::File(file.into()),
                    (None, None) => return Ok(None),
                }
            }
        };
        Self::at(place, environment).map(Some)
    }

    /// For this source, everything else from the environment.
    ///
    /// # Errors
    /// A value that the plugin would refuse too.
    pub(crate) fn at(place: Place, environment: &Environment) -> anyhow::Result<Self> {
        let text = |name: &str, default: &str| environment.get(name).unwrap_or(default).to_owned();
        let policy = text("SRV6_POLICY", "spread");
        let algo = text("SRV6_ALGO", "0");
        let function = environment.get("DEST_FUNCTION").map(|given| {
            u32::from_str_radix(given.trim_start_matches("0x"), 16).with_context(|| {
                format!("DEST_FUNCTION={given:?}: want a uSID function in hexadecimal, such as fe06")
            })
        });
        Ok(Self {
            place,
            graph: text("TOPOLOGY_COLLECTION", "fabric_graph"),
            hosts: text("SRV6_HOST_COLLECTION", "hosts"),
            policy: policy.parse().map_err(|()| {
                anyhow::anyhow!("SRV6_POLICY={policy:?}: want spread, load, latency, utilization or hops")
            })?,
            algo: algo.parse().with_context(|| format!("SRV6_ALGO={algo:?}: want 0 to 255"))?,
            function: function.transpose()?,
        })
    }

    /// Opens the source; nothing is asked yet.
    ///
    /// # Errors
    /// [`ApiError::Endpoint`].
    pub(crate) fn open(&self) -> Result<Box<dyn PathSource>, ApiError> {
        Ok(match &self.place {
            Place::Api(endpoint) => Box::new(Jalapeno::new(JalapenoConfig {
                endpoint: endpoint.clone(),
                graph: self.graph.clone(),
                hosts: self.hosts.clone(),
                request_timeout: REQUEST_TIMEOUT,
            })?),
            Place::File(path) => {
                Box::new(TopologyFile::new(path.clone(), self.graph.clone(), self.hosts.clone()))
            }
        })
    }

    /// Opens the source and reads the fabric.
    ///
    /// # Errors
    /// Why it isn't to be had.
    pub(crate) fn topology(&self) -> Result<Arc<Topology>, PathError> {
        self.open()?.topology(deadline())
    }

    /// How carriers are written for packets of a family.
    pub(crate) fn encoding(&self, family: Family) -> Encoding {
        Encoding { family, algo: self.algo, function: self.function, format: SidFormat::F3216 }
    }

    /// Where answers come from, for people.
    pub(crate) fn name(&self) -> String {
        match &self.place {
            Place::Api(endpoint) => endpoint.clone(),
            Place::File(path) => path.display().to_string(),
        }
    }
}

/// When a question asked now has failed.
pub(crate) fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&'static str, &'static str)]) -> anyhow::Result<Option<PathSettings>> {
        let mut environment = Environment::default();
        for (name, value) in variables {
            environment = environment.with(name, value);
        }
        PathSettings::new(&SourceArgs::default(), &environment)
    }

    #[test]
    fn without_a_source_there_is_none_and_two_are_refused() {
        assert_eq!(settings(&[]).unwrap(), None);
        let both = [("JALAPENO_API_ENDPOINT", "http://a"), ("SRV6_TOPOLOGY", "b")];
        assert!(settings(&both).unwrap_err().to_string().contains("unset one"));
    }

    #[test]
    fn settings_are_the_plugins() {
        let found = settings(&[
            ("SRV6_TOPOLOGY", "f.json"),
            ("TOPOLOGY_COLLECTION", "g"),
            ("SRV6_POLICY", "hops"),
            ("SRV6_ALGO", "128"),
            ("DEST_FUNCTION", "0xfe06"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(found.place, Place::File("f.json".into()));
        assert_eq!((found.graph.as_str(), found.hosts.as_str()), ("g", "hosts"));
        assert_eq!((found.policy, found.algo, found.function), (Policy::Hops, 128, Some(0xfe06)));
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (name, value) in [("SRV6_POLICY", "best"), ("SRV6_ALGO", "300"), ("DEST_FUNCTION", "xyz")] {
            let error = settings(&[("SRV6_TOPOLOGY", "f"), (name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
