//! Every collective, of odd sizes, among two to eight ranks; right data and wrong data.

use srv6_fabric::Topology;
use srv6_lab::{Lab, Options};

use crate::job::{Job, own_plugin, rows, text};
use crate::strict;

/// A test, the columns `redop` and `root`, and whether it can be checked in place.
const TESTS: [(&str, &str, &str, bool); 7] = [
    ("all-reduce", "sum", "-1", true),
    ("all-gather", "none", "-1", true),
    ("reduce-scatter", "sum", "-1", true),
    ("broadcast", "none", "0", true),
    ("reduce", "sum", "0", true),
    ("sendrecv", "sum", "-1", false),
    ("alltoall", "none", "-1", false),
];

/// Sizes that nothing divides, small ones of which nothing is left for some, and one that takes all channels.
const ODD: [&str; 12] = ["-b", "13", "-e", "300001", "-f", "150", "-n", "2", "-w", "1", "-c", "2"];

fn assert_table(printed: &str, test: &str, redop: &str, root: &str, in_place: bool) {
    let rows = rows(printed);
    assert_eq!(rows.len(), 3, "{test}: {printed}");
    for row in &rows {
        assert_eq!((row.len(), &*row[3], &*row[4]), (13, redop, root), "{test}: {row:?}");
        let wanted = if in_place { "0" } else { "N/A" };
        assert_eq!((&*row[8], &*row[12]), ("0", wanted), "{test}: {row:?}");
    }
    assert!(printed.contains("# Out of bounds values : 0 OK\n"), "{printed}");
}

#[test]
fn every_collective_is_right_among_few_and_many_ranks() {
    for world in [3, 8] {
        let plugin = strict::plugin(&[12], &[]);
        for (test, redop, root, in_place) in TESTS {
            let printed = Job::of(test, world, plugin.clone(), &ODD).succeed();
            assert_table(&printed, test, redop, root, in_place);
        }
    }
}

#[test]
fn a_flipped_bit_fails_every_collective() {
    let plugin = strict::plugin(&[12], &["CORRUPT=1"]);
    for (test, _, _, in_place) in TESTS {
        let outputs = Job::of(test, 3, plugin.clone(), &["-b", "4K", "-e", "4K", "-n", "1"]).run();
        let printed = text(&outputs[0].stdout);
        let row = &rows(&printed)[0];
        assert!(row[8].parse::<f64>().unwrap() >= 1.0, "{test}: {row:?}");
        assert!(!in_place || row[12].parse::<f64>().unwrap() >= 1.0, "{test}: {row:?}");
        let bounds = printed.lines().find(|line| line.starts_with("# Out of bounds values : ")).unwrap();
        assert!(bounds.ends_with(" FAILED") && !bounds.contains(" 0 "), "{test}: {bounds}");
        for output in &outputs {
            assert_eq!(output.status.code(), Some(1), "{test}");
            assert!(text(&output.stderr).contains(" elements are wrong"), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn blocks_that_change_places_are_noticed() {
    let plugin = strict::plugin(&[12], &["CORRUPT=2"]);
    for (test, ..) in TESTS {
        let outputs = Job::of(test, 2, plugin.clone(), &["-b", "4K", "-e", "4K", "-n", "1"]).run();
        let row = &rows(&text(&outputs[0].stdout))[0];
        // Sixteen bytes each, in every message: four floats in two places.
        assert!(row[8].parse::<f64>().unwrap() >= 8.0, "{test}: {row:?}");
        assert!(outputs.iter().all(|output| output.status.code() == Some(1)), "{test}");
    }
}

#[test]
fn unchecked_data_is_not_looked_at() {
    let plugin = strict::plugin(&[12], &["CORRUPT=1"]);
    let printed = Job::new(2, plugin, &["-b", "1K", "-e", "1K", "-n", "1", "-c", "0"]).succeed();
    let row = &rows(&printed)[0];
    assert_eq!((&*row[8], &*row[12]), ("N/A", "N/A"));
}

#[test]
fn every_type_and_reduction_has_its_table() {
    let arguments = ["-b", "1000", "-e", "1000", "-n", "1", "-d", "all", "-o", "all"];
    let printed = Job::new(3, strict::plugin(&[12], &[]), &arguments).succeed();
    let rows = rows(&printed);
    let names: Vec<(&str, &str)> = rows.iter().map(|row| (&*row[2], &*row[3])).collect();
    assert_eq!(names.len(), 60);
    assert_eq!(
        names[..7],
        [
            ("int8", "sum"),
            ("int8", "prod"),
            ("int8", "max"),
            ("int8", "min"),
            ("int8", "avg"),
            ("int8", "mulsum"),
            ("uint8", "sum")
        ]
    );
    assert_eq!(names[59], ("bfloat16", "mulsum"));
    assert!(rows.iter().all(|row| row[8] == "0" && row[12] == "0"), "{printed}");
}

#[test]
fn every_rank_can_be_the_root() {
    for test in ["broadcast", "reduce"] {
        let arguments = ["-b", "999", "-e", "999", "-n", "1", "-r", "-1", "-d", "uint8"];
        let printed = Job::of(test, 3, strict::plugin(&[12], &[]), &arguments).succeed();
        let roots: Vec<String> = rows(&printed).iter().map(|row| row[4].clone()).collect();
        assert_eq!(roots, ["0", "1", "2"], "{test}");
    }
}

#[test]
fn groups_run_side_by_side() {
    let job = Job::of("alltoall", 4, strict::plugin(&[12], &[]), &["-b", "1K", "-e", "1K", "-n", "1"]);
    let printed = job.with("NCCL_TESTS_SPLIT", "MOD 2").succeed();
    let groups: Vec<&str> =
        printed.lines().filter(|line| line.starts_with("#  Rank ")).map(|line| &line[11..19]).collect();
    assert_eq!(groups, ["Group  0", "Group  1", "Group  0", "Group  1"]);
    // 1024 bytes of floats between the two ranks of a group.
    assert_eq!(rows(&printed)[0][..2], ["1024", "128"]);
}

#[test]
fn every_collective_steered_over_the_fabric_of_a_lab() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/2x4x4.json");
    let (_, topology): (_, Topology) =
        srv6_paths::read_topology(file.as_ref(), "fabric_graph", "hosts").unwrap();
    let lab = Lab::up(&topology, &Options::default()).unwrap();
    let hosts: Vec<String> = lab.hosts().map(|host| host.name().to_owned()).collect();
    // Every test twice, and every number of ranks from two to eight.
    for (index, (test, redop, root, in_place)) in TESTS.into_iter().enumerate() {
        for world in [2 + index, 2 + (index + 4) % 7] {
            let master = lab.management_address(&hosts[0]).unwrap().to_string();
            let children: Vec<_> = hosts[..world]
                .iter()
                .enumerate()
                .map(|(rank, host)| {
                    let mut command = lab.node(host).unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
                    command
                        .args(["bench", test, "--plugin"])
                        .arg(own_plugin())
                        .args(ODD)
                        .env("RANK", rank.to_string())
                        .env("WORLD_SIZE", world.to_string())
                        .env("MASTER_ADDR", &master)
                        .env("NCCL_SOCKET_IFNAME", "=eth1")
                        .env("NCCL_SOCKET_FAMILY", "AF_INET6")
                        .env("SRV6_TRANSPORT", "multipath")
                        .env("SRV6_TOPOLOGY", file)
                        .env("SRV6_STRICT", "1")
                        .stdin(std::process::Stdio::null())
                        .stdout(std::process::Stdio::piped())
                        .stderr(std::process::Stdio::piped())
                        .spawn()
                        .unwrap()
                })
                .collect();
            let outputs: Vec<_> =
                children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
            crate::job::all_succeeded(&outputs);
            assert_table(&text(&outputs[0].stdout), test, redop, root, in_place);
        }
    }
}
