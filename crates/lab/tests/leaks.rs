//! What a process has after labs came and went, in a process that does nothing else.

use std::time::{Duration, Instant};

use srv6_fabric::{Documents, Topology};
use srv6_lab::{Lab, Options};

#[test]
fn nothing_leaks() {
    let text = include_str!("../../../examples/fabrics/2x2-dual-stack.json");
    let documents = Documents::parse([("2x2", text)], "fabric_graph", "hosts").unwrap();
    let topology = Topology::new(&documents, "fabric_graph").unwrap();
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();

    drop(Lab::up(&topology, &Options::default()).unwrap());
    let before = (count("fd"), count("task"));
    // A thread that was waited for is in /proc until the kernel is done with it.
    let back = |when: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while (count("fd"), count("task")) != before {
            assert!(Instant::now() < deadline, "{when}: {}, {}, not {before:?}", count("fd"), count("task"));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for _ in 0..20 {
        drop(Lab::up(&topology, &Options::default()).unwrap());
    }
    back("after 20 labs");

    // Room for four more namespaces: the lab fails at its fifth node, with four up.
    let limit = "/proc/sys/user/max_net_namespaces";
    let old = std::fs::read_to_string(limit).unwrap();
    std::fs::write(limit, "4").unwrap();
    let error = Lab::up(&topology, &Options::default()).unwrap_err();
    std::fs::write(limit, old.trim()).unwrap();
    assert!(error.to_string().contains("can't make namespaces"), "{error}");
    back("after a lab that failed");
    Lab::up(&topology, &Options::default()).unwrap();
}
