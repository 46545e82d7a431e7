//! One best path: `/shortest_path` and its weighted variants.

use serde_json::{Map, Value, json};

use super::load::add_load;
use super::numbers::{query_mean, query_sum};
use super::project::{Beside, EDGE, VERTEX, VERTEX_WITH_ADDRESSES, entries};
use super::query::{Ends, Manner, graph, keep_algorithm};
use crate::http::{Failure, Parameters};
use crate::search::{Metric, View, fewest_hops, lightest};
use crate::srv6::srv6_data;
use crate::store::{Snapshot, Store};
use crate::{Generation, Options};

/// Answers the best path by a metric. By load it also writes: the path found gets heavier.
pub(super) fn best(
    store: &Store,
    name: &str,
    metric: Metric,
    options: &Options,
    mut parameters: Parameters,
) -> Result<Value, Failure> {
    let query = Query { ends: Ends::read(&mut parameters), manner: Manner::read(&mut parameters), metric };
    parameters.done()?;
    if metric != Metric::Load {
        return Ok(query
            .answer(&store.read(), name, options)?
            .map_or_else(not_found, |found| found.body.into()));
    }
    store.change(|snapshot| {
        let Some(mut found) = query.answer(snapshot, name, options)? else { return Ok(not_found()) };
        let load_data = add_load(snapshot, name, &found.edges);
        found.body.insert("load_data".to_owned(), load_data);
        Ok(found.body.into())
    })
}

struct Query {
    ends: Ends,
    manner: Manner,
    metric: Metric,
}

struct Found {
    body: Map<String, Value>,
    edges: Vec<usize>,
}

impl Query {
    fn answer(&self, snapshot: &Snapshot, name: &str, options: &Options) -> Result<Option<Found>, Failure> {
        let (graph, writes) = graph(snapshot, name)?;
        let direction = self.manner.checked_direction()?;
        let Some((source, destination)) = self.ends.find(snapshot, graph)? else { return Ok(None) };
        // The first generation has no such parameter and ignores it.
        let algo = if options.generation == Generation::A { 0 } else { self.manner.algo };

        let mut view = View::new(graph, writes, direction, self.metric);
        keep_algorithm(&mut view, algo);
        let route = if self.metric == Metric::Hops && algo == 0 {
            fewest_hops(&view, source, destination)
        } else {
            // With an algorithm the original asks for the k lightest paths and takes the first that fits; the
            // lightest of those that fit is the same one.
            lightest(&view, source, destination).map(|(_, route)| route)
        };
        let Some(route) = route else { return Ok(None) };

        let vertex_fields = if self.metric == Metric::Load { VERTEX_WITH_ADDRESSES } else { VERTEX };
        let beside = if algo == 0 { Beside::Before } else { Beside::After };
        let path = entries((graph, writes), &route, (vertex_fields, EDGE), beside);
        let body = self.body(path, algo, options.generation);
        Ok(Some(Found { body, edges: route.edges }))
    }

    fn body(&self, path: Vec<Value>, algo: i64, generation: Generation) -> Map<String, Value> {
        let end = |entry: Option<&Value>| entry.and_then(|e| e.get("vertex")).cloned().unwrap_or(Value::Null);
        let (first, last) = (end(path.first()), end(path.last()));
        let of_edges =
            |field: &'static str| path.iter().filter_map(move |entry| entry.get("edge")?.get(field));
        let summary = match self.metric {
            Metric::Hops => None,
            Metric::Latency => Some(("total_latency", query_sum(of_edges("latency")))),
            Metric::Utilization => Some(("average_utilization", query_mean(of_edges("percent_util_out")))),
            Metric::Load => Some(("average_load", query_mean(of_edges("load")))),
        };
        let data = srv6_data(&path, algo, generation);
        let count = path.len();
        let mut body = Map::new();
        let mut add = |field: &str, value: Value| body.insert(field.to_owned(), value);
        add("found", true.into());
        add("path", path.into());
        add("hopcount", count.saturating_sub(1).into());
        add("vertex_count", count.into());
        add("source_info", first);
        add("destination_info", last);
        add("direction", self.manner.direction.as_str().into());
        if let Some((field, value)) = summary {
            add(field, value);
        }
        // The order is the original's, in which one variant differs.
        let algo = ("algo", Value::from(algo));
        let data = ("srv6_data", data);
        let last = if self.metric == Metric::Utilization { [data, algo] } else { [algo, data] };
        for (field, value) in last {
            if generation != Generation::A || field != "algo" {
                add(field, value);
            }
        }
        body
    }
}

fn not_found() -> Value {
    json!({ "found": false, "message": "No path found between specified nodes" })
}
