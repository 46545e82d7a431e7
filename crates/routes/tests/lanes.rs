//! Lane tables in a real kernel, with `ip` as the judge: rules, the routes behind them, and who holds them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helper functions fail as tests do"
)]

mod scene;

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use scene::{PATIENCE, in_namespace, sh};
use srv6_fabric::{Family, Flow, Prefix, Segments};
use srv6_routes::{
    Dataplane, DryRun, EncapMode, Holders, LaneRules, LinuxRoutes, Match, Missing, Pinning, Route,
    RouteError, RouteKey, Rule, RuleKey, Selector, Slot, Target, collect_garbage, pinning,
};

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn rules() -> String {
    sh("(ip -6 rule show; ip -4 rule show) | grep -w 'proto 83' || true")
}

fn flow(family: Family) -> Flow {
    let (src, dst) = match family {
        Family::V6 => ("2001:db8:1000::2", "2001:db8:1001::2"),
        Family::V4 => ("10.1.0.2", "10.1.3.2"),
    };
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

fn route(kernel: &mut LinuxRoutes, table: u32, flow: Flow) -> Route {
    Route {
        key: RouteKey { table, destination: Prefix::host(flow.dst) },
        interface: kernel.interface_of(flow.src).unwrap().index,
        source: Some(flow.src),
        mtu: Some(1400),
        target: Target::Encap {
            mode: EncapMode::Reduced,
            segments: Segments::new(vec!["fc00:0:1200:1000:1201:fe06::".parse().unwrap()]).unwrap(),
        },
    }
}

#[test]
fn rules_are_set_once_and_are_what_ip_shows() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let before = sh("ip -6 rule show; ip -4 rule show");
        let keys = [
            RuleKey { slot: slot(0), pinning: Pinning::Mark },
            RuleKey { slot: slot(3), pinning: Pinning::Ports },
        ];
        let all: Vec<Rule> = keys.iter().flat_map(|key| key.rules()).collect();
        for _ in 0..3 {
            for rule in &all {
                kernel.set_rule(rule).unwrap();
            }
        }
        let want = "\
5000:	from all fwmark 0x53520000 lookup 1397882880 proto 83
5103:	from all ipproto tcp sport 21248-21503 lookup 1397882883 proto 83
5203:	from all ipproto tcp dport 21248-21503 lookup 1397882883 proto 83
";
        assert_eq!(rules(), format!("{want}{want}"));
        let mut found = kernel.owned_rules().unwrap();
        let mut sorted = all.clone();
        found.sort();
        sorted.sort();
        assert_eq!(found, sorted);
        for _ in 0..2 {
            for rule in &all {
                kernel.remove_rule(rule).unwrap();
            }
        }
        assert_eq!(sh("ip -6 rule show; ip -4 rule show"), before);
    });
}

#[test]
fn an_operators_rules_are_not_touched() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        // The same place and the same words, but another protocol; and our protocol in other words.
        let rule = Rule { slot: slot(1), family: Family::V6, matches: Match::Mark };
        sh("ip -6 rule add priority 5001 fwmark 0x53520001/0xffffffff lookup 1397882881 protocol static");
        sh("ip -6 rule add priority 5001 from 2001:db8:7::/64 lookup 1397882881");
        sh("ip -6 rule add priority 77 fwmark 0x7 lookup 1397882881 protocol 83");
        let before = sh("ip -6 rule show");
        assert_eq!(kernel.owned_rules().unwrap(), []);
        kernel.remove_rule(&rule).unwrap();
        assert_eq!(sh("ip -6 rule show"), before);
        kernel.set_rule(&rule).unwrap();
        assert_eq!(kernel.owned_rules().unwrap(), [rule]);
        let garbage = collect_garbage(&mut kernel, PATIENCE).unwrap();
        assert_eq!(garbage.removed_rules, [rule]);
        assert_eq!(sh("ip -6 rule show"), before);
    });
}

#[test]
fn marks_and_ports_lead_to_the_table_and_other_sockets_do_not() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        sh("ip -6 route add default via 2001:db8:1000::1 && ip -4 route add default via 10.1.0.1");
        let slot = slot(2);
        for family in [Family::V6, Family::V4] {
            let flow = flow(family);
            let route = route(&mut kernel, slot.table(), flow);
            kernel.set(&route).unwrap();
            let by = [
                (Pinning::Mark, Selector::Mark(slot.mark())),
                (Pinning::Ports, Selector::SourcePort(*slot.ports().start())),
                (Pinning::Ports, Selector::SourcePort(*slot.ports().end())),
            ];
            for (pinning, selector) in by {
                let key = RuleKey { slot, pinning };
                let error = kernel.takes_by(flow, selector, &route.key).unwrap_err();
                assert!(matches!(error, RouteError::Shadowed { .. }), "{error}");
                for rule in key.rules() {
                    kernel.set_rule(&rule).unwrap();
                }
                kernel.takes_by(flow, selector, &route.key).unwrap();
                for rule in key.rules() {
                    kernel.remove_rule(&rule).unwrap();
                }
            }
            for rule in
                [Pinning::Mark, Pinning::Ports].iter().flat_map(|&pinning| RuleKey { slot, pinning }.rules())
            {
                kernel.set_rule(&rule).unwrap();
            }
            for other in [
                Selector::Mark(slot.mark() + 1),
                Selector::Mark(1),
                Selector::SourcePort(*slot.ports().start() - 1),
                Selector::SourcePort(*slot.ports().end() + 1),
            ] {
                kernel.takes_by(flow, other, &route.key).unwrap_err();
            }
            kernel.takes(flow, &route.key).unwrap_err();
            // The judge's own word, acknowledgements of a peer bound to these ports included.
            let (flag, dst) = (if family == Family::V6 { "-6" } else { "-4" }, flow.dst);
            for by in ["mark 0x53520002", "ipproto tcp sport 21000", "ipproto tcp dport 21000"] {
                let shown = sh(&format!("ip {flag} route get {dst} from {} {by}", flow.src));
                assert!(shown.contains("encap seg6") && shown.contains("table 1397882882"), "{by}: {shown}");
            }
            let shown = sh(&format!("ip {flag} route get {dst} from {} ipproto udp sport 21000", flow.src));
            assert!(!shown.contains("encap"), "{shown}");
            for rule in kernel.owned_rules().unwrap() {
                kernel.remove_rule(&rule).unwrap();
            }
        }
        // An empty table falls through.
        for rule in (RuleKey { slot, pinning: Pinning::Mark }).rules() {
            kernel.set_rule(&rule).unwrap();
        }
        for route in kernel.owned().unwrap() {
            kernel.remove(&route.key).unwrap();
        }
        assert!(sh("ip -6 route get 2001:db8:1001::2 mark 0x53520002").contains("via 2001:db8:1000::1"));
    });
}

#[test]
fn a_way_to_the_block_is_copied_with_its_router() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let reach = kernel.reach("fc00:0:1200::".parse().unwrap()).unwrap().unwrap();
        assert_eq!(reach.gateway, Some(IpAddr::V6("2001:db8:1000::1".parse().unwrap())));
        assert_eq!(Some(reach.interface), kernel.interface_named("eth1").ok().map(|i| i.index));
        // Two equal ways: the first will do.
        sh(
            "ip -6 route add fcbb:0::/32 nexthop via 2001:db8:1000::7 dev eth1 nexthop via 2001:db8:1000::8 dev eth1",
        );
        let gateway =
            kernel.reach("fcbb:0:1::".parse().unwrap()).unwrap().unwrap().gateway.unwrap().to_string();
        assert!(["2001:db8:1000::7", "2001:db8:1000::8"].contains(&gateway.as_str()), "{gateway}");
        sh("ip -6 route add fccc:0::/32 dev eth1");
        assert_eq!(kernel.reach("fccc:0:1::".parse().unwrap()).unwrap().unwrap().gateway, None);
    });
}

#[test]
fn a_dry_run_prints_the_rules_that_ip_would_make() {
    in_namespace(|| {
        let mut dry = DryRun::new().unwrap();
        let mut kernel = LinuxRoutes::new().unwrap();
        let before = sh("ip -6 rule show; ip -4 rule show");
        let all: Vec<Rule> = [Pinning::Mark, Pinning::Ports]
            .into_iter()
            .flat_map(|pinning| RuleKey { slot: slot(9), pinning }.rules())
            .collect();
        for rule in &all {
            dry.set_rule(rule).unwrap();
        }
        assert_eq!(dry.owned_rules().unwrap().len(), all.len());
        assert_eq!(sh("ip -6 rule show; ip -4 rule show"), before);
        for rule in &all {
            sh(&rule.command());
        }
        assert_eq!(kernel.owned_rules().unwrap().len(), all.len(), "{}", rules());
        for rule in &all {
            dry.remove_rule(rule).unwrap();
            sh(&rule.removal());
        }
        assert_eq!(dry.owned_rules().unwrap(), []);
        assert_eq!(sh("ip -6 rule show; ip -4 rule show"), before);
    });
}

/// A process that holds rules, as a rank does, and waits to be killed: this test binary, when the variable is set.
const HOLDER: &str = "SRV6_TEST_RULE_HOLDER";

#[test]
fn rules_stay_while_one_process_holds_them() {
    let key = RuleKey { slot: slot(4), pinning: Pinning::Mark };
    if std::env::vars().any(|(name, _)| name == HOLDER) {
        let lock = Holders.lock(PATIENCE).unwrap();
        let _hold = Holders.hold_rule(&lock, &key).unwrap();
        drop(lock);
        println!("held");
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    in_namespace(move || {
        let mut kernel = LinuxRoutes::new().unwrap();
        for rule in key.rules() {
            kernel.set_rule(&rule).unwrap();
        }
        let mut rank = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "rules_stay_while_one_process_holds_them", "--nocapture"])
            .env(HOLDER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = std::io::BufReader::new(rank.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("held") {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut words, &mut line).unwrap() > 0, "the holder ended");
        }
        let before = rules();
        let garbage = collect_garbage(&mut kernel, PATIENCE).unwrap();
        assert_eq!((garbage.removed_rules.len(), garbage.kept_rules.len()), (0, 2));
        assert_eq!(rules(), before);
        let lock = Holders.lock(PATIENCE).unwrap();
        let counts = Holders.count(&lock).unwrap();
        assert_eq!(counts.of_rule(&key), 1);
        assert_eq!(counts.of_rule(&RuleKey { pinning: Pinning::Ports, ..key }), 0);
        drop(lock);
        rank.kill().unwrap();
        rank.wait().unwrap();
        let garbage = collect_garbage(&mut kernel, PATIENCE).unwrap();
        assert_eq!((garbage.removed_rules.len(), garbage.kept_rules.len()), (2, 0));
        assert_eq!(rules(), "");
    });
}

#[test]
fn what_works_here_is_found_out_without_changing_anything() {
    in_namespace(|| {
        let before = sh("ip -6 rule show; ip -4 rule show");
        let report = pinning(Some("eth1")).unwrap();
        for pinning in [Pinning::Mark, Pinning::Ports, Pinning::RoutingHeader] {
            assert_eq!(report.of(pinning).missing, [], "{pinning}");
        }
        let settings: Vec<String> =
            report.accepts_routing_header.missing.iter().map(ToString::to_string).collect();
        assert_eq!(settings.len(), 2, "{settings:?}");
        assert!(settings[0].contains("sysctl -w net.ipv6.conf.all.seg6_enabled=1"), "{settings:?}");
        assert!(settings[1].contains("sysctl -w net.ipv6.conf.eth1.seg6_enabled=1"), "{settings:?}");
        sh("echo 1 > /proc/sys/net/ipv6/conf/all/seg6_enabled");
        let one = pinning(Some("eth1")).unwrap().accepts_routing_header.missing;
        assert_eq!(
            one,
            [Missing::HeaderAcceptance { setting: "net.ipv6.conf.eth1.seg6_enabled".to_owned() }]
        );
        sh("echo 1 > /proc/sys/net/ipv6/conf/eth1/seg6_enabled");
        assert!(pinning(Some("eth1")).unwrap().accepts_routing_header.works());

        std::thread::scope(|scope| {
            let unprivileged = scope.spawn(|| {
                drop_capabilities();
                let report = pinning(None).unwrap();
                assert!(matches!(
                    report.mark.missing.as_slice(),
                    [Missing::MarkPermission { errno: libc::EPERM }, Missing::RulePermission]
                ));
                assert_eq!(report.ports.missing, [Missing::RulePermission]);
                assert!(report.routing_header.works());
            });
            unprivileged.join().unwrap();
        });
        // Rules that somebody made are as good as the permission to make them.
        let mut kernel = LinuxRoutes::new().unwrap();
        for rule in (RuleKey { slot: slot(0), pinning: Pinning::Ports }).rules() {
            kernel.set_rule(&rule).unwrap();
        }
        std::thread::spawn(|| {
            drop_capabilities();
            assert!(pinning(None).unwrap().ports.works());
        })
        .join()
        .unwrap();
        for rule in kernel.owned_rules().unwrap() {
            kernel.remove_rule(&rule).unwrap();
        }
        assert_eq!(sh("ip -6 rule show; ip -4 rule show"), before);
    });
}

/// Capabilities are a thread's own: this one loses all of them.
fn drop_capabilities() {
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    // SAFETY: capset(2) reads a header of two and data of six 32-bit words for this version, both alive here.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
