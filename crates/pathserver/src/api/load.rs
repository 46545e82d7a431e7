//! The load that `/shortest_path/load` adds to the path it answers.

use serde_json::{Map, Value, json};

use super::numbers::{python_add, python_mean, python_sum};
use crate::store::{Graph, Snapshot};

/// Load that one answer adds to each edge of its path.
const INCREMENT: i64 = 10;

/// Adds load to the edges of a path and answers the `load_data` object.
///
/// Edges are written one after the other, as the original does it: a load that can't be added to
/// stops the update there.
pub(super) fn add_load(snapshot: &mut Snapshot, name: &str, edges: &[usize]) -> Value {
    let before = snapshot.clone();
    let Some((graph, _)) = before.graph(name) else { return failed("no such graph") };
    let Some(writes) = snapshot.writes_mut(name) else { return failed("no such graph") };
    let mut loads = Vec::new();
    let mut highest: Option<(&str, &Value)> = None;
    for &edge in edges {
        let load = match writes.load(edge) {
            None => Ok(INCREMENT.into()),
            Some(load) => python_add(load, INCREMENT),
        };
        match load {
            Ok(load) => writes.set_load(edge, load.clone()),
            Err(text) => return failed(&text),
        }
        loads.push(writes.load(edge).cloned().unwrap_or(Value::Null));
    }
    for (&edge, load) in edges.iter().zip(&loads) {
        let above = highest.map_or(0.0, |(_, value)| value.as_f64().unwrap_or(0.0));
        if load.as_f64().is_some_and(|l| l > above) {
            highest = Some((key(graph, edge), load));
        }
    }
    let keys: Vec<&str> = edges.iter().map(|&e| key(graph, e)).collect();
    let edge_loads: Vec<Value> =
        keys.iter().zip(&loads).map(|(key, load)| json!({ "edge_key": key, "load": load })).collect();
    json!({
        "updated_edges": keys,
        "edge_loads": edge_loads,
        "average_load": python_mean(&loads),
        "total_load": python_sum(&loads),
        "edge_count": edges.len(),
        "highest_load": {
            "edge_key": highest.map(|(key, _)| key),
            "load_value": highest.map_or(Value::from(0), |(_, load)| load.clone()),
        },
    })
}

fn key(graph: &Graph, edge: usize) -> &str {
    graph.edges.get(edge).and_then(|e| e.document.get("_key")?.as_str()).unwrap_or_default()
}

fn failed(text: &str) -> Value {
    let mut data = Map::new();
    data.insert("error".to_owned(), text.into());
    for list in ["updated_edges", "edge_loads"] {
        data.insert(list.to_owned(), Value::Array(Vec::new()));
    }
    for number in ["average_load", "total_load", "edge_count"] {
        data.insert(number.to_owned(), 0.into());
    }
    data.insert("highest_load".to_owned(), json!({ "edge_key": null, "load_value": 0 }));
    Value::Object(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fixture::fabric4x4;

    #[test]
    fn every_edge_gets_ten() {
        let mut snapshot = fabric4x4();
        // A fabric edge (load 0) and a host edge (none).
        let data = add_load(&mut snapshot, "fabric_graph", &[0, 32]);
        let host = "host00_leaf00";
        assert_eq!(data["updated_edges"], json!(["10.0.0.200_leaf00_10.0.0.0_spine00", host]));
        assert_eq!((&data["total_load"], data["average_load"].to_string().as_str()), (&json!(20), "10.0"));
        let again = add_load(&mut snapshot, "fabric_graph", &[32]);
        assert_eq!(again["highest_load"], json!({"edge_key": host, "load_value": 20}));
        let nothing = add_load(&mut snapshot, "fabric_graph", &[]);
        assert_eq!(nothing["average_load"].to_string(), "0");
        assert_eq!(nothing["highest_load"], json!({"edge_key": null, "load_value": 0}));
    }

    #[test]
    fn a_null_load_stops_the_update() {
        let mut snapshot = fabric4x4();
        snapshot.writes_mut("fabric_graph").unwrap().set_load(0, Value::Null);
        let data = add_load(&mut snapshot, "fabric_graph", &[0, 32]);
        assert_eq!(data["error"], "unsupported operand type(s) for +: 'NoneType' and 'int'");
        assert_eq!(data.as_object().unwrap().keys().next().unwrap(), "error");
        assert_eq!((&data["updated_edges"], &data["edge_count"]), (&json!([]), &json!(0)));
        let (_, writes) = snapshot.graph("fabric_graph").unwrap();
        assert_eq!((writes.load(0), writes.load(32)), (Some(&Value::Null), None));
    }
}
