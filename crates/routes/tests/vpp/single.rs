//! One flow, or a few.

use std::net::Ipv6Addr;

use srv6_fabric::Flow;
use srv6_routes::vpp::message::{
    AddPolicy, DeletePolicy, ListChange, ModifyPolicy, PolicyListsDump, SegmentList, Steer,
};
use srv6_routes::vpp::{VppConfig, VppError, VppRoutes, meaning};
use srv6_routes::{Dataplane, RouteError};

use crate::Test;
use crate::place::{Place, route, source};

pub(crate) const TESTS: &[Test] = &[
    Test("the_handshake_gives_version_and_messages", handshake),
    Test("what_is_set_is_what_vpp_has_and_what_is_read_back", set_and_read),
    Test("flows_of_one_path_share_a_policy_and_the_last_takes_it_along", shared),
    Test("a_policy_that_another_process_took_along_is_made_again", made_again),
    Test("another_path_is_there_before_the_old_one_goes", moved),
    Test("several_paths_get_flows_by_weight", weighted),
    Test("nobody_elses_policy_is_touched", foreign),
    Test("packets_take_what_was_set", taken),
    Test("refusals_are_vpps_own_and_say_what_to_do", refusals),
    Test("numbers_of_errors_are_vpps", numbers),
];

const ONE: &str = "fc00:0:1200:1001:1201:fe06::";
const OTHER: &str = "fc00:0:1200:1000:1201:fe06::";

fn handshake(place: &Place) {
    let mut client = place.client();
    assert!(client.messages() > 800, "{}", client.messages());
    assert!(!client.version().unwrap().is_empty());
}

fn set_and_read(place: &Place) {
    let mut vpp = place.routes();
    for (destination, carriers) in [
        ("2001:db8:1001::2/128", &[ONE][..]),
        ("10.1.3.2/32", &[OTHER][..]),
        ("2001:db8:2000::/48", &[ONE, OTHER][..]),
        ("10.7.0.0/16", &[ONE, OTHER][..]),
    ] {
        let wanted = route(destination, carriers);
        assert_eq!(vpp.find(&wanted.key).unwrap(), None);
        vpp.set(&wanted).unwrap();
        vpp.set(&wanted).unwrap();
        let segments: Vec<Ipv6Addr> = carriers.iter().map(|carrier| carrier.parse().unwrap()).collect();
        assert_eq!(place.lists_to(destination), [SegmentList { weight: 1, segments }]);
        assert_eq!(vpp.find(&wanted.key).unwrap(), Some(wanted.clone()));
        assert!(vpp.owned().unwrap().contains(&wanted));
        assert_eq!(vpp.as_kept(&wanted), wanted);
        place.assert_shown("show sr steering-policies", destination, true);
    }
    for policy in place.policies().values() {
        assert_eq!((policy.source, policy.encap, policy.kind), (source(), true, 0));
        place.assert_shown("show sr policies", &policy.bsid.to_string(), true);
    }
    for route in vpp.owned().unwrap() {
        vpp.remove(&route.key).unwrap();
        vpp.remove(&route.key).unwrap();
        place.assert_shown("show sr steering-policies", &route.key.destination.to_string(), false);
    }
    assert_eq!((place.policies().len(), place.steering().len()), (0, 0));
}

fn shared(place: &Place) {
    let mut vpp = place.routes();
    for host in 2..5 {
        vpp.set(&route(&format!("2001:db8:1001::{host}/128"), &[ONE])).unwrap();
    }
    vpp.set(&route("10.1.3.2/32", &[ONE])).unwrap();
    assert_eq!((place.policies().len(), place.steering().len()), (1, 4));
    // Another process finds the policy instead of making one more.
    place.routes().set(&route("2001:db8:1001::9/128", &[ONE])).unwrap();
    assert_eq!((place.policies().len(), place.steering().len()), (1, 5));
    for route in vpp.owned().unwrap() {
        assert_eq!(place.policies().len(), 1);
        vpp.remove(&route.key).unwrap();
    }
    assert_eq!((place.policies().len(), place.steering().len()), (0, 0));
}

fn made_again(place: &Place) {
    let (mut one, mut other) = (place.routes(), place.routes());
    let first = route("2001:db8:1001::2/128", &[ONE]);
    one.set(&first).unwrap();
    let before = place.policies();
    other.remove(&first.key).unwrap();
    assert!(place.policies().is_empty());
    // What is remembered here is no longer so.
    let second = route("2001:db8:1001::3/128", &[ONE]);
    one.set(&second).unwrap();
    assert_eq!(place.policies(), before, "the same policy by the same name");
    assert_eq!(one.owned().unwrap(), [second]);
}

fn moved(place: &Place) {
    let mut vpp = place.routes();
    let destination = "2001:db8:1001::2/128";
    vpp.set(&route(destination, &[ONE])).unwrap();
    vpp.set(&route("2001:db8:1001::3/128", &[ONE])).unwrap();
    vpp.set(&route(destination, &[OTHER])).unwrap();
    assert_eq!(place.lists_to(destination)[0].segments, [OTHER.parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(place.lists_to("2001:db8:1001::3/128")[0].segments, [ONE.parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(place.policies().len(), 2);
    vpp.set(&route(destination, &[ONE])).unwrap();
    assert_eq!(place.policies().len(), 1, "the policy that lost its flow goes");
}

fn weighted(place: &Place) {
    let mut vpp = place.routes();
    let list = |weight, carrier: &str| SegmentList { weight, segments: vec![carrier.parse().unwrap()] };
    let wanted = route("2001:db8:1001::2/128", &[OTHER]);
    vpp.set_weighted(&wanted, &[list(1, ONE), list(3, OTHER)]).unwrap();
    let mut lists = place.lists_to("2001:db8:1001::2/128");
    lists.sort();
    assert_eq!(lists, [list(1, ONE), list(3, OTHER)]);
    vpp.set_weighted(&wanted, &[list(3, OTHER), list(1, ONE)]).unwrap();
    assert_eq!(place.policies().len(), 1, "the order of lists is no difference");
    vpp.set_weighted(&wanted, &[list(2, OTHER), list(1, ONE)]).unwrap();
    let mut lists = place.lists_to("2001:db8:1001::2/128");
    lists.sort();
    assert_eq!(lists, [list(1, ONE), list(2, OTHER)]);
    vpp.set(&wanted).unwrap();
    assert_eq!(place.lists_to("2001:db8:1001::2/128"), [list(1, OTHER)]);
    assert_eq!(place.policies().len(), 1);
}

fn foreign(place: &Place) {
    let bsid: Ipv6Addr = "fc00::9:1".parse().unwrap();
    let prefix = "2001:db8:1001::7/128".parse().unwrap();
    let list = SegmentList { weight: 1, segments: vec![ONE.parse().unwrap()] };
    let mut client = place.client();
    let theirs = AddPolicy { bsid, list: list.clone(), source: source() };
    assert_eq!(client.call(&theirs).unwrap().retval, 0);
    assert_eq!(client.call(&Steer { delete: false, bsid, table: 0, prefix }).unwrap().retval, 0);
    let mut vpp = place.routes();
    let ours = route("2001:db8:1001::7/128", &[OTHER]);
    let error = vpp.set(&ours).unwrap_err();
    assert!(matches!(error, RouteError::Vpp(VppError::Occupied { bsid: of, .. }) if of == bsid), "{error}");
    assert_eq!(vpp.find(&ours.key).unwrap(), None);
    vpp.remove(&ours.key).unwrap();
    vpp.set(&route("2001:db8:1001::8/128", &[ONE])).unwrap();
    assert_eq!(vpp.owned().unwrap(), [route("2001:db8:1001::8/128", &[ONE])]);
    vpp.remove(&route("2001:db8:1001::8/128", &[ONE]).key).unwrap();
    let all = client.dump(&srv6_routes::vpp::message::SteeringDump).unwrap();
    assert!(all.iter().any(|s| s.bsid == bsid && s.prefix == Some((0, prefix))), "{all:?}");
    place.clear_foreign(bsid, prefix);
}

fn taken(place: &Place) {
    let mut vpp = place.routes();
    for (destination, packet, src) in [
        ("2001:db8:1001::2/128", "2001:db8:1001::2", "2001:db8:1000::2"),
        ("10.1.3.0/24", "10.1.3.77", "10.1.0.2"),
    ] {
        let flow = Flow { src: src.parse().unwrap(), dst: packet.parse().unwrap() };
        let wanted = route(destination, &[ONE]);
        let error = vpp.takes(flow, &wanted.key).unwrap_err();
        assert!(matches!(error, RouteError::Shadowed { .. }), "{error}");
        vpp.set(&wanted).unwrap();
        vpp.takes(flow, &wanted.key).unwrap();
        let closer = route(&format!("{packet}/{}", if packet.contains(':') { 128 } else { 32 }), &[OTHER]);
        if closer.key != wanted.key {
            vpp.set(&closer).unwrap();
            let error = vpp.takes(flow, &wanted.key).unwrap_err();
            assert!(matches!(error, RouteError::Shadowed { .. }), "{error}");
            vpp.takes(flow, &closer.key).unwrap();
        }
    }
}

fn refusals(place: &Place) {
    let mut vpp = place.routes();
    let many: Vec<String> = (1..=17).map(|n| format!("fc00:0:{n}::")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    vpp.set(&route("2001:db8:1001::2/128", &many[..16])).unwrap();
    assert_eq!(place.lists_to("2001:db8:1001::2/128")[0].segments.len(), 16);
    let error = vpp.set(&route("2001:db8:1001::3/128", &many)).unwrap_err();
    assert!(error.to_string().starts_with("17 segments to 2001:db8:1001::3/128"), "{error}");

    for destination in ["2001:db8:1001::3/128", "10.1.3.3/32"] {
        let mut elsewhere = route(destination, &[ONE]);
        elsewhere.key.table = 987_654;
        let error = vpp.set(&elsewhere).unwrap_err();
        assert!(matches!(error, RouteError::Vpp(VppError::UnknownTable { table: 987_654, .. })), "{error}");
    }
    let mut unknown = VppRoutes::new(VppConfig { source: None, ..place.config() });
    let error = unknown.set(&route("10.1.3.3/32", &[ONE])).unwrap_err();
    assert!(matches!(error, RouteError::Vpp(VppError::NoEncapSource { .. })), "{error}");
    assert_eq!(place.policies().len(), 1, "nothing is half done");
}

fn numbers(place: &Place) {
    let mut client = place.client();
    let bsid: Ipv6Addr = "fd53:5256:36:c4ec::9".parse().unwrap();
    let list = SegmentList { weight: 1, segments: vec![ONE.parse().unwrap()] };
    let add = AddPolicy { bsid, list: list.clone(), source: source() };
    let prefix = "2001:db8:1001::2/128".parse().unwrap();
    assert_eq!(client.call(&DeletePolicy(bsid)).unwrap().retval, -1);
    assert_eq!(client.call(&Steer { delete: false, bsid, table: 0, prefix }).unwrap().retval, -2);
    assert_eq!(client.call(&Steer { delete: true, bsid, table: 0, prefix }).unwrap().retval, -4);
    assert_eq!(client.call(&add).unwrap().retval, 0);
    assert_eq!(client.call(&add).unwrap().retval, -12);
    let change = |change| ModifyPolicy { bsid, change, source: source() };
    let index = client.dump(&PolicyListsDump).unwrap().iter().find(|p| p.bsid == bsid).unwrap().lists[0].0;
    assert_eq!(client.call(&change(ListChange::Delete(index))).unwrap().retval, -21);
    assert_eq!(client.call(&change(ListChange::Weight(index, 7))).unwrap().retval, 0);
    assert_eq!(place.policies()[&bsid].lists, [SegmentList { weight: 7, ..list.clone() }]);
    assert_eq!(client.call(&change(ListChange::Add(list))).unwrap().retval, 0);
    assert_eq!(client.call(&change(ListChange::Weight(u32::MAX, 7))).unwrap().retval, -32);
    assert_eq!(meaning("sr_policy_mod_v2", -21), "it is the policy's only segment list");
    assert_eq!(client.call(&DeletePolicy(bsid)).unwrap().retval, 0);
}
