//! Which call a request's path names.

use axum::http::Method;
use percent_encoding::percent_decode_str;

/// Prefix of the compatible calls.
const API: &str = "/api/v1/";
/// Prefix of what the original doesn't have.
const OWN: &str = "/srv6/v1/";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A call that the original has too.
    Compatible(Call),
    /// A call of our own.
    Added(Addition),
    /// The same path without the slash at its end is a call.
    Redirect(String),
    /// The path is a call, but of another method; holds the one it takes.
    Method(Method),
    /// Nothing has this path.
    Unknown,
}

/// Calls that the original has. Collection names are decoded, and not known to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Health,
    Instances,
    Collections,
    Collection(String),
    CollectionKeys(String),
    CollectionInfo(String),
    Graphs,
    Graph(String),
    Topology(String, Links),
    Within(String, GraphCall),
}

/// Which links a topology shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// All.
    All,
    /// Those whose two ids contain `node`: no hosts.
    BetweenNodes,
}

/// Calls under `/graphs/{graph}/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GraphCall {
    Info,
    Vertices,
    VertexKeys,
    VertexIds,
    VertexSummary,
    VerticesByAlgo,
    Edges,
    EdgeDetail,
    ShortestPath,
    Latency,
    Utilization,
    Load,
    Sovereignty,
    BestPaths,
    NextBestPath,
}

/// Calls of our own: all POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addition {
    ResetLoad,
    ReplaceTopology,
}

impl Target {
    /// Reads the path of a request, still percent-encoded.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let (found, wanted) = match lookup(path) {
            Some(Named::Call(call)) => (Self::Compatible(call), Method::GET),
            Some(Named::Addition(addition)) => (Self::Added(addition), Method::POST),
            None => {
                let shorter = path.trim_end_matches('/');
                let redirects = shorter.len() < path.len() && lookup(shorter).is_some();
                return if redirects { Self::Redirect(shorter.to_owned()) } else { Self::Unknown };
            }
        };
        if *method == wanted { found } else { Self::Method(wanted) }
    }
}

enum Named {
    Call(Call),
    Addition(Addition),
}

fn lookup(path: &str) -> Option<Named> {
    if path == "/health" {
        return Some(Named::Call(Call::Health));
    }
    if let Some(rest) = path.strip_prefix(OWN) {
        return match rest {
            "load/reset" => Some(Named::Addition(Addition::ResetLoad)),
            "topology" => Some(Named::Addition(Addition::ReplaceTopology)),
            _ => None,
        };
    }
    let segments: Vec<String> = path
        .strip_prefix(API)?
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    if segments.iter().any(String::is_empty) {
        return None;
    }
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    Some(Named::Call(match words.as_slice() {
        ["instances"] => Call::Instances,
        ["collections"] => Call::Collections,
        ["collections", name] => Call::Collection((*name).to_owned()),
        ["collections", name, "keys"] => Call::CollectionKeys((*name).to_owned()),
        ["collections", name, "info"] => Call::CollectionInfo((*name).to_owned()),
        ["graphs"] => Call::Graphs,
        ["graphs", name] => Call::Graph((*name).to_owned()),
        ["graphs", name, "topology"] => Call::Topology((*name).to_owned(), Links::All),
        ["graphs", name, "topology", "nodes"] => Call::Topology((*name).to_owned(), Links::BetweenNodes),
        ["graphs", name, rest @ ..] => Call::Within((*name).to_owned(), within(rest)?),
        _ => return None,
    }))
}

fn within(words: &[&str]) -> Option<GraphCall> {
    Some(match words {
        ["info"] => GraphCall::Info,
        ["vertices"] => GraphCall::Vertices,
        ["vertices", "keys"] => GraphCall::VertexKeys,
        ["vertices", "ids"] => GraphCall::VertexIds,
        ["vertices", "summary"] => GraphCall::VertexSummary,
        ["vertices", "algo"] => GraphCall::VerticesByAlgo,
        ["edges"] => GraphCall::Edges,
        ["edges", "detail"] => GraphCall::EdgeDetail,
        ["shortest_path"] => GraphCall::ShortestPath,
        ["shortest_path", "latency"] => GraphCall::Latency,
        ["shortest_path", "utilization"] => GraphCall::Utilization,
        ["shortest_path", "load"] => GraphCall::Load,
        ["shortest_path", "sovereignty"] => GraphCall::Sovereignty,
        ["shortest_path", "best-paths"] => GraphCall::BestPaths,
        ["shortest_path", "next-best-path"] => GraphCall::NextBestPath,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_original_leads_them() {
        let get = |path| Target::of(&Method::GET, path);
        assert_eq!(get("/health"), Target::Compatible(Call::Health));
        assert_eq!(get("/api/v1/graphs/g"), Target::Compatible(Call::Graph("g".to_owned())));
        assert_eq!(
            get("/api/v1/graphs/fabric%5Fgraph/shortest_path/next-best-path"),
            Target::Compatible(Call::Within("fabric_graph".to_owned(), GraphCall::NextBestPath))
        );
        assert_eq!(get("/api/v1/graphs/"), Target::Redirect("/api/v1/graphs".to_owned()));
        for unknown in [
            "/",
            "/graphs",
            "/api/v1",
            "/api/v1/",
            "/api/v1/graphs//info",
            "/api/v1/collection/x",
            "/nosuch/",
        ] {
            assert_eq!(get(unknown), Target::Unknown, "{unknown}");
        }
        assert_eq!(Target::of(&Method::POST, "/api/v1/instances"), Target::Method(Method::GET));
        assert_eq!(get("/srv6/v1/load/reset"), Target::Method(Method::POST));
        assert_eq!(Target::of(&Method::POST, "/srv6/v1/load/reset"), Target::Added(Addition::ResetLoad));
    }
}
