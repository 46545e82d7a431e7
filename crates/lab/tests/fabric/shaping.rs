//! Rates, MTUs and order of packets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use srv6_lab::{Lab, Mbps, Options};

use crate::support::{eventually, example, topology};

/// Goodput in Mbit/s of one TCP connection that sends for `time`.
///
/// From before the first byte is sent to after the last one is received, so that it is never more than the link carries, however
/// late a process gets to run.
fn goodput(lab: &Lab, from: &str, to: &str, address: &'static str, time: Duration) -> f64 {
    let began = Instant::now();
    let server = lab.node(to).unwrap().run(move || {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut buffer = vec![0; 1 << 20];
            let mut sum = 0u64;
            loop {
                match connection.read(&mut buffer).unwrap() {
                    0 => return sum as f64 * 8e-6 / began.elapsed().as_secs_f64(),
                    n => sum += n as u64,
                }
            }
        });
        (port, received)
    });
    let port = server.0;
    lab.node(from).unwrap().run(move || {
        let mut connection = TcpStream::connect((address, port)).unwrap();
        let buffer = vec![0; 256 << 10];
        while began.elapsed() < time {
            connection.write_all(&buffer).unwrap();
        }
    });
    server.1.join().unwrap()
}

/// Sends until `least` Mbit/s are reached, which other work on this machine may prevent for a while; never may it be more than `most`.
fn carries(lab: &Lab, to: (&str, &'static str), least: f64, most: f64) {
    let mut seen = Vec::new();
    for _ in 0..20 {
        let rate = goodput(lab, "host00", to.0, to.1, Duration::from_millis(1500));
        assert!(rate <= most, "host00 to {}: {rate:.1} Mbit/s, {most} at most", to.0);
        if rate >= least {
            return;
        }
        seen.push(rate);
    }
    panic!("host00 to {}: {seen:.1?} Mbit/s, {least} wanted", to.0);
}

fn mbps(rate: u32) -> Option<Mbps> {
    Some(Mbps::new(rate).unwrap())
}

#[test]
fn links_carry_their_rate_and_not_more() {
    let options = Options { rate_fabric: mbps(100), rate_host: mbps(400), ..Options::default() };
    let began = Instant::now();
    let lab = Lab::up(&example("2x4x4.json"), &options).unwrap();
    let took = began.elapsed();
    println!("2x4x4.json, shaped, up in {took:?}");

    // Over one spine at 100, inside a leaf at 400, and after a change to 50.
    let across = ("host04", "2001:db8:1004::2");
    let beside = ("host01", "2001:db8:1001::2");
    carries(&lab, across, 75.0, 105.0);
    carries(&lab, beside, 200.0, 420.0);
    lab.rate("host01-leaf00", mbps(50)).unwrap();
    carries(&lab, beside, 35.0, 54.0);

    // 5.6 MB at once into a queue of 0.4 MB, or as fast as this machine gets to it.
    eventually("a full queue drops", || {
        lab.node("host00").unwrap().run(|| {
            let socket = UdpSocket::bind("[2001:db8:1000::2]:0").unwrap();
            for _ in 0..4000 {
                socket.send_to(&[0; 1400], "[2001:db8:1001::2]:9").unwrap();
            }
        });
        let links = lab.links().unwrap();
        links.iter().any(|l| l.from == "leaf00" && l.to == "host01" && l.dropped > 100)
    });

    lab.rate("host01-leaf00", None).unwrap();
    let shown = lab.node("host01").unwrap().sh("tc qdisc show dev eth1").unwrap();
    assert!(shown.contains("noqueue"), "{shown}");
}

#[test]
fn packets_of_a_flow_stay_in_order() {
    if !std::path::Path::new("/proc/sys/net/core/rps_default_mask").exists() {
        // Where a user namespace can't steer receiving (before Linux 6.3), one CPU for everything keeps the order.
        let mut one = rustix::thread::CpuSet::new();
        one.set(0);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
    }
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let rate = goodput(&lab, "host00", "host01", "2001:db8:1001::2", Duration::from_secs(1));
    println!("unshaped, plain: {rate:.0} Mbit/s");
    // Each segment that overtakes another makes the receiver report it (RFC 2883) and the sender count it.
    let said =
        lab.node("host00").unwrap().sh("nstat -asz TcpOutSegs TcpRetransSegs TcpExtTCPSACKReorder").unwrap();
    let count = |name: &str| -> u64 {
        let line = said.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(count("TcpExtTCPSACKReorder"), 0, "{said}");
    // A busy machine loses some, and time-outs send some twice.
    assert!(count("TcpRetransSegs") <= 20 + count("TcpOutSegs") / 50, "{said}");
}

#[test]
fn every_node_handles_what_it_receives_on_one_cpu() {
    let lab = Lab::up(&example("3x3.json"), &Options::default()).unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    for node in lab.nodes() {
        let masks = node.sh("cat /sys/class/net/*/queues/rx-0/rps_cpus | sort -u").unwrap();
        let ones: Vec<u32> = masks
            .lines()
            .map(|mask| mask.chars().filter_map(|c| c.to_digit(16)).map(u32::count_ones).sum())
            .filter(|&ones| ones != 0)
            .collect();
        // Before Linux 6.3 only the machine's own root can steer, and a test is root of a user namespace.
        let steerable = cpus > 1 && std::path::Path::new("/proc/sys/net/core/rps_default_mask").exists();
        assert_eq!(ones, if steerable { vec![1] } else { vec![] }, "{}: {masks}", node.name());
    }
}

#[test]
fn each_link_has_the_mtu_of_its_documents() {
    let text = include_str!("../../../../examples/fabrics/4x4.json");
    let text = text.replacen("\"latency\": 1,", "\"latency\": 1, \"mtu\": 1400,", 1);
    let lab = Lab::up(&topology(&text), &Options { mtu: Some(9000), ..Options::default() }).unwrap();
    let of = |node: &str, interface: &str| {
        let shown = lab.node(node).unwrap().sh(&format!("ip -o link show dev {interface}")).unwrap();
        shown.split_whitespace().skip_while(|w| *w != "mtu").nth(1).unwrap().to_owned()
    };
    assert_eq!((of("leaf00", "spine00"), of("spine00", "leaf00")), ("1400".to_owned(), "1400".to_owned()));
    assert_eq!((of("leaf01", "spine00"), of("host00", "eth1")), ("9000".to_owned(), "9000".to_owned()));
    let host = lab.node("host00").unwrap();
    let large = |size: u32| format!("ping -n -c 1 -W 2 -M do -s {size} 2001:db8:1001::2");
    let route = "2001:db8:1001::/64 encap seg6 mode encap.red segs fc00:0:1200";
    // Answers too: plain forwarding hashes, with a key that each boot makes anew, and may take the small link.
    let back = "2001:db8:1000::/64 encap seg6 mode encap.red segs fc00:0:1201:1001:1200:fe06::";
    lab.node("host01").unwrap().sh(&format!("ip route replace {back} dev eth1")).unwrap();
    host.sh(&format!("ip route replace {route}:1001:1201:fe06:: dev eth1")).unwrap();
    host.sh(&large(8800)).unwrap();
    host.sh(&format!("ip route replace {route}:1000:1201:fe06:: dev eth1")).unwrap();
    host.sh(&large(1300)).unwrap();
    host.sh(&large(8800)).unwrap_err();
}
