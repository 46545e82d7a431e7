//! Topology documents as the Jalapeno database and the labs' files hold them, before they mean anything.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::TopologyError;

/// A JSON object of a collection.
type Document = Map<String, Value>;

/// Documents of one collection, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collection {
    /// Documents in file order; each is a JSON object with a text `_key` and an `_id`.
    pub documents: Vec<Map<String, Value>>,
}

impl Collection {
    /// Whether these documents are edges (they have `_from` and `_to`).
    pub fn is_edges(&self) -> bool {
        self.documents.first().is_some_and(|d| d.contains_key("_from") && d.contains_key("_to"))
    }
}

/// Collections by name, with `_id` filled in everywhere.
///
/// Three shapes of JSON are read, and several files may be merged:
/// * `[doc, …]`: the labs' files, one collection each. Its name isn't in the file: documents with
///   `_from` and `_to` go to the edge collection, documents with an address to the host collection, others
///   to the node collection that the edges name (`fabric_node` where they name none).
/// * `{"hosts": [doc, …], "fabric_node": […], "fabric_graph": […]}`: everything in one file.
/// * `{"edges": [doc, …], "vertices": {id: doc, …}}`: what the API's `/topology` answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    collections: BTreeMap<String, Collection>,
}

/// Collection of documents that neither name themselves nor are named by an edge.
const NODE_COLLECTION: &str = "fabric_node";

impl Documents {
    /// Reads texts, each with the name to call it by in errors.
    ///
    /// `graph` and `hosts` name the collections for edges and hosts that come without a name.
    ///
    /// # Errors
    /// Text that isn't JSON or has none of the shapes above, documents without a usable key, ids twice.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        graph: &str,
        hosts: &str,
    ) -> Result<Self, TopologyError> {
        let mut named: Vec<(String, Vec<Value>)> = Vec::new();
        let mut unnamed_nodes: Vec<Value> = Vec::new();
        for (file, text) in texts {
            let value: Value = serde_json::from_str(text)
                .map_err(|e| TopologyError::Json { file: file.to_owned(), reason: e.to_string() })?;
            match value {
                Value::Array(documents) => {
                    for document in documents {
                        if document.get("_from").is_some() || document.get("_to").is_some() {
                            named.push((graph.to_owned(), vec![document]));
                        } else if is_host(&document) {
                            named.push((hosts.to_owned(), vec![document]));
                        } else {
                            unnamed_nodes.push(document);
                        }
                    }
                }
                Value::Object(map) => named.extend(object(file, map, graph)?),
                other => {
                    return Err(TopologyError::Shape {
                        file: file.to_owned(),
                        found: kind(&other).to_owned(),
                    });
                }
            }
        }
        let node_collection = node_collection(&named, hosts);
        named.push((node_collection, unnamed_nodes));

        let mut collections: BTreeMap<String, Collection> = BTreeMap::new();
        let mut ids = std::collections::HashSet::new();
        for (name, documents) in named {
            for document in documents {
                let collection = collections.entry(name.clone()).or_default();
                let document = with_id(&name, collection.documents.len(), document)?;
                let id = text(&document, "_id").unwrap_or_default().to_owned();
                if !ids.insert(id.clone()) {
                    return Err(TopologyError::Duplicate { id });
                }
                collection.documents.push(document);
            }
        }
        Ok(Self { collections })
    }

    /// All collections by name.
    pub fn collections(&self) -> &BTreeMap<String, Collection> {
        &self.collections
    }

    /// One collection.
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        self.collections.get(name)
    }
}

/// Splits the two object shapes into collections.
fn object(
    file: &str,
    mut map: Map<String, Value>,
    graph: &str,
) -> Result<Vec<(String, Vec<Value>)>, TopologyError> {
    let mut named = Vec::new();
    if let Some(Value::Object(vertices)) = map.remove("vertices") {
        for (id, mut document) in vertices {
            let collection = id.split_once('/').map_or(NODE_COLLECTION, |(c, _)| c).to_owned();
            if let Value::Object(fields) = &mut document {
                fields.entry("_id").or_insert(Value::String(id));
            }
            named.push((collection, vec![document]));
        }
        if let Some(Value::Array(edges)) = map.remove("edges") {
            named.push((graph.to_owned(), edges));
        }
        return Ok(named);
    }
    for (name, value) in map {
        match value {
            Value::Array(documents) => named.push((name, documents)),
            other => {
                return Err(TopologyError::Shape {
                    file: file.to_owned(),
                    found: format!("an object whose {name:?} is {}", kind(&other)),
                });
            }
        }
    }
    Ok(named)
}

/// The collection that edges lead to and that isn't the hosts'.
fn node_collection(named: &[(String, Vec<Value>)], hosts: &str) -> String {
    named
        .iter()
        .flat_map(|(_, documents)| documents)
        .flat_map(|d| [d.get("_from"), d.get("_to")])
        .filter_map(|end| end?.as_str()?.split_once('/'))
        .map(|(collection, _)| collection)
        .find(|&c| c != hosts)
        .unwrap_or(NODE_COLLECTION)
        .to_owned()
}

fn is_host(document: &Value) -> bool {
    document.get("ipv6_address").is_some() || document.get("ipv4_address").is_some()
}

/// Checks `_key` and `_id` of a document and fills in the one that is missing.
fn with_id(collection: &str, index: usize, document: Value) -> Result<Document, TopologyError> {
    let place = format!("{collection}[{index}]");
    let field = |field: &str, found: String, want| TopologyError::Field {
        document: place.clone(),
        field: field.to_owned(),
        found,
        want,
    };
    let Value::Object(mut document) = document else {
        return Err(field("", kind(&document).to_owned(), "an object"));
    };
    let key = match (document.get("_key"), document.get("_id")) {
        (Some(Value::String(key)), _) => key.clone(),
        (Some(other), _) => return Err(field("_key", other.to_string(), "text")),
        (None, Some(Value::String(id))) => {
            id.split_once('/').map_or(String::new(), |(_, key)| key.to_owned())
        }
        (None, _) => return Err(field("_key", "missing".to_owned(), "text")),
    };
    if !is_key(&key) {
        return Err(field("_key", format!("{key:?}"), "1 to 254 of a-z A-Z 0-9 and _-:.@()+,=;$!*%"));
    }
    let id = format!("{collection}/{key}");
    document.insert("_key".to_owned(), Value::String(key));
    document.insert("_id".to_owned(), Value::String(id));
    Ok(document)
}

/// ArangoDB's alphabet of document keys, less the quote: keys are pasted into the real server's queries.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=254).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:.@()+,=;$!*%".contains(&b))
}

/// A text field of a document.
pub(crate) fn text<'a>(document: &'a Document, field: &str) -> Option<&'a str> {
    document.get(field).and_then(Value::as_str)
}

/// JSON type of a value, as a word.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = r#"[{"_key":"10.0.0.0_spine00","name":"spine00"}]"#;
    const HOSTS: &str = r#"[{"_key":"host00","ipv6_address":"2001:db8::2"}]"#;
    const EDGES: &str = r#"[{"_key":"a","_from":"hosts/host00","_to":"switch/10.0.0.0_spine00"}]"#;

    #[test]
    fn unnamed_documents_find_their_collections() {
        let files = [("nodes.json", NODES), ("hosts.json", HOSTS), ("edges.json", EDGES)];
        let documents = Documents::parse(files, "fabric_graph", "hosts").unwrap();
        let names: Vec<&String> = documents.collections().keys().collect();
        assert_eq!(names, ["fabric_graph", "hosts", "switch"]);
        let node = &documents.collection("switch").unwrap().documents[0];
        assert_eq!(node["_id"], "switch/10.0.0.0_spine00");
        assert!(documents.collection("fabric_graph").unwrap().is_edges());
    }

    #[test]
    fn all_three_shapes_mean_the_same() {
        let files = [("n", NODES), ("h", HOSTS), ("e", EDGES)];
        let parts = Documents::parse(files, "fabric_graph", "hosts").unwrap();
        let one = format!(r#"{{"switch":{NODES},"hosts":{HOSTS},"fabric_graph":{EDGES}}}"#);
        assert_eq!(Documents::parse([("one", one.as_str())], "fabric_graph", "hosts").unwrap(), parts);
        let api = r#"{"edges":[{"_key":"a","_from":"hosts/host00","_to":"switch/10.0.0.0_spine00"}],
            "vertices":{"hosts/host00":{"_key":"host00","ipv6_address":"2001:db8::2"},
                        "switch/10.0.0.0_spine00":{"_key":"10.0.0.0_spine00","name":"spine00"}}}"#;
        assert_eq!(Documents::parse([("api", api)], "fabric_graph", "hosts").unwrap(), parts);
    }

    #[test]
    fn errors_name_document_and_field() {
        let parse =
            |text| Documents::parse([("f.json", text)], "fabric_graph", "hosts").unwrap_err().to_string();
        assert!(parse("[").starts_with("f.json: not JSON"));
        assert!(parse("3").contains("found a number"));
        assert!(parse(r#"{"hosts": 3}"#).contains(r#""hosts" is a number"#));
        assert!(parse(r#"[{"name":"x"}]"#).contains("fabric_node[0]: field _key: missing"));
        assert!(parse(r#"[{"_key":"it's"}]"#).contains(r#"field _key: "it's""#));
        assert!(parse(r#"[{"_key":"x"},{"_key":"x"}]"#).contains("fabric_node/x: two documents"));
        assert!(parse("[7]").contains("want an object"));
    }
}
