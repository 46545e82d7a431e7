//! Many flows, several processes.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use srv6_routes::vpp::message::{AddPolicy, DeletePolicy, Reply, SegmentList};
use srv6_routes::{Dataplane, Holders, Plan, Route, RouteKey, collect_garbage, plan};

use crate::Test;
use crate::place::{Place, route, source};

pub(crate) const TESTS: &[Test] = &[
    Test("a_plan_is_carried_out_at_once", planned),
    Test("what_an_earlier_process_left_is_adopted_or_collected", adopted),
    Test("clients_at_once_leave_what_each_of_them_wanted", concurrent),
    Test("answers_come_in_the_order_of_the_requests", ordered),
    Test("clients_that_come_and_go_leave_nothing_behind", passing),
];

const PATIENCE: Duration = Duration::from_secs(60);

fn wanted(count: u16, shift: u16) -> BTreeMap<RouteKey, Route> {
    let one = |host: u16| {
        let carrier = format!("fc00:0:1200:{:x}:1201:fe06::", 0x1000 + (host + shift) % 100);
        let route = route(&format!("2001:db8:1001::{host:x}/128"), &[&carrier]);
        (route.key, route)
    };
    (1..=count).map(one).collect()
}

fn planned(place: &Place) {
    let mut vpp = place.routes();
    let first = wanted(300, 0);
    let change = plan(&first, &vpp.owned().unwrap());
    assert_eq!(change.set.len(), 300);
    assert!(vpp.apply(&change).is_empty());
    assert_eq!((place.policies().len(), place.steering().len()), (100, 300));
    assert_eq!(plan(&first, &vpp.owned().unwrap()), Plan::default());

    // Every flow goes elsewhere, half of them go.
    let second = wanted(150, 1);
    let change = plan(&second, &vpp.owned().unwrap());
    assert!(vpp.apply(&change).is_empty());
    assert_eq!((place.policies().len(), place.steering().len()), (100, 150));
    assert_eq!(plan(&second, &vpp.owned().unwrap()), Plan::default());

    // What can't be done doesn't stop the rest.
    let mut bad = route("2001:db8:1001::ffff/128", &["fc00:0:1::"]);
    bad.key.table = 987_654;
    let good = route("2001:db8:1001::fffe/128", &["fc00:0:1::"]);
    let failed = vpp.apply(&Plan { set: vec![bad.clone(), good.clone()], remove: Vec::new() });
    assert_eq!(failed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [bad.key]);
    assert_eq!(vpp.find(&good.key).unwrap(), Some(good));
}

fn adopted(place: &Place) {
    let mut before = place.routes();
    let routes = wanted(20, 0);
    assert!(before.apply(&plan(&routes, &[])).is_empty());
    drop(before);
    let mut after = place.routes();
    let lock = Holders.lock(PATIENCE).unwrap();
    let (held, route) = routes.iter().next().unwrap();
    let hold = Holders.hold(&lock, held).unwrap();
    drop(lock);
    let garbage = collect_garbage(&mut after, PATIENCE).unwrap();
    assert_eq!((garbage.removed.len(), garbage.kept.len(), garbage.failed.len()), (19, 1, 0));
    assert_eq!(after.owned().unwrap(), std::slice::from_ref(route));
    assert_eq!(place.policies().len(), 1);
    drop(hold);
}

fn concurrent(place: &Place) {
    std::thread::scope(|scope| {
        for client in 0..4u16 {
            let config = place.config();
            scope.spawn(move || {
                let mut vpp = srv6_routes::vpp::VppRoutes::new(config);
                for host in 0..25u16 {
                    // All clients use the same ten paths, and take some of their flows away again.
                    let carrier = format!("fc00:0:{:x}::", 1 + host % 10);
                    let route = route(&format!("2001:db8:{:x}::{host:x}/128", 0x1001 + client), &[&carrier]);
                    let lock = Holders.lock(PATIENCE).unwrap();
                    vpp.set(&route).unwrap();
                    if host % 3 == 0 {
                        vpp.remove(&route.key).unwrap();
                    }
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(place.steering().len(), 4 * 16);
    assert!(place.policies().len() <= 10, "{}", place.policies().len());
    let mut vpp = place.routes();
    for route in vpp.owned().unwrap() {
        let last = route.key.destination.to_string();
        let host = last
            .rsplit_once("::")
            .map_or(0, |(_, host)| u16::from_str_radix(host.trim_end_matches("/128"), 16).unwrap());
        let expected: Ipv6Addr = format!("fc00:0:{:x}::", 1 + host % 10).parse().unwrap();
        assert_eq!(place.lists_to(&last)[0].segments, [expected]);
    }
}

fn passing(place: &Place) {
    // A VPP that isn't told keeps each of them, and does nothing any more after the sixteenth.
    for _ in 0..40 {
        assert_eq!(place.routes().policies().unwrap(), 0);
    }
    assert!(place.client().version().is_ok());
}

fn ordered(place: &Place) {
    let mut client = place.client();
    let bsid = |n: u32| {
        Ipv6Addr::from(u128::from("fd53:5256:36:c4ec::".parse::<Ipv6Addr>().unwrap()) + u128::from(n))
    };
    let list = SegmentList { weight: 1, segments: vec!["fc00:0:1::".parse().unwrap()] };
    // Each third is there already when its turn comes.
    let add: Vec<AddPolicy> = (0..500u32)
        .map(|n| AddPolicy {
            bsid: bsid(1 + n - u32::from(n % 3 == 2)),
            list: list.clone(),
            source: source(),
        })
        .collect();
    let codes: Vec<i32> = client.call_all(&add).unwrap().iter().map(Reply::retval).collect();
    let expected: Vec<i32> = (0..500).map(|n| if n % 3 == 2 { -12 } else { 0 }).collect();
    assert_eq!(codes, expected);
    let delete: Vec<DeletePolicy> = add.iter().map(|a| DeletePolicy(a.bsid)).collect();
    let codes: Vec<i32> = client.call_all(&delete).unwrap().iter().map(Reply::retval).collect();
    let expected: Vec<i32> = (0..500).map(|n| if n % 3 == 2 { -1 } else { 0 }).collect();
    assert_eq!(codes, expected);
}
