//! Packets take the path that their carrier says.

use std::time::Instant;

use crate::support::{example, ping, pings, spine_packets};
use srv6_lab::{Lab, Options};

/// Everyone reaches everyone without any steering.
fn all_reach_all(lab: &Lab, address_of: impl Fn(usize) -> String) {
    for (i, from) in lab.hosts().enumerate() {
        for j in (0..lab.hosts().count()).filter(|&j| j != i) {
            ping(from, &address_of(j));
        }
    }
}

/// Packets that a spine sends on its own account (multicast listener reports) while a test runs, at most.
const NOISE: u64 = 20;

/// Two hosts, and the carriers between them by spine.
struct Pair<'a> {
    hosts: [&'a str; 2],
    /// What each is reached by.
    prefixes: [&'a str; 2],
    /// Pinged from the first.
    address: &'a str,
    device: &'a str,
    /// There and back.
    carriers: &'a [[&'a str; 2]],
}

/// Steers both directions over each spine in turn: all packets must be forwarded by that one and no other.
fn each_carrier_takes_its_spine(lab: &Lab, pair: &Pair<'_>) {
    let [from, to] = pair.hosts.map(|h| lab.node(h).unwrap());
    for (spine, [there, back]) in pair.carriers.iter().enumerate() {
        for (node, prefix, carrier) in [(from, pair.prefixes[1], there), (to, pair.prefixes[0], back)] {
            let route = format!("{prefix} encap seg6 mode encap.red segs {carrier} dev {}", pair.device);
            node.sh(&format!("ip route replace {route}")).unwrap();
        }
        let packets = spine_packets(lab, || pings(from, pair.address, 50));
        let chosen = format!("spine{spine:02}");
        for (name, count) in packets {
            let want = if name == chosen { 100..100 + NOISE } else { 0..NOISE };
            assert!(want.contains(&count), "{there}: {name} sent {count} packets, want {want:?}");
        }
    }
}

fn up(example_name: &str) -> Lab {
    let began = Instant::now();
    let lab = Lab::up(&example(example_name), &Options::default()).unwrap();
    let took = began.elapsed();
    println!("{example_name} up in {took:?}");
    lab
}

#[test]
fn the_seed_demo_fabric_takes_the_path_of_each_carrier() {
    let lab = up("4x4.json");
    all_reach_all(&lab, |i| format!("2001:db8:100{i}::2"));
    each_carrier_takes_its_spine(
        &lab,
        &Pair {
            hosts: ["host00", "host01"],
            prefixes: ["2001:db8:1000::/64", "2001:db8:1001::/64"],
            address: "2001:db8:1001::2",
            device: "eth1",
            carriers: &[
                ["fc00:0:1200:1000:1201:fe06::", "fc00:0:1201:1000:1200:fe06::"],
                ["fc00:0:1200:1001:1201:fe06::", "fc00:0:1201:1001:1200:fe06::"],
                ["fc00:0:1200:1002:1201:fe06::", "fc00:0:1201:1002:1200:fe06::"],
                ["fc00:0:1200:1003:1201:fe06::", "fc00:0:1201:1003:1200:fe06::"],
            ],
        },
    );
}

/// Its host prefixes lie inside the SID block, and its functions are in the hosts' documents.
#[test]
fn the_current_lab_fabric_takes_the_path_of_each_carrier() {
    let lab = up("3x3.json");
    all_reach_all(&lab, |i| format!("fcbb:0:800:{i}::10"));
    each_carrier_takes_its_spine(
        &lab,
        &Pair {
            hosts: ["srv6-pytorch-0", "srv6-pytorch-2"],
            prefixes: ["fcbb:0:800::/64", "fcbb:0:800:2::/64"],
            address: "fcbb:0:800:2::10",
            device: "net1",
            carriers: &[
                ["fcbb:0:1004:1000:1006:fe06::", "fcbb:0:1006:1000:1004:fe06::"],
                ["fcbb:0:1004:1001:1006:fe06::", "fcbb:0:1006:1001:1004:fe06::"],
                ["fcbb:0:1004:1002:1006:fe06::", "fcbb:0:1006:1002:1004:fe06::"],
            ],
        },
    );
}

#[test]
fn ipv4_goes_plain_and_by_carriers_over_the_ipv6_fabric() {
    let lab = up("2x2-dual-stack.json");
    all_reach_all(&lab, |i| format!("10.1.{i}.2"));
    all_reach_all(&lab, |i| format!("2001:db8:100{i}::2"));
    // Both hosts of one leaf: each has a function of its own there.
    for (to, functions) in [(2, ["e402", "e400"]), (3, ["e403", "e400"])] {
        let [there, back] = functions;
        each_carrier_takes_its_spine(
            &lab,
            &Pair {
                hosts: ["host00", &format!("host0{to}")],
                prefixes: ["10.1.0.2/32", &format!("10.1.{to}.2/32")],
                address: &format!("10.1.{to}.2"),
                device: "eth1",
                carriers: &[
                    [&format!("fc00:0:1200:1000:1201:{there}::"), &format!("fc00:0:1201:1000:1200:{back}::")],
                    [&format!("fc00:0:1200:1001:1201:{there}::"), &format!("fc00:0:1201:1001:1200:{back}::")],
                ],
            },
        );
    }
}

/// More uSIDs than one carrier holds: the second stands in a segment routing header.
#[test]
fn a_path_of_two_carriers_passes_the_header_on() {
    let lab = up("4x4.json");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host03").unwrap());
    let segments = "fc00:0:1200:1000:1201:1001:1202:1002,fc00:0:1203:fe06::";
    from.sh(&format!(
        "ip route replace 2001:db8:1003::/64 encap seg6 mode encap.red segs {segments} dev eth1"
    ))
    .unwrap();
    to.sh("ip route replace 2001:db8:1000::/64 encap seg6 mode encap.red segs fc00:0:1203:1003:1200:fe06:: dev eth1")
        .unwrap();
    let packets = spine_packets(&lab, || pings(from, "2001:db8:1003::2", 50));
    for (name, count) in packets {
        assert!((50..50 + NOISE).contains(&count), "{name} sent {count} packets");
    }
}

#[test]
fn plain_traffic_spreads_over_the_spines_by_ports() {
    let lab = up("4x4.json");
    lab.node("host01").unwrap().run(|| {
        let sink = std::net::UdpSocket::bind("[2001:db8:1001::2]:7").unwrap();
        std::thread::spawn(move || while sink.recv(&mut [0; 8]).is_ok_and(|n| n > 0) {});
    });
    let packets = spine_packets(&lab, || {
        lab.node("host00").unwrap().run(|| {
            for _ in 0..400 {
                let socket = std::net::UdpSocket::bind("[2001:db8:1000::2]:0").unwrap();
                socket.send_to(b"x", "[2001:db8:1001::2]:7").unwrap();
            }
            let last = std::net::UdpSocket::bind("[2001:db8:1000::2]:0").unwrap();
            last.send_to(b"", "[2001:db8:1001::2]:7").unwrap();
        });
    });
    // 400 flows, 100 a spine on average; a hash by addresses would put all of them on one.
    for (name, count) in packets {
        assert!((50..=170).contains(&count), "{name} sent {count} of 400 packets");
    }
}

#[test]
fn hosts_meet_on_the_management_network_without_touching_the_fabric() {
    let lab = up("4x4.json");
    assert_eq!(lab.management_address("host03").unwrap().to_string(), "198.18.0.13");
    let packets = spine_packets(&lab, || {
        for host in lab.hosts() {
            ping(host, "198.18.0.1");
            ping(host, "198.18.0.13");
            ping(lab.management(), &lab.management_address(host.name()).unwrap().to_string());
        }
    });
    assert!(packets.values().all(|&count| count < NOISE), "{packets:?}");
    let error = lab.management_address("leaf00").unwrap_err().to_string();
    assert_eq!(error, "no node \"leaf00\"; there are host00 host01 host02 host03 mgmt");
}

#[test]
fn switches_answer_with_icmp_errors() {
    let lab = up("4x4.json");
    // Two hops from host00, all paths over one spine: the spine says "time exceeded".
    let said = lab.node("host00").unwrap().sh("ping -n -c 1 -W 30 -t 2 2001:db8:1001::2 || true").unwrap();
    assert!(said.contains("From fd53:5236:6c61:6200::") && said.contains("Time exceeded"), "{said}");
}
