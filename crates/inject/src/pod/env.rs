//! Variables of a container: what is wanted, and how it meets what the job has set itself.

use serde_json::{Map, Value, json};

use super::record::{Record, name_of};
use super::{Place, list};
use crate::{Error, Options, names};

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The manifest.
    Value(String),
    /// A field of the pod, by the downward API.
    Field(String),
    /// The manifest, behind what the job has there, with a colon.
    Behind(String),
}

/// One variable to set.
pub(crate) type Variable = (String, Source);

/// What steering needs in a container.
pub(super) fn of_steering(options: &Options, job: &Source) -> Vec<Variable> {
    let value = |name: &str, value: &str| (name.to_owned(), Source::Value(value.to_owned()));
    let mut wanted = Vec::new();
    if options.library_path {
        wanted.push(value("NCCL_NET_PLUGIN", "srv6"));
        wanted.push(("LD_LIBRARY_PATH".to_owned(), Source::Behind(names::MOUNT_DIR.to_owned())));
    } else {
        wanted.push(value("NCCL_NET_PLUGIN", &format!("{}/{}", names::MOUNT_DIR, names::PLUGIN_FILE)));
    }
    // NCCL 2.28.3 to 2.29.7 unload a plugin with its last communicator, and don't find it for the next.
    wanted.push(value("NCCL_NET_PLUGIN_REF_COUNT", "1"));
    if options.strict {
        wanted.push(value("NCCL_NET", "SRv6"));
        wanted.push(value("SRV6_STRICT", "1"));
    }
    wanted.push(value("SRV6_MODE", "agent"));
    wanted.push(value("SRV6_AGENT_SOCKET", names::AGENT_SOCKET));
    if options.host_network {
        wanted.push(value("SRV6_TRANSPORT", "multipath"));
    }
    if let (crate::Mode::Node, Some(endpoint)) = (options.mode, &options.path_api) {
        wanted.push(value("JALAPENO_API_ENDPOINT", endpoint));
    }
    wanted.push(("SRV6_JOB".to_owned(), job.clone()));
    if options.shim {
        let shim = format!("{}/{}", names::MOUNT_DIR, names::SHIM_FILE);
        wanted.push(("LD_PRELOAD".to_owned(), Source::Behind(shim)));
    }
    for (name, text) in &options.env {
        wanted.retain(|(there, _)| there != name);
        wanted.push(value(name, text));
    }
    wanted
}

/// Names of the variables that steering sets in a container.
pub(crate) fn variables(options: &Options) -> Vec<String> {
    of_steering(options, &Source::Value(String::new())).into_iter().map(|(name, _)| name).collect()
}

/// Sets variables of one container. What the job sets itself stays, unless `force` is given, and is told.
///
/// # Errors
/// A list that is none, or a value that has to be changed and isn't in the manifest.
pub(super) fn set(
    container: &mut Map<String, Value>,
    name: &str,
    wanted: &[Variable],
    (force, place): (bool, &Place<'_>),
    record: &mut Record,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    if !force {
        notes.extend(from_elsewhere(container, name, wanted));
    }
    let env = list(container, "env", &format!("{name}/"), record)?;
    for (variable, source) in wanted {
        let Some(entry) = env.iter_mut().rev().find(|entry| name_of(entry) == Some(variable)) else {
            if matches!(source, Source::Behind(_)) && variable == "LD_LIBRARY_PATH" {
                notes.push(format!(
                    "container {name}: LD_LIBRARY_PATH goes before the image's own; if the image needs one, set it in the manifest"
                ));
            }
            env.push(entry_of(variable, source));
            record.env.entry(name.to_owned()).or_default().push(variable.clone());
            continue;
        };
        let unknown = |doing| Error::ValueFrom { container: name.to_owned(), name: variable.clone(), doing };
        let elsewhere = entry.get("valueFrom").is_some();
        let value = entry.get("value").and_then(Value::as_str).unwrap_or_default().to_owned();
        let new = match source {
            Source::Behind(_) if elsewhere => return Err(unknown("extended")),
            Source::Behind(ours) if value.split([':', ' ']).any(|one| one == ours) => continue,
            Source::Behind(ours) if value.is_empty() => ours.clone(),
            Source::Behind(ours) => format!("{value}:{ours}"),
            Source::Value(ours) if !elsewhere && *ours == value => continue,
            Source::Field(_) if *entry == entry_of(variable, source) => continue,
            Source::Value(ours) if force && !elsewhere => ours.clone(),
            Source::Value(_) if force => return Err(unknown("replaced")),
            // Who the job is, the job may say itself, force or not.
            Source::Value(_) | Source::Field(_) => {
                let shown = if elsewhere { "(valueFrom)" } else { value.as_str() };
                notes.push(format!("container {name}: keeps its own {variable}={shown}"));
                continue;
            }
        };
        let text = match entry.get("value") {
            None => String::new(),
            Some(_) => (place.quoted)(name, variable).unwrap_or_else(|| Value::from(value).to_string()),
        };
        record.was.entry(name.to_owned()).or_default().insert(variable.clone(), text);
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("value".to_owned(), Value::from(new));
        }
    }
    Ok(())
}

/// What the container takes from ConfigMaps and Secrets, whose content nobody sees here, and `env` wins over.
fn from_elsewhere(container: &Map<String, Value>, name: &str, wanted: &[Variable]) -> Vec<String> {
    let is_own = |variable: &str| {
        let env = container.get("env").and_then(Value::as_array).into_iter().flatten();
        env.filter_map(name_of).any(|own| own == variable)
    };
    let sources = container.get("envFrom").and_then(Value::as_array).into_iter().flatten();
    let note = |source: &Value| {
        let prefix = source.get("prefix").and_then(Value::as_str).unwrap_or_default();
        let names: Vec<&str> = wanted
            .iter()
            .map(|(variable, _)| variable.as_str())
            .filter(|variable| variable.starts_with(prefix) && !is_own(variable))
            .collect();
        let map = source.get("configMapRef").map(|one| ("ConfigMap", one));
        let (kind, reference) = map.or_else(|| source.get("secretRef").map(|one| ("Secret", one)))?;
        let source = name_of(reference).unwrap_or_default();
        (!names.is_empty()).then(|| {
            format!(
                "container {name}: {kind} {source} (envFrom) can't be seen here and loses against what is injected; set in env what is to \
                 stay of {}",
                names.join(", ")
            )
        })
    };
    sources.filter_map(note).collect()
}

fn entry_of(name: &str, source: &Source) -> Value {
    match source {
        Source::Value(value) | Source::Behind(value) => json!({ "name": name, "value": value }),
        Source::Field(path) => json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } }),
    }
}
