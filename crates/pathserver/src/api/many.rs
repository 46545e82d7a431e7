//! Several paths at once, and paths around countries.

use serde_json::{Map, Value, json};

use super::project::{Beside, EDGE_WITH_COUNTRIES, VERTEX, VERTEX_BRIEF, document, entries, fields, whole};
use super::query::{Ends, Manner, count, graph, keep_algorithm};
use crate::http::{Failure, Parameters};
use crate::search::{Direction, Metric, Route, View, fewest_hops, lightest, ranked_paths, walks};
use crate::srv6::srv6_data;
use crate::store::{Graph, Snapshot};
use crate::{Generation, Options};

/// `/best-paths`: the shortest paths by hops, longer ones after the equal ones.
pub(super) fn best_paths(
    snapshot: &Snapshot,
    name: &str,
    options: &Options,
    mut parameters: Parameters,
) -> Result<Value, Failure> {
    let ends = Ends::read(&mut parameters);
    let limit = parameters.integer("limit").unwrap_or(4);
    let manner = Manner::read(&mut parameters);
    parameters.done()?;
    let (graph, writes) = graph(snapshot, name)?;
    let direction = manner.pasted_direction()?;
    ends.check_pasted()?;
    let limit = count(limit)?;
    let algo = algo(&manner, options);
    let mut paths = Vec::new();
    if let Some((source, destination)) = ends.find(snapshot, graph)? {
        let mut view = View::new(graph, writes, direction, Metric::Hops);
        keep_algorithm(&mut view, algo);
        for route in ranked_paths(&view, source, destination, limit) {
            let mut path = whole_path(graph, &route);
            path.insert("countries_traversed".to_owned(), countries(graph, &route));
            add_srv6_data(&mut path, algo, options.generation);
            paths.push(Value::Object(path));
        }
    }
    if paths.is_empty() {
        return Ok(json!({ "found": false, "message": "No paths found between specified nodes" }));
    }
    let mut body = Map::new();
    body.insert("found".to_owned(), true.into());
    body.insert("total_paths_found".to_owned(), paths.len().into());
    body.insert("direction".to_owned(), manner.direction.into());
    if options.generation != Generation::A {
        body.insert("algo".to_owned(), algo.into());
    }
    body.insert("paths".to_owned(), paths.into());
    Ok(body.into())
}

/// `/sovereignty`: the shortest path by hops that no excluded country lies on.
pub(super) fn sovereignty(
    snapshot: &Snapshot,
    name: &str,
    options: &Options,
    mut parameters: Parameters,
) -> Result<Value, Failure> {
    let ends = Ends::read(&mut parameters);
    let given = parameters.required("excluded_countries");
    let manner = Manner::read(&mut parameters);
    parameters.done()?;
    let (graph, writes) = graph(snapshot, name)?;
    let direction = manner.pasted_direction()?;
    ends.check_pasted()?;
    let excluded: Vec<String> = given.split(',').map(|country| country.trim().to_uppercase()).collect();
    if let Some(country) = excluded.iter().find(|c| c.contains(['"', '\\'])) {
        return Err(Failure::syntax(country));
    }
    let algo = algo(&manner, options);
    let mut view = View::new(graph, writes, direction, Metric::Hops);
    keep_algorithm(&mut view, algo);
    view.keep(|_| true, |edge| excluded.iter().all(|country| !lies_in(graph, edge, country)));
    let route = match ends.find(snapshot, graph)? {
        // An empty name is part of every text, even that of no countries at all.
        _ if excluded.iter().any(String::is_empty) => None,
        Some((source, destination)) => lightest(&view, source, destination),
        None => None,
    };
    let Some((_, route)) = route else {
        let message = format!("No path found between specified nodes avoiding countries: {given}");
        return Ok(json!({ "found": false, "message": message }));
    };
    let mut body = Map::new();
    body.insert("found".to_owned(), true.into());
    body.extend(whole_path(graph, &route));
    body.insert("direction".to_owned(), manner.direction.into());
    body.insert("countries_traversed".to_owned(), countries(graph, &route));
    body.insert("excluded_countries".to_owned(), excluded.into());
    if options.generation != Generation::A {
        body.insert("algo".to_owned(), algo.into());
    }
    add_srv6_data(&mut body, algo, options.generation);
    Ok(body.into())
}

/// `/next-best-path`: the shortest path by hops, then all of its length (itself among them), then those one longer.
pub(super) fn next_best_path(
    snapshot: &Snapshot,
    name: &str,
    options: &Options,
    mut parameters: Parameters,
) -> Result<Value, Failure> {
    let ends = Ends::read(&mut parameters);
    let same_hop_limit = parameters.integer("same_hop_limit").unwrap_or(4);
    let plus_one_limit = parameters.integer("plus_one_limit").unwrap_or(8);
    let manner = Manner::read(&mut parameters);
    parameters.done()?;
    let (graph, writes) = graph(snapshot, name)?;
    let direction: Direction = manner.pasted_direction()?;
    ends.check_pasted()?;
    let (same, longer) = (count(same_hop_limit)?, count(plus_one_limit)?);
    let algo = algo(&manner, options);
    let view = View::new(graph, writes, direction, Metric::Hops);
    let found = ends.find(snapshot, graph)?.and_then(|(s, d)| Some((s, d, fewest_hops(&view, s, d)?)));
    let Some((source, destination, route)) = found else {
        // No path has -1 edges, and the original goes on to search for others of that length.
        return Err(Failure::Database(
            "[HTTP 400][ERR 1501] AQL: invalid traversal depth (while parsing)".to_owned(),
        ));
    };
    let hops = route.edges.len();
    let data = |path: &[Value]| srv6_data(path, algo, options.generation);
    let alternatives = |depth: usize, limit: usize| -> Vec<Value> {
        walks(&view, source, destination, depth, limit)
            .iter()
            .map(|route| {
                let path: Vec<Value> =
                    route.vertices.iter().map(|v| json!({ "vertex": whole(graph, Some(v)) })).collect();
                let data = data(&path);
                json!({ "path": path, "hopcount": route.edges.len(), "srv6_data": data })
            })
            .collect()
    };
    let shortest = entries((graph, writes), &route, (VERTEX, EDGE_WITH_COUNTRIES), Beside::Before);
    let (same, longer) = (alternatives(hops, same), alternatives(hops + 1, longer));
    let summary = json!({
        "base_hopcount": hops,
        "same_hopcount_alternatives": same.len(),
        "plus_one_hopcount_alternatives": longer.len(),
    });
    let mut body = Map::new();
    body.insert("found".to_owned(), true.into());
    if options.generation != Generation::A {
        body.insert("algo".to_owned(), algo.into());
    }
    let data = data(&shortest);
    body.insert("shortest_path".to_owned(), json!({ "path": shortest, "hopcount": hops, "srv6_data": data }));
    body.insert("same_hopcount_paths".to_owned(), same.into());
    body.insert("plus_one_hopcount_paths".to_owned(), longer.into());
    body.insert("summary".to_owned(), summary);
    Ok(body.into())
}

/// The first generation knows no algorithms.
fn algo(manner: &Manner, options: &Options) -> i64 {
    if options.generation == Generation::A { 0 } else { manner.algo }
}

/// A path without edges, and both its ends in full.
fn whole_path(graph: &Graph, route: &Route) -> Map<String, Value> {
    let path: Vec<Value> = route
        .vertices
        .iter()
        .map(|&v| json!({ "vertex": fields(document(graph, v), VERTEX_BRIEF) }))
        .collect();
    let mut object = Map::new();
    object.insert("path".to_owned(), path.into());
    object.insert("hopcount".to_owned(), route.edges.len().into());
    object.insert("vertex_count".to_owned(), route.vertices.len().into());
    object.insert("source_info".to_owned(), whole(graph, route.vertices.first()));
    object.insert("destination_info".to_owned(), whole(graph, route.vertices.last()));
    object
}

fn add_srv6_data(object: &mut Map<String, Value>, algo: i64, generation: Generation) {
    let path = object.get("path").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let data = srv6_data(path, algo, generation);
    object.insert("srv6_data".to_owned(), data);
}

/// Country codes of each edge: a list, empty where the document has none.
fn countries(graph: &Graph, route: &Route) -> Value {
    let of = |edge: usize| match graph.edges.get(edge).and_then(|e| e.document.get("country_codes")) {
        Some(Value::Array(codes)) => Value::Array(codes.clone()),
        _ => Value::Array(Vec::new()),
    };
    route.edges.iter().map(|&e| of(e)).collect()
}

/// The original asks whether the country's name is part of the text of all country codes.
fn lies_in(graph: &Graph, edge: usize, country: &str) -> bool {
    graph
        .edges
        .get(edge)
        .and_then(|e| e.document.get("country_codes"))
        .is_some_and(|codes| codes.to_string().contains(country))
}
