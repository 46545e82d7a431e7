//! Processes without rights get their routes, and only what is theirs.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use srv6_routes::Slot;

use crate::client::Client;
use crate::scene::{Scene, TO_HOST01, TO_HOST02};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_process_without_rights_is_steered_in_its_own_namespace", unprivileged),
    ("jobs_share_a_route_and_a_killed_one_leaves_nothing", shared),
    ("a_source_that_the_namespace_does_not_own_is_refused", foreign_source),
    ("lanes_go_by_ports_for_a_process_that_may_not_mark", lanes),
    ("sockets_are_marked_by_the_agent", marked),
    ("a_namespace_is_left_with_its_last_process", left_namespace),
    ("a_sidecar_steers_its_pod_with_one_right_and_blindly", sidecar),
    ("a_flag_that_is_wrong_is_named", wrong_flag),
    ("check_says_what_there_is", check),
];

fn unprivileged() {
    let scene = Scene::start(&[]);
    let client = Client::unprivileged(scene.host("host00"), &scene.socket(), &[TO_HOST01, TO_HOST02]);
    assert_eq!(
        client.ready(2)[0],
        "0 ready host00>leaf00>spine01>leaf01>host01 fc00:0:1200:1001:1201:fe06::"
    );
    let shown = scene.routes("host00");
    assert!(
        shown.contains(
            "2001:db8:1001::2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:1001:1201:fe06:: ] dev eth1"
        ),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 2, "{shown}");
    scene.host("host00").sh("ping -6 -c 2 -i 0.01 -W 5 -q 2001:db8:1001::2").unwrap();
    // Nothing in the agent's own namespace, which the test shares, or in another host.
    let own = std::process::Command::new("ip")
        .args(["-6", "route", "show", "table", "all", "proto", "83"])
        .output()
        .unwrap();
    let own = String::from_utf8(own.stdout).unwrap();
    assert_eq!((own, scene.routes("host01")), (String::new(), String::new()));
    let flows = scene.flows();
    assert_eq!(flows.len(), 2);
    assert_eq!(flows[0]["job"], "test");
    assert_eq!(flows[0]["pid"].as_u64(), Some(u64::from(client.pid())));
    assert_eq!(flows[0]["state"], "ready");
    client.leave();
    // It has waited for that.
    assert_eq!(scene.routes("host00"), "");
}

fn shared() {
    let scene = Scene::start(&[]);
    let start = || Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    let (one, other) = (start(), start());
    one.ready(1);
    other.ready(1);
    let shown = scene.routes("host00");
    assert_eq!(shown.lines().count(), 1);
    one.kill();
    scene.eventually("the killed one is gone", || scene.attached() == [other.pid()]);
    assert_eq!(scene.routes("host00"), shown);
    other.kill();
    scene.eventually("the route is gone", || scene.routes("host00").is_empty());
}

fn foreign_source() {
    let scene = Scene::start(&[]);
    let client = Client::start(scene.host("host00"), &scene.socket(), &["2001:db8:1002::2,2001:db8:1001::2"]);
    let line = client.says();
    assert!(line.starts_with("0 failed 2001:db8:1002::2 is no address of this network namespace"), "{line}");
    assert_eq!((scene.routes("host00"), scene.routes("host02")), (String::new(), String::new()));
}

fn lanes() {
    let scene = Scene::start(&[]);
    let flows = [format!("lanes:{TO_HOST01}")];
    let client = Client::unprivileged(scene.host("host00"), &scene.socket(), &[&flows[0]]);
    let line = client.ready(1).remove(0);
    assert!(line.contains("2 lanes by ports"), "{line}");
    let rules = scene.host("host00").sh("ip -6 rule show").unwrap();
    assert!(rules.contains("ipproto tcp sport 2"), "{rules}");
    client.leave();
    let marking = Client::start(scene.host("host00"), &scene.socket(), &[&flows[0]]);
    let line = marking.ready(1).remove(0);
    assert!(line.contains("2 lanes by mark"), "{line}");
    marking.leave();
    assert!(!scene.host("host00").sh("ip -6 rule show").unwrap().contains("lookup 13978"));
    assert_eq!(scene.routes("host00"), "");
}

fn marked() {
    let scene = Scene::start(&[]);
    let mut session = scene.session().unwrap();
    let slot = Slot::new(3).unwrap();
    let bound = |address: &str| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(address.parse().unwrap(), 0).into()).unwrap();
        socket
    };
    let own = bound("::1");
    session.mark(&own, slot).unwrap();
    assert_eq!(own.mark().unwrap(), slot.mark());
    // A live one as well, and again.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for number in [0, 15] {
        let slot = Slot::new(number).unwrap();
        session.mark(&stream, slot).unwrap();
        assert_eq!(socket2::SockRef::from(&stream).mark().unwrap(), slot.mark());
    }
    let mut refused = |socket: &dyn std::os::fd::AsFd| session.mark(socket, slot).unwrap_err().to_string();
    let foreign = scene.host("host00").run(move || bound("2001:db8:1000::2"));
    assert!(refused(&foreign).contains("this is bound to 2001:db8:1000::2"));
    assert_eq!(foreign.mark().unwrap(), 0);
    assert!(refused(&bound("::")).contains("this is bound to ::"));
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(refused(&datagrams).contains("this is no TCP socket"));
    refused(&std::fs::File::open("/dev/null").unwrap());
    // The session goes on.
    session.mark(&own, Slot::new(1).unwrap()).unwrap();
}

fn left_namespace() {
    let scene = Scene::start(&[]);
    let namespaces = || scene.ask(r#"{"command":"status"}"#)[0]["namespaces"].as_array().unwrap().len();
    assert_eq!(namespaces(), 1, "the agent's own");
    let clients: Vec<Client> = ["host00", "host01"]
        .iter()
        .zip([TO_HOST02, "2001:db8:1001::2,2001:db8:1002::2"])
        .map(|(host, flow)| Client::start(scene.host(host), &scene.socket(), &[flow]))
        .collect();
    for client in &clients {
        client.ready(1);
    }
    assert_eq!(namespaces(), 3);
    for client in clients {
        client.kill();
    }
    scene.eventually("both are left", || namespaces() == 1);
    let task = format!("/proc/{}/task", scene.agent_pid());
    let steering = || {
        std::fs::read_dir(&task)
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok())
            .filter(|name| name.trim() == "srv6-steer")
            .count()
    };
    // A thread inside would keep a pod's namespace for ever.
    scene.eventually("their threads have ended", || steering() == 1);
}

fn sidecar() {
    let mut scene = Scene::without_agent();
    scene.start_sidecar("host00");
    let client = Client::unprivileged(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    client.ready(1);
    assert!(scene.routes("host00").contains("2001:db8:1001::2  encap seg6"), "{}", scene.routes("host00"));
    let flows = scene.flows();
    assert_eq!((flows.len(), &flows[0]["pid"]), (1, &serde_json::json!(0)), "another pid namespace");
    client.kill();
    scene.eventually("its route goes with the process", || scene.routes("host00").is_empty());
}

fn srv6d(arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_srv6d")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn wrong_flag() {
    let (fine, text) = srv6d(&["--srv6-policy", "best", "--srv6d-grace-s", "0"]);
    assert!(!fine);
    for wanted in [
        "JALAPENO_API_ENDPOINT: nothing is set",
        "SRV6_POLICY=\"best\" (--srv6-policy): want spread, load, latency, utilization or hops",
        "SRV6D_GRACE_S=\"0\" (--srv6d-grace-s): want 1 to 86400 (seconds)",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}

fn check() {
    let scene = Scene::start(&[]);
    let (fine, text) =
        srv6d(&["--check", "--srv6-topology", "/nonexistent", "--srv6-agent-socket", &scene.socket()]);
    assert!(!fine);
    assert!(text.contains("ok      right to change routes, CAP_NET_ADMIN"), "{text}");
    assert!(text.contains("FAILED  path source: /nonexistent"), "{text}");
    assert!(text.contains("an agent takes connections there already"), "{text}");
    // And that one isn't disturbed by a second one.
    let (fine, text) = srv6d(&["--srv6-topology", "/nonexistent", "--srv6-agent-socket", &scene.socket()]);
    assert!(!fine && text.contains("another agent serves"), "{text}");
    assert!(scene.session().is_ok());
}
