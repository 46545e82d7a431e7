//! `srv6_data`: SID list and uSID carrier of a path, by the original's rule and with its faults.
//!
//! The rule works on text, not on addresses, so it makes carriers that are none: `fc00:0:::` for a path
//! without SIDs, eight groups and a `::` for six uSIDs, two `::` for SIDs written in compressed form.
//! Clients must cope with all of them, so they are made here exactly so.

use serde_json::{Value, json};

use crate::Generation;

/// Block where the SIDs don't tell one.
const DEFAULT_BLOCK: &str = "fc00:0:";

/// The `srv6_data` object of a path whose entries hold their vertex under `vertex`.
pub(crate) fn srv6_data(path: &[Value], algo: i64, generation: Generation) -> Value {
    match sids(path, algo, generation) {
        Ok(sids) => {
            let block = match (generation, sids.first()) {
                (Generation::B | Generation::C, Some(first)) => block(first),
                _ => DEFAULT_BLOCK.to_owned(),
            };
            let carrier = carrier(&sids, &block);
            match generation {
                Generation::A => json!({ "srv6_sid_list": sids, "srv6_usid": carrier }),
                Generation::B | Generation::C => {
                    json!({ "srv6_sid_list": sids, "srv6_usid": carrier, "usid_block": block, "algo": algo })
                }
            }
        }
        Err(text) => json!({ "error": text, "srv6_sid_list": [], "srv6_usid": "" }),
    }
}

/// One SID of each vertex that has one.
///
/// # Errors
/// The original's exception text, where its code stumbles over a null.
fn sids(path: &[Value], algo: i64, generation: Generation) -> Result<Vec<&str>, &'static str> {
    const NULL: &str = "argument of type 'NoneType' is not iterable";
    let skipped = usize::from(generation == Generation::C);
    let mut list = Vec::new();
    for entry in path.iter().skip(skipped) {
        let vertex = entry.get("vertex").unwrap_or(&Value::Null);
        if vertex.is_null() {
            return Err(NULL);
        }
        let Some(Value::Array(sids)) = vertex.get("sids") else { continue };
        if let Some(sid) = sid_of(sids, algo, generation).map_err(|()| NULL)? {
            list.push(sid);
        }
    }
    Ok(list)
}

/// The SID that the rule takes from one vertex; the error stands for the null that the original trips over.
fn sid_of(sids: &[Value], algo: i64, generation: Generation) -> Result<Option<&str>, ()> {
    let mut taken = None;
    for sid in sids.iter().filter(|s| s.is_object()) {
        let address = sid.get("srv6_sid").and_then(Value::as_str);
        if generation == Generation::A {
            return Ok(address.filter(|a| !a.is_empty()));
        }
        match sid.get("srv6_endpoint_behavior") {
            Some(Value::Null) => return Err(()),
            Some(behavior) if behavior.get("algo").and_then(Value::as_i64) == Some(algo) => {
                taken = address;
                break;
            }
            Some(_) => {}
            None if generation == Generation::C && taken.is_none() => taken = address,
            None => {}
        }
    }
    Ok(taken.filter(|a| !a.is_empty()))
}

/// The first two groups of a SID's text, with their colons.
fn block(sid: &str) -> String {
    let mut groups = sid.split(':');
    match (groups.next(), groups.next(), groups.next()) {
        (Some(first), Some(second), Some(_)) => format!("{first}:{second}:"),
        _ => DEFAULT_BLOCK.to_owned(),
    }
}

/// The block, then of every SID that contains it the group behind it.
fn carrier(sids: &[&str], block: &str) -> String {
    let usids: Vec<&str> = sids
        .iter()
        .filter_map(|sid| sid.split_once(block))
        // A second occurrence of the block ends what counts as being behind the first.
        .map(|(_, behind)| behind.split(block).next().unwrap_or_default())
        .map(|behind| behind.split(':').next().unwrap_or_default())
        .collect();
    format!("{block}{}::", usids.join(":"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn with_algo(sid: &str, algo: u8) -> Value {
        json!({"srv6_sid": sid, "srv6_endpoint_behavior": {"endpoint_behavior": 48, "flag": 0, "algo": algo}})
    }

    /// A path of a source without SIDs and vertices with these.
    fn path(vertices: &[&[Value]]) -> Vec<Value> {
        let mut path = vec![json!({"vertex": {"sids": null}})];
        path.extend(vertices.iter().map(|sids| json!({"vertex": {"sids": sids}})));
        path
    }

    fn usid(path: &[Value], algo: i64) -> String {
        srv6_data(path, algo, Generation::C)["srv6_usid"].as_str().unwrap().to_owned()
    }

    fn one_each(sids: &[&str]) -> String {
        let sids: Vec<[Value; 1]> = sids.iter().map(|s| [with_algo(s, 0)]).collect();
        usid(&path(&sids.iter().map(|s| s.as_slice()).collect::<Vec<_>>()), 0)
    }

    #[test]
    fn faults_of_the_original_are_kept() {
        assert_eq!(one_each(&[]), "fc00:0:::");
        assert_eq!(one_each(&["fc00:0:1200::", "fc00:0:1000::", "fc00:0:1201::"]), "fc00:0:1200:1000:1201::");
        assert_eq!(one_each(&["fc00:0:1200:fe06::"]), "fc00:0:1200::", "the function is dropped");
        assert_eq!(one_each(&["2001:db8:f:1200::", "2001:db8:f:1000::"]), "2001:db8:f:f::", "a 48-bit block");
        assert_eq!(one_each(&["fc00:0:1200::", "fcbb:0:1000::"]), "fc00:0:1200::", "another block");
        assert_eq!(one_each(&["5f00::1200:0:0", "5f00::1000:0:0"]), "5f00::1200:1000::", "compressed text");
        let six =
            one_each(&["fc00:0:a::", "fc00:0:b::", "fc00:0:c::", "fc00:0:d::", "fc00:0:e::", "fc00:0:f::"]);
        assert_eq!(six, "fc00:0:a:b:c:d:e:f::");
        assert!(six.parse::<Ipv6Addr>().is_err());
    }

    #[test]
    fn algorithms_choose_sids() {
        let vertex = [with_algo("fc00:2:1::", 129), with_algo("fc00:0:1::", 0)];
        let bare = [json!({"srv6_sid": "fc00:0:fe06::"})];
        let path = path(&[&vertex, &bare]);
        assert_eq!(usid(&path, 0), "fc00:0:1:fe06::");
        assert_eq!(usid(&path, 129), "fc00:2:1::", "the bare SID is listed, but in another block");
        assert_eq!(
            srv6_data(&path, 129, Generation::C)["srv6_sid_list"],
            json!(["fc00:2:1::", "fc00:0:fe06::"])
        );
        assert_eq!(usid(&path, 7), "fc00:0:fe06::");
        assert_eq!(srv6_data(&path, 0, Generation::B)["srv6_sid_list"], json!(["fc00:0:1::"]));
        let first = srv6_data(&path, 0, Generation::A);
        assert_eq!(
            first,
            json!({"srv6_sid_list": ["fc00:2:1::", "fc00:0:fe06::"], "srv6_usid": "fc00:0:fe06::"})
        );
    }

    #[test]
    fn generations_differ_on_the_3x3_lab() {
        let host = |name: &str| json!({"vertex": {"name": name, "sids": [with_algo("fcbb:0:fe06::", 0)]}});
        let switch = |sid: &str| json!({"vertex": {"sids": [with_algo(sid, 0)]}});
        let path =
            [host("0"), switch("fcbb:0:1004::"), switch("fcbb:0:1000::"), switch("fcbb:0:1005::"), host("1")];
        let carrier = |g| srv6_data(&path, 0, g)["srv6_usid"].as_str().unwrap().to_owned();
        assert_eq!(carrier(Generation::A), "fc00:0:::");
        assert_eq!(carrier(Generation::B), "fcbb:0:fe06:1004:1000:1005:fe06::");
        assert_eq!(carrier(Generation::C), "fcbb:0:1004:1000:1005:fe06::");
    }

    #[test]
    fn nulls_become_the_exception_that_they_are() {
        let broken = [json!({"vertex": {}}), json!({"vertex": null})];
        let data = srv6_data(&broken, 0, Generation::C);
        assert_eq!(data["error"], "argument of type 'NoneType' is not iterable");
        assert_eq!((&data["srv6_sid_list"], &data["srv6_usid"]), (&json!([]), &json!("")));
        let sid = [json!({"srv6_sid": "fc00:0:1::", "srv6_endpoint_behavior": null})];
        assert!(srv6_data(&path(&[&sid]), 0, Generation::C).get("error").is_some());
    }
}
