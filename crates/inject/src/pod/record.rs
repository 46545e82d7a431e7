//! What injection added to a pod and replaced in it, kept in an annotation so that removal never has to guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, names};

/// The annotation's content. Members that are empty aren't written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Record {
    /// Mappings and lists that weren't there: `metadata`, `annotations`, `volumes`, `initContainers`, and `NAME/env` and the like
    /// of a container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) made: Vec<String>,
    /// Variables added, by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, Vec<String>>,
    /// Values replaced, by container and variable, as YAML; empty: there was none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) was: BTreeMap<String, BTreeMap<String, String>>,
    /// Container ports added, by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ports: BTreeMap<String, Vec<u16>>,
    /// Init containers added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) init: Vec<String>,
    /// The label was added.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) label: bool,
    /// `spec.subdomain` was added.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) subdomain: bool,
    /// `spec.ordinals` was added to the workload.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ordinals: bool,
}

impl Record {
    /// The record that a pod carries.
    ///
    /// # Errors
    /// It is no text, or not one of ours.
    pub(crate) fn of(pod: &Value) -> Result<Option<Self>, Error> {
        let annotations = pod.pointer("/metadata/annotations");
        let Some(undo) = annotations.and_then(|annotations| annotations.get(names::UNDO)) else {
            return match annotations.and_then(|annotations| annotations.get(names::INJECTED_VERSION)) {
                Some(_) => Err(Error::Undo { reason: "is missing from an injected pod".to_owned() }),
                None => Ok(None),
            };
        };
        let text = undo.as_str().ok_or_else(|| Error::Undo { reason: "is no text".to_owned() })?;
        serde_json::from_str(text).map(Some).map_err(|error| Error::Undo { reason: error.to_string() })
    }

    /// As the annotation has it.
    pub(crate) fn to_text(&self) -> String {
        // Strings, numbers, lists and maps with text keys: nothing that JSON couldn't say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Takes everything out again that the record names.
    ///
    /// # Errors
    /// A value that was replaced can't be read.
    pub(crate) fn undo(&self, pod: &mut Value) -> Result<(), Error> {
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            for container in members(spec.get_mut("containers")) {
                self.undo_container(container)?;
            }
            keep(spec.get_mut("initContainers"), |one| {
                name_of(one).is_none_or(|name| !self.init.iter().any(|ours| ours == name))
            });
            keep(spec.get_mut("volumes"), |one| name_of(one).is_none_or(|name| !is_our_volume(name)));
            self.drop_made(spec, "", &["initContainers", "volumes"]);
            if self.subdomain {
                spec.shift_remove("subdomain");
            }
        }
        if let Some(pod) = pod.as_object_mut() {
            if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
                if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                    for name in [names::INJECTED_VERSION, names::PLUGIN_VERSION, names::UNDO] {
                        annotations.shift_remove(name);
                    }
                }
                if let (true, Some(labels)) =
                    (self.label, metadata.get_mut("labels").and_then(Value::as_object_mut))
                {
                    labels.shift_remove(names::STEERED_BY);
                }
                self.drop_made(metadata, "", &["annotations", "labels"]);
            }
            self.drop_made(pod, "", &["metadata"]);
        }
        Ok(())
    }

    fn undo_container(&self, container: &mut Value) -> Result<(), Error> {
        let Some(name) = name_of(container).map(str::to_owned) else { return Ok(()) };
        let added = self.env.get(&name);
        keep(container.get_mut("env"), |one| {
            name_of(one).is_none_or(|name| !added.is_some_and(|added| added.iter().any(|ours| ours == name)))
        });
        for (variable, text) in self.was.get(&name).into_iter().flatten() {
            let value = (!text.is_empty()).then(|| crate::yaml::scalar(text));
            if value == Some(None) {
                let reason = format!("{variable} of container {name:?} was {text:?}, which is no value");
                return Err(Error::Undo { reason });
            }
            for entry in members(container.get_mut("env")).filter(|one| name_of(one) == Some(variable)) {
                match (entry.as_object_mut(), value.clone().flatten()) {
                    (Some(entry), Some(value)) => drop(entry.insert("value".to_owned(), value)),
                    (Some(entry), None) => drop(entry.shift_remove("value")),
                    (None, _) => {}
                }
            }
        }
        keep(container.get_mut("volumeMounts"), |one| name_of(one).is_none_or(|name| !is_our_volume(name)));
        let ports = self.ports.get(&name);
        keep(container.get_mut("ports"), |one| {
            let ours = |port: &u16| {
                name_of(one) == Some(names::MASTER_PORT_NAME)
                    && one.get("containerPort").and_then(Value::as_u64) == Some(u64::from(*port))
            };
            !ports.is_some_and(|ports| ports.iter().any(ours))
        });
        if let Some(container) = container.as_object_mut() {
            self.drop_made(container, &format!("{name}/"), &["env", "volumeMounts", "ports"]);
        }
        Ok(())
    }

    /// Removes what injection made, unless somebody has put something of their own there since.
    fn drop_made(&self, parent: &mut Map<String, Value>, prefix: &str, keys: &[&str]) {
        for key in keys {
            let made = self.made.iter().any(|made| made.strip_prefix(prefix) == Some(key));
            if made && parent.get(*key).is_some_and(is_empty) {
                parent.shift_remove(*key);
            }
        }
    }
}

/// Whether a volume's name is one of those that injection adds.
pub(crate) fn is_our_volume(name: &str) -> bool {
    [names::LIB_VOLUME, names::AGENT_VOLUME, names::SHM_VOLUME].contains(&name)
}

/// The member `name` of an entry.
pub(crate) fn name_of(entry: &Value) -> Option<&str> {
    entry.get("name").and_then(Value::as_str)
}

fn members(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

fn keep(list: Option<&mut Value>, wanted: impl Fn(&Value) -> bool) {
    if let Some(list) = list.and_then(Value::as_array_mut) {
        list.retain(|one| wanted(one));
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}
