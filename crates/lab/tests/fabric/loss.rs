//! Links that lose part of what they carry, and faults of one direction, judged by ping, TCP and the kernel's counters.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use srv6_lab::{Fault, Lab, LinkCounters, LinkState, Loss, Mbps, Node, Options};

use crate::support::{answered, example, pings};

const THERE: &str = "2001:db8:1001::2";

fn lossy(percent: f64) -> Fault {
    Fault::Lossy(Loss::percent(percent).unwrap())
}

fn link(lab: &Lab, from: &str, to: &str) -> LinkCounters {
    lab.links().unwrap().into_iter().find(|l| l.from == from && l.to == to).unwrap()
}

/// Pings without a wait in between; gives how many were answered.
fn flood(from: &Node, count: u32) -> u32 {
    let said = from.sh(&format!("ping -n -q -c {count} -i 0.001 -W 1 {THERE} || true")).unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    let position = words.iter().position(|w| *w == "received,").unwrap_or_else(|| panic!("{said}"));
    words[position - 1].parse().unwrap()
}

#[test]
fn a_lossy_link_loses_its_share_in_one_direction_only() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let from = lab.node("host00").unwrap();
    lab.fail_one_way("leaf00-host00", "host00", lossy(30.0)).unwrap();
    let before = link(&lab, "leaf00", "host00").dropped;
    // 30 % of 1000: five standard deviations are 72.
    let got = flood(from, 1000);
    assert!((628..=772).contains(&got), "{got} of 1000 answered");
    let there = link(&lab, "host00", "leaf00");
    // Beside the pings, the kernel's own multicast now and then.
    let lost = u64::from(1000 - got);
    assert!((lost..lost + 10).contains(&there.dropped), "{lost} lost packets are counted: {there:?}");
    assert_eq!(there.state, LinkState::Lossy);
    let back = link(&lab, "leaf00", "host00");
    assert_eq!((back.dropped, back.state), (before, LinkState::Up), "the other direction is fine");
    let rules = lab.node("leaf00").unwrap().sh("nft list ruleset").unwrap();
    assert!(
        rules.contains("device \"host00\"") && rules.contains("numgen random mod 10000 < 3000"),
        "{rules}"
    );

    lab.heal("leaf00-host00").unwrap();
    assert_eq!(link(&lab, "host00", "leaf00").state, LinkState::Up);
    assert_eq!(lab.node("leaf00").unwrap().sh("nft list ruleset").unwrap(), "");
    pings(from, THERE, 50);
}

#[test]
fn both_directions_of_a_link_can_be_lossy_and_the_loss_can_be_changed() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let from = lab.node("host00").unwrap();
    lab.fail("host00", lossy(50.0)).unwrap();
    // Answered if both directions let it pass: 25 % of 1000, five standard deviations are 68.
    let got = flood(from, 1000);
    assert!((182..=318).contains(&got), "{got} of 1000 answered");
    lab.fail("host00", lossy(100.0)).unwrap();
    assert_eq!(answered(from, THERE, 5), 0);
    // Another fault on top; healing ends both.
    lab.fail("host00", Fault::Silent).unwrap();
    lab.heal("leaf00").unwrap();
    assert!(lab.links().unwrap().iter().all(|l| l.state == LinkState::Up));
    pings(from, THERE, 20);
}

#[test]
fn a_lossy_link_carries_segments_and_not_packets_of_many() {
    let rate = Some(Mbps::new(400).unwrap());
    let options = Options { rate_fabric: rate, rate_host: rate, ..Options::default() };
    let lab = Lab::up(&example("4x4.json"), &options).unwrap();
    lab.fail_one_way("leaf00-host00", "host00", lossy(0.01)).unwrap();
    let port = lab.node("host01").unwrap().run(|| {
        let listener = TcpListener::bind((THERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()));
        port
    });
    lab.node("host00").unwrap().run(move || {
        let mut connection = TcpStream::connect((THERE, port)).unwrap();
        connection.write_all(&vec![0; 4 << 20]).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(connection.read(&mut [0]).unwrap(), 0, "all has arrived");
    });
    // Out of the host, wire-sized: 1428 bytes of payload in 1514 of frame. Whole packets elsewhere.
    let first = link(&lab, "host00", "leaf00");
    let size = first.bytes / first.packets;
    assert!((1200..=1514).contains(&size), "{first:?}");
    assert_eq!(
        first.wire_bytes.unwrap() / 1514,
        first.bytes / 1514,
        "each segment had its headers: {first:?}"
    );
}

#[test]
fn what_a_shaper_counts_has_the_headers_of_every_segment() {
    let rate = Some(Mbps::new(400).unwrap());
    let options = Options { rate_host: rate, ..Options::default() };
    let lab = Lab::up(&example("4x4.json"), &options).unwrap();
    let payload = 16 << 20;
    let port = lab.node("host01").unwrap().run(|| {
        let listener = TcpListener::bind((THERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()));
        port
    });
    lab.node("host00").unwrap().run(move || {
        let mut connection = TcpStream::connect((THERE, port)).unwrap();
        connection.write_all(&vec![0; payload]).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(connection.read(&mut [0]).unwrap(), 0, "all has arrived");
    });
    let first = link(&lab, "host00", "leaf00");
    // Ethernet 14, IPv6 40, TCP with time stamps 32, for each 1428 bytes; retransmissions and handshake beside it.
    let wanted = payload as u64 * 1514 / 1428;
    let wire = first.wire_bytes.unwrap();
    assert!((wanted..wanted + wanted / 20).contains(&wire), "{wire}, {wanted} wanted");
    assert!(first.bytes < wire, "the interface counts a packet of many segments once: {first:?}");
    assert_eq!(link(&lab, "leaf00", "spine00").wire_bytes, None, "not shaped");
}

#[test]
fn silence_in_one_direction_lets_the_other_through() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let (here, there) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    lab.fail_one_way("host00-leaf00", "leaf00", Fault::Silent).unwrap();
    assert_eq!(answered(here, THERE, 3), 0, "the answers vanish");
    let arrived = |node: &Node| -> u64 {
        let said = node.sh("nstat -asz Icmp6InEchos").unwrap();
        said.lines()
            .find(|l| l.starts_with("Icmp6InEchos"))
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(arrived(there), 3, "what host00 sends arrives");
    assert_eq!(link(&lab, "leaf00", "host00").state, LinkState::Silent);
    assert_eq!(link(&lab, "host00", "leaf00").state, LinkState::Up);
    lab.heal_all().unwrap();
    pings(here, THERE, 3);
}

#[test]
fn directions_that_make_no_sense_are_refused() {
    let lab = Lab::up(&example("2x2-dual-stack.json"), &Options::default()).unwrap();
    let error = lab.fail_one_way("leaf00-spine00", "leaf00", Fault::LinkDown).unwrap_err().to_string();
    assert!(error.starts_with("leaf00-spine00: a link that is down is down in both directions"), "{error}");
    for from in ["host00", "nosuch"] {
        let error = lab.fail_one_way("leaf00-spine00", from, Fault::Silent).unwrap_err().to_string();
        assert_eq!(error, format!("{from} is at no end of leaf00-spine00; want one of leaf00 spine00"));
    }
}

#[test]
fn one_node_is_asked_for_what_it_sent() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let before = lab.sent_by("host00").unwrap();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["leaf00"], "the management network is no part of it");
    pings(lab.node("host00").unwrap(), THERE, 10);
    let sent = lab.sent_by("host00").unwrap()["leaf00"] - before["leaf00"];
    // Ethernet 14, IPv6 40, ICMP 8, data 56; now and then the kernel's own multicast.
    assert!((10 * 118..10 * 118 + 500).contains(&sent), "{sent} bytes");
    assert_eq!(lab.sent_by("leaf00").unwrap().len(), 5, "one host, four spines");
    assert!(lab.sent_by("nosuch").is_err());
}
