//! The source of paths: whether it answers, with what, how fast, and whether it knows this host.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Topology, VertexIndex};
use srv6_paths::{ApiError, PathError, PathSource, Query};

use super::finding::Finding;
use crate::config::Environment;
use crate::path_source::{PathSettings, Place, deadline};

/// Slower than this, connects of a job's start are felt.
const SLOW: Duration = Duration::from_millis(200);

/// A source that was read.
#[derive(Debug)]
pub(crate) struct Fabric {
    pub(crate) topology: Arc<Topology>,
    source: Box<dyn PathSource>,
}

/// Reads the fabric and judges the answer.
pub(crate) fn check(
    settings: &anyhow::Result<Option<PathSettings>>,
    environment: &Environment,
) -> (Option<Fabric>, Vec<Finding>) {
    const CHECK: &str = "paths.source";
    let settings = match settings {
        Ok(Some(settings)) => settings,
        Ok(None) if environment.get("SRV6_MODE") == Some("off") => {
            return (
                None,
                vec![Finding::note(CHECK, "no source of paths, and none is needed with SRV6_MODE=off")],
            );
        }
        Ok(None) => {
            let finding = Finding::failure(
                CHECK,
                "no source of paths: neither JALAPENO_API_ENDPOINT nor SRV6_TOPOLOGY is set",
                "export JALAPENO_API_ENDPOINT=http://HOST:PORT, or SRV6_TOPOLOGY=FILE",
            );
            return (None, vec![finding]);
        }
        Err(error) => {
            return (None, vec![Finding::failure(CHECK, format!("{error:#}"), "see docs/CONFIG.md")]);
        }
    };
    let mut source = match settings.open() {
        Ok(source) => source,
        Err(error) => return (None, vec![api(&error)]),
    };
    let asked = Instant::now();
    let topology = match source.topology(deadline()) {
        Ok(topology) => topology,
        Err(error) => return (None, vec![refusal(&error)]),
    };
    let took = asked.elapsed();
    let mut findings = vec![Finding::ok(
        CHECK,
        format!(
            "{} answers: graph {} with {} vertices and {} edges, in {:.1} ms",
            settings.name(),
            settings.graph,
            topology.vertices().count(),
            topology.edges().len(),
            took.as_secs_f64() * 1e3
        ),
    )];
    findings.extend(hosts(&topology, settings));
    (Some(Fabric { topology, source }), findings)
}

fn refusal(error: &PathError) -> Finding {
    match error {
        PathError::Api(error) => api(error),
        PathError::File(error) => Finding::failure(
            "paths.file",
            format!("the topology file can't be used: {error}"),
            "check SRV6_TOPOLOGY and TOPOLOGY_COLLECTION",
        ),
        other => Finding::failure("paths.source", other.to_string(), "check the source of paths"),
    }
}

fn api(error: &ApiError) -> Finding {
    let (check, remedy) = match error {
        ApiError::Endpoint { .. } => ("paths.endpoint", "export JALAPENO_API_ENDPOINT=http://HOST:PORT"),
        ApiError::Unreachable { .. } | ApiError::TimedOut { .. } => {
            ("paths.api", "start it, or correct JALAPENO_API_ENDPOINT; a firewall may be in between")
        }
        ApiError::NotJalapeno { .. } => {
            ("paths.api", "correct JALAPENO_API_ENDPOINT: another server listens there")
        }
        ApiError::UnknownGraph { .. } => ("paths.graph", "export TOPOLOGY_COLLECTION with one of those"),
        ApiError::DatabaseDown { .. } => ("paths.database", "start the path API's database (ArangoDB)"),
        ApiError::Refused { .. }
        | ApiError::Status { .. }
        | ApiError::Garbage { .. }
        | ApiError::Id { .. } => ("paths.answer", "look at the path API's own log"),
    };
    Finding::failure(check, error.to_string(), remedy)
}

/// A file's hosts are in the collection by definition; a server's may be in another.
fn hosts(topology: &Topology, settings: &PathSettings) -> Option<Finding> {
    const CHECK: &str = "paths.hosts";
    let of = |id: &str| id.split_once('/').map(|(collection, _)| collection.to_owned());
    let mut collections: Vec<String> =
        topology.vertices().filter(|(_, v)| v.is_host()).filter_map(|(_, v)| of(&v.id)).collect();
    let count = collections.len();
    collections.sort();
    collections.dedup();
    if collections.contains(&settings.hosts) || matches!(settings.place, Place::File(_)) {
        return Some(Finding::ok(CHECK, format!("{count} hosts")));
    }
    Some(Finding::note(
        CHECK,
        format!("no host is in collection {}; {count} are in {}", settings.hosts, collections.join(", ")),
    ))
}

impl Fabric {
    /// Whether the topology knows this host's addresses, and how long a path takes to ask for.
    pub(crate) fn check_host(
        &mut self,
        addresses: &[IpAddr],
        settings: &PathSettings,
        environment: &Environment,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut own = None;
        for &address in addresses {
            findings.push(match self.topology.host_of(address) {
                Some(vertex) => {
                    own = own.or(Some(vertex));
                    let vertex = self.topology.vertex(vertex);
                    Finding::ok("paths.address", format!("{address} is {} ({})", vertex.name, vertex.id))
                }
                None => Finding::failure(
                    "paths.address",
                    format!(
                        "{address} is no host of graph {}: no document has it or a prefix around it",
                        settings.graph
                    ),
                    "add this host to the topology, or take the interface that is in it",
                ),
            });
        }
        findings.extend(own.map(|own| self.latency(own, settings, environment)));
        findings
    }

    /// The first host that isn't this one.
    pub(crate) fn another(&self, own: VertexIndex) -> Option<VertexIndex> {
        let leaves = self.topology.leaves_of(own);
        let hosts = self.topology.vertices().filter(|&(i, v)| v.is_host() && i != own);
        let others: Vec<VertexIndex> = hosts.map(|(i, _)| i).collect();
        // Paths between hosts of one leaf say nothing about the fabric.
        let far = others.iter().find(|&&other| self.topology.leaves_of(other) != leaves);
        far.or(others.first()).copied()
    }

    fn latency(&mut self, own: VertexIndex, settings: &PathSettings, environment: &Environment) -> Finding {
        const CHECK: &str = "paths.query";
        let Some(other) = self.another(own) else {
            return Finding::failure(CHECK, "the topology has one host only", "add the others");
        };
        // Asking by load would count as a flow.
        let query = Query { policy: srv6_fabric::Policy::Spread, algo: settings.algo };
        let (topology, asked) = (Arc::clone(&self.topology), Instant::now());
        let answer = self.source.candidates(&topology, own, other, query, deadline());
        let took = asked.elapsed();
        let to = &topology.vertex(other).name;
        match answer {
            Err(error) => Finding::failure(
                CHECK,
                format!("no path to {to}: {error}"),
                "see whether the graph's edges lead to both hosts, in both directions",
            ),
            Ok(answer) => {
                let message = format!(
                    "{} paths to {to}, asked for in {:.1} ms",
                    answer.paths.len(),
                    took.as_secs_f64() * 1e3
                );
                let patience = environment.get("SRV6_CONNECT_TIMEOUT_MS").and_then(|v| v.parse().ok());
                let patience = Duration::from_millis(patience.unwrap_or(5000));
                if took > patience / 4 {
                    let message =
                        format!("{message}: much of SRV6_CONNECT_TIMEOUT_MS ({} ms)", patience.as_millis());
                    Finding::warning(
                        CHECK,
                        message,
                        "raise SRV6_CONNECT_TIMEOUT_MS, or see why the path API is slow",
                    )
                } else if took > SLOW {
                    Finding::note(CHECK, format!("{message}: the job's start will feel it"))
                } else {
                    Finding::ok(CHECK, message)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn each_way_an_api_can_fail_has_a_name() {
        let endpoint = || "http://a".to_owned();
        for (error, check) in [
            (ApiError::Unreachable { endpoint: endpoint(), reason: "refused".to_owned() }, "paths.api"),
            (ApiError::NotJalapeno { endpoint: endpoint(), status: 404 }, "paths.api"),
            (ApiError::UnknownGraph { graph: "g".to_owned(), known: vec!["x".to_owned()] }, "paths.graph"),
            (ApiError::DatabaseDown { detail: "down".to_owned() }, "paths.database"),
            (ApiError::Endpoint { given: "ftp:".to_owned() }, "paths.endpoint"),
        ] {
            let finding = api(&error);
            assert_eq!((finding.check, finding.status), (check, Status::Failure));
        }
    }

    #[test]
    fn no_source_is_a_failure_unless_off() {
        let (_, findings) = check(&Ok(None), &Environment::default());
        assert_eq!(findings[0].status, Status::Failure);
        let (_, findings) = check(&Ok(None), &Environment::from([("SRV6_MODE", "off")]));
        assert_eq!(findings[0].status, Status::Note);
    }
}
