//! Requests side by side.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use srv6_pathserver::{Faults, Options};

use crate::client::{fabric4x4, get, graph, links, node, start};

#[test]
fn a_slow_answer_stalls_nobody() {
    let server = start(&fabric4x4(), Options::default());
    let delay = Duration::from_secs(8);
    server.set_faults(Faults { only: Some("best-paths".to_owned()), delay, ..Faults::default() });
    let begin = Instant::now();
    thread::scope(|scope| {
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let call = "shortest_path/best-paths?source=hosts/host00&destination=hosts/host01";
                scope.spawn(|| graph(&server, call))
            })
            .collect();
        while server.requests() < 20 {
            thread::yield_now();
        }
        for call in ["topology", "shortest_path/load?source=hosts/host02&destination=hosts/host03"] {
            graph(&server, call);
        }
        assert_eq!(get(&server, "/health").status, 200);
        assert!(begin.elapsed() < delay, "the others waited: {:?}", begin.elapsed());
        slow.into_iter().for_each(|s| assert_eq!(s.join().unwrap()["found"], true));
    });
    // One after the other they would have taken a minute.
    assert!(begin.elapsed() < 5 * delay, "the slow ones waited for each other: {:?}", begin.elapsed());
}

/// A search that really computes for long, not one that sleeps.
#[test]
fn a_long_search_stalls_nobody() {
    // Every vertex linked with every other: so many paths that a thousand of them take a while.
    let keys: Vec<String> = (0..40).map(|i| format!("s{i}")).collect();
    let ids: Vec<String> = keys.iter().map(|k| format!("fabric_node/{k}")).collect();
    let pairs: Vec<(&str, &str)> = (0..40)
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| (ids[a].as_str(), ids[b].as_str()))
        .collect();
    let nodes: Vec<Value> = keys.iter().map(|k| node(k, "fc00:0:1::")).collect();
    let fabric = json!({"fabric_node": nodes, "fabric_graph": links(&pairs)});
    let server = start(&fabric, Options { unchecked: true, ..Options::default() });
    let call = "shortest_path/best-paths?source=fabric_node/s0&destination=fabric_node/s39&limit=1000";
    thread::scope(|scope| {
        let long = scope.spawn(|| graph(&server, call));
        while server.requests() == 0 {
            thread::yield_now();
        }
        let mut quick = 0;
        while !long.is_finished() {
            graph(&server, "shortest_path/load?source=fabric_node/s1&destination=fabric_node/s2");
            graph(&server, "edges");
            quick += 1;
        }
        assert_eq!(long.join().unwrap()["total_paths_found"], 1000);
        assert!(quick > 3, "{quick} reads and writes meanwhile");
    });
}

/// Every answer by load sees the loads of all answers before it, however many come at once.
#[test]
fn loads_are_counted_one_after_the_other() {
    const CLIENTS: usize = 8;
    const EACH: usize = 10;
    let server = start(&fabric4x4(), Options::default());
    let together = Barrier::new(CLIENTS);
    let answers: Vec<Value> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    let call = "shortest_path/load?source=hosts/host00&destination=hosts/host01";
                    (0..EACH).map(|_| graph(&server, call)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect()
    });
    let mut spines: BTreeMap<String, usize> = BTreeMap::new();
    let mut host_loads: Vec<i64> = Vec::new();
    for answer in &answers {
        *spines.entry(answer["path"][2]["vertex"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
        host_loads.push(answer["load_data"]["edge_loads"][0]["load"].as_i64().unwrap());
    }
    let all = CLIENTS * EACH;
    assert_eq!(spines.values().copied().collect::<Vec<_>>(), vec![all / 4; 4], "{spines:?}");
    host_loads.sort_unstable();
    let want: Vec<i64> = (1..=i64::try_from(all).unwrap()).map(|n| 10 * n).collect();
    assert_eq!(host_loads, want, "each ten more than the one before");
}
