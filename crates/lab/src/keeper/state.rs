//! What is written down about a lab that is up.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use srv6_fabric::{Documents, Topology};

use super::process;
use crate::namespace::{self, Namespace};
use crate::{Error, Lab, Options};

/// A lab that is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    name: String,
    /// Where the topology came from, for people.
    source: String,
    graph: String,
    /// The documents themselves: the file may change or go while the lab is up.
    documents: Value,
    options: Options,
}

impl Request {
    /// A lab called `name` of the edge collection `graph` of some documents, which came from `source`.
    ///
    /// # Errors
    /// The name isn't 1 to 64 letters, digits, `_` or `-`.
    pub fn new(
        name: &str,
        source: &str,
        documents: &Documents,
        graph: &str,
        options: Options,
    ) -> Result<Self, Error> {
        check_name(name)?;
        let collections: Map<String, Value> = documents
            .collections()
            .iter()
            .map(|(name, c)| (name.clone(), c.documents.iter().cloned().map(Value::Object).collect()))
            .collect();
        Ok(Self {
            name: name.to_owned(),
            source: source.to_owned(),
            graph: graph.to_owned(),
            documents: Value::Object(collections),
            options,
        })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the topology came from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How it is built.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The topology.
    ///
    /// # Errors
    /// Documents that aren't one.
    pub fn topology(&self) -> Result<Topology, Error> {
        let text = self.documents.to_string();
        // Every collection has its name here, so the hosts' default one isn't used.
        let documents = Documents::parse([(self.source.as_str(), text.as_str())], &self.graph, "hosts")?;
        Ok(Topology::new(&documents, &self.graph)?)
    }

    /// What this lab is that another isn't; its name and where it came from don't matter.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.graph != other.graph || self.documents != other.documents {
            Some("another topology")
        } else if self.options != other.options {
            Some("other options")
        } else {
            None
        }
    }
}

/// A lab that is up, as its state file has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pid: u32,
    /// When the keeper began, in clock ticks since the machine did: another process may get its number.
    start_time: u64,
    request: Request,
    /// Thread that lives in each node.
    threads: BTreeMap<String, u32>,
}

impl State {
    /// State of the lab that this process holds.
    pub(super) fn of_this_process(request: Request, threads: BTreeMap<String, u32>) -> Result<Self, Error> {
        let pid = std::process::id();
        let start_time = process::start_time(pid)
            .ok_or_else(|| Error::Keeper { action: "could not read its own /proc/PID/stat".to_owned() })?;
        Ok(Self { pid, start_time, request, threads })
    }

    /// The keeper's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Node names with the keeper's thread that lives in each: its namespaces are `/proc/PID/task/TID/ns`.
    pub fn threads(&self) -> &BTreeMap<String, u32> {
        &self.threads
    }

    /// Whether the keeper still runs.
    pub fn is_alive(&self) -> bool {
        process::start_time(self.pid) == Some(self.start_time)
    }

    /// Joins the lab, to look at it or to break it. Dropping what this returns leaves it up.
    ///
    /// Must be called while the process has one thread, since the lab may be in another user namespace.
    ///
    /// # Errors
    /// It went down meanwhile, or belongs to another user.
    pub fn lab(&self) -> Result<Lab, Error> {
        namespace::join_user_namespace(self.pid)?;
        let topology = self.request.topology()?;
        Lab::attach(&topology, &self.request.options, self.pid, |node| self.thread(node))
    }

    /// Moves this process into a node, in its present working directory where the node has that too.
    ///
    /// Must be called while the process has one thread.
    ///
    /// # Errors
    /// No such node, or as for [`Self::lab`].
    pub fn enter(&self, node: &str) -> Result<(), Error> {
        let thread = self.thread(node)?;
        namespace::join_user_namespace(self.pid)?;
        Namespace::of_thread(node, self.pid, thread)?.enter_keeping_directory().map_err(|source| {
            Error::Namespace { node: node.to_owned(), action: "enter its namespaces", source }
        })
    }

    /// Numbers of the network namespaces of all nodes.
    pub(super) fn namespaces(&self) -> HashSet<u64> {
        let paths = self.threads.values().map(|&tid| namespace::path(self.pid, tid, "net"));
        paths.filter_map(|p| namespace::identity(&p).ok()).collect()
    }

    fn thread(&self, node: &str) -> Result<u32, Error> {
        self.threads.get(node).copied().ok_or_else(|| Error::UnknownNode {
            name: node.to_owned(),
            known: self.threads.keys().map(String::as_str).collect::<Vec<_>>().join(" "),
        })
    }
}

/// Refuses names that can't be file names.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let fine = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fine { Ok(()) } else { Err(Error::LabName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mbps;

    const TEXT: &str = include_str!("../../../../examples/fabrics/3x3.json");

    fn request(text: &str, options: Options) -> Request {
        let documents = Documents::parse([("t", text)], "fabric_graph", "hosts").unwrap();
        Request::new("lab", "t", &documents, "fabric_graph", options).unwrap()
    }

    #[test]
    fn a_request_survives_its_file() {
        let request = request(TEXT, Options::default());
        let text = serde_json::to_string(&request).unwrap();
        let again: Request = serde_json::from_str(&text).unwrap();
        assert_eq!(request.difference(&again), None);
        assert_eq!(again.topology().unwrap().vertices().count(), 9);
    }

    #[test]
    fn another_topology_and_other_options_are_told_apart() {
        let one = request(TEXT, Options::default());
        let other = request(&TEXT.replace("65004", "65104"), Options::default());
        assert_eq!(one.difference(&other), Some("another topology"));
        let shaped = Options { rate_fabric: Some(Mbps::new(100).unwrap()), ..Options::default() };
        assert_eq!(one.difference(&request(TEXT, shaped)), Some("other options"));
    }

    #[test]
    fn names_that_could_be_paths_are_refused() {
        for name in ["", "../x", "a/b", "a b", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("demo-4x4_1").unwrap();
    }
}
