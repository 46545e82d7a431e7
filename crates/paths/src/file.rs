//! Topology files: the same answers with no server.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use srv6_fabric::{Documents, Path, Policy, Topology, VertexIndex, equal_cost_paths};

use crate::source::MAX_PATHS;
use crate::{Candidates, FileError, Origin, PathError, PathSource, Query};

/// The files of a lab's topology folder.
const FOLDER: [&str; 3] = ["hosts.json", "fabric-node.json", "fabric-graph.json"];

/// Reads a topology: one file, several separated by commas, or a folder that holds `hosts.json`,
/// `fabric-node.json` and `fabric-graph.json`.
///
/// `graph` and `hosts` name the collections of documents that come without a name.
///
/// # Errors
/// A file that can't be read, or what is wrong with which document and field.
pub fn read_topology(path: &FilePath, graph: &str, hosts: &str) -> Result<(Documents, Topology), FileError> {
    let mut texts = Vec::new();
    for file in files(path) {
        let text = std::fs::read_to_string(&file)
            .map_err(|e| FileError::Read { path: file.clone(), reason: e.to_string() })?;
        texts.push((file.display().to_string(), text));
    }
    let documents = Documents::parse(texts.iter().map(|(f, t)| (f.as_str(), t.as_str())), graph, hosts)?;
    let topology = Topology::new(&documents, graph)?;
    Ok((documents, topology))
}

/// When the youngest file of a topology was changed; `None` if one of them can't be looked at.
pub fn topology_changed(path: &FilePath) -> Option<SystemTime> {
    let times =
        files(path).into_iter().map(|file| std::fs::metadata(file).and_then(|data| data.modified()).ok());
    times.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn files(path: &FilePath) -> Vec<PathBuf> {
    if path.is_dir() {
        return FOLDER.iter().map(|name| path.join(name)).collect();
    }
    if path.exists() {
        return vec![path.to_owned()];
    }
    match path.to_str() {
        Some(list) => list.split(',').map(|f| PathBuf::from(f.trim())).collect(),
        None => vec![path.to_owned()],
    }
}

/// A path source over topology files. They are read again whenever the cache asks for the topology anew.
#[derive(Debug)]
pub struct TopologyFile {
    path: PathBuf,
    graph: String,
    hosts: String,
}

impl TopologyFile {
    /// Names the files; nothing is read yet.
    pub fn new(path: PathBuf, graph: String, hosts: String) -> Self {
        Self { path, graph, hosts }
    }
}

impl PathSource for TopologyFile {
    fn graph(&self) -> &str {
        &self.graph
    }

    fn origin(&self) -> Origin {
        Origin::File
    }

    fn topology(&mut self, _deadline: Instant) -> Result<Arc<Topology>, PathError> {
        let (_, topology) = read_topology(&self.path, &self.graph, &self.hosts)?;
        Ok(Arc::new(topology))
    }

    fn candidates(
        &mut self,
        topology: &Topology,
        source: VertexIndex,
        destination: VertexIndex,
        query: Query,
        _deadline: Instant,
    ) -> Result<Candidates, PathError> {
        let paths = equal_cost_paths(topology, source, destination, MAX_PATHS);
        if paths.is_empty() {
            return Err(PathError::NoPath {
                from: topology.vertex(source).id.clone(),
                to: topology.vertex(destination).id.clone(),
            });
        }
        let weight: Option<fn(&Path, &Topology) -> f64> = match query.policy {
            Policy::Latency => Some(Path::latency),
            Policy::Utilization => Some(Path::utilization),
            // A file keeps no account of what was handed out, so `load` has nothing better than `spread`.
            Policy::Spread | Policy::Load | Policy::Hops => None,
        };
        let cheapest = weight.and_then(|weight| {
            paths.iter().min_by(|a, b| weight(a, topology).total_cmp(&weight(b, topology))).cloned()
        });
        Ok(match cheapest {
            Some(path) => Candidates { paths: vec![path], chosen: true },
            None => Candidates { paths, chosen: false },
        })
    }
}
