//! Agents end and begin in a host whose data interface belongs to VPP. A stand-in for VPP is the judge.

use srv6_vpp_standin::{Setup, StandIn};

use crate::client::Client;
use crate::scene::{Scene, TO_HOST01, TO_HOST02};

pub(crate) const TESTS: &[(&str, fn())] =
    &[("the_next_agent_takes_over_what_vpp_has_and_removes_what_nobody_wants", taken_over)];

fn taken_over() {
    let mut scene = Scene::without_agent();
    let setup = Setup::of_host("2001:db8:1000::2".parse().unwrap());
    let mut vpp = StandIn::start(&scene.path("api.sock"), setup).unwrap();
    let socket = vpp.socket().to_str().unwrap().to_owned();
    let flags = ["--route-platform", "vpp", "--srv6-vpp-socket", &socket, "--srv6d-grace-s", "1"];
    let served = |vpp: &StandIn| vpp.served().get("sr_steering_add_del").copied().unwrap_or(0);
    scene.start_agent_in("host00", &flags);
    let one = Client::unprivileged(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    let other = Client::unprivileged(scene.host("host00"), &scene.socket(), &[TO_HOST02]);
    one.ready(1);
    other.ready(1);
    let steering = vpp.steering();
    assert_eq!((steering.len(), scene.routes("host00").as_str()), (2, ""));

    scene.kill_agent();
    assert_eq!(vpp.steering(), steering);
    other.kill();
    scene.start_agent_in("host00", &flags);
    scene.eventually("it is registered again", || {
        let flows = scene.flows();
        flows.len() == 1 && flows[0]["state"] == "ready"
    });
    scene
        .eventually("the dead job's flow is gone", || vpp.steering().len() == 1 && vpp.policies().len() == 1);
    let (left, changed) = (vpp.steering(), served(&vpp));
    assert!(steering.iter().any(|entry| left.iter().next() == Some(entry)), "{left:?} of {steering:?}");
    assert_eq!(changed, 3, "two were set and one removed; what was right was touched");

    // An agent that is stopped takes its leave; one that is started with --flush takes all along.
    let leaves = vpp.served().get("sockclnt_delete").copied().unwrap_or(0);
    scene.stop_agent();
    assert_eq!((vpp.steering(), vpp.served()["sockclnt_delete"]), (left.clone(), leaves + 1));
    vpp.kill();
    vpp.revive().unwrap();
    let flush: Vec<&str> = flags.iter().copied().chain(["--flush"]).collect();
    scene.start_agent_in("host00", &flush);
    scene.eventually("VPP has it again", || vpp.steering() == left);
    scene.stop_agent();
    assert!(vpp.steering().is_empty() && vpp.policies().is_empty());
    assert_eq!(vpp.abuse(), None);
    drop(one);
}
