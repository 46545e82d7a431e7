//! `srv6ctl doctor` on hosts that each lack one thing: it must name that thing, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod scene;

use scene::{Case, Scene};

/// What is wrong, and the checks that must say so; all others must be fine.
#[test]
fn each_missing_thing_is_named_and_nothing_else() {
    let scene = Scene::raise("one");
    scene.expect(&Case::new("nothing is missing"), &[]);

    let mut differences = Vec::new();
    let foreign = scene.foreign();
    let empty = scene.empty();
    let forgetful = scene.forgetful_nccl();
    let endpoint = scene.endpoint();
    for (case, wanted) in [
        (
            Case::new("no NET_ADMIN").through(&["setpriv", "--bounding-set=-net_admin"]),
            &[("rights.routes", "failure", "no CAP_NET_ADMIN")][..],
        ),
        (
            Case::new("no block route").before("ip -6 route del fc00::/32").after("ip -6 route add fc00::/32 via $GATEWAY dev eth1"),
            &[("route.block", "failure", "no route to fc00::/32")],
        ),
        (
            Case::new("small MTU").before("ip link set eth1 mtu 1340").after("ip link set eth1 mtu 1500"),
            &[("interface.mtu", "failure", "leaves 1276 bytes")],
        ),
        (Case::new("NCCL_NET=Socket").with("NCCL_NET", "Socket"), &[("nccl.net", "failure", "no plugin")]),
        (
            Case::new("NCCL_NET of another").with("NCCL_NET", "AWS Libfabric"),
            &[("nccl.net", "failure", "this plugin is called SRv6")],
        ),
        (
            Case::new("plugin not named, foreign one in the way")
                .with("NCCL_NET_PLUGIN", "")
                .with("LD_LIBRARY_PATH", &foreign),
            &[("nccl.net_plugin", "warning", "NCCL_NET_PLUGIN is not set"), ("plugin.name", "failure", "\"Fake\"")],
        ),
        (
            Case::new("plugin not found").with("LD_LIBRARY_PATH", ""),
            &[("plugin.file", "failure", "libnccl-net-srv6.so")],
        ),
        (
            Case::new("plugin without symbols").with("LD_LIBRARY_PATH", &empty),
            &[("plugin.symbols", "failure", "exports none of")],
        ),
        (
            Case::new("plugin's name with a blank").with("NCCL_NET_PLUGIN", "srv6, other"),
            &[("nccl.net_plugin", "failure", "has blanks")],
        ),
        (
            Case::new("NCCL that forgets names").argument("--nccl").argument(&forgetful),
            &[("nccl.ref_count", "warning", "NCCL 2.28.9 forgets")],
        ),
        (
            Case::new("the same, told to keep it")
                .argument("--nccl")
                .argument(&forgetful)
                .with("NCCL_NET_PLUGIN_REF_COUNT", "1"),
            &[],
        ),
        (
            Case::new("NCCL without tables of its own")
                .argument("--nccl")
                .argument(&forgetful)
                .with("NCCL_NET_PLUGIN_REF_COUNT", "1")
                .with("SRV6_TRANSPORT", "socket"),
            &[("settings.transport", "failure", "nothing to wrap"), ("nccl.tables", "failure", "no Socket table")],
        ),
        (
            Case::new("no such NCCL").argument("--nccl").argument("/nonexistent/libnccl.so.2"),
            &[("nccl.found", "failure", "can't be loaded")],
        ),
        (
            Case::new("wrong setting").with("SRV6_PATHS", "99"),
            &[("settings.plugin", "failure", "SRV6_PATHS=\"99\": want 1 to 8")],
        ),
        (
            Case::new("setting that doesn't exist").with("SRV6_POLICI", "spread"),
            &[("settings.plugin", "failure", "did you mean SRV6_POLICY?")],
        ),
        (
            Case::new("no source of paths").with("JALAPENO_API_ENDPOINT", ""),
            &[("paths.source", "failure", "no source of paths")],
        ),
        (
            Case::new("API down").with("JALAPENO_API_ENDPOINT", "http://198.18.0.1:9"),
            &[("paths.api", "failure", "can't be reached")],
        ),
        (
            Case::new("API's address wrong").with("JALAPENO_API_ENDPOINT", "https://198.18.0.1"),
            &[("paths.endpoint", "failure", "https://198.18.0.1"), ("settings.plugin", "failure", "https://198.18.0.1")],
        ),
        (
            Case::new("API with the prefix").with("JALAPENO_API_ENDPOINT", &format!("{endpoint}/api/v1")),
            &[],
        ),
        (
            Case::new("wrong graph").with("TOPOLOGY_COLLECTION", "ipv4_graph"),
            &[("paths.graph", "failure", "no graph \"ipv4_graph\" (it has fabric_graph)")],
        ),
        (
            Case::new("NCCL kept from the interface").with("NCCL_SOCKET_IFNAME", "=mgmt0"),
            &[("plugin.init", "failure", "has no devices"), ("nccl.interface", "failure", "keeps NCCL from eth1")],
        ),
        (
            Case::new("NCCL on the management network")
                .with("NCCL_SOCKET_IFNAME", "=mgmt0")
                .with("NCCL_SOCKET_FAMILY", "AF_INET"),
            &[
                ("interface.data", "failure", "NCCL takes mgmt0, which is in no host of the topology"),
                ("nccl.interface", "failure", "keeps NCCL from eth1"),
                ("interface.address", "failure", "no address of the family"),
            ],
        ),
        (
            Case::new("NCCL free to choose").with("NCCL_SOCKET_IFNAME", ""),
            &[("nccl.interface", "warning", "NCCL may take")],
        ),
        (
            Case::new("interface that isn't there").with("BACKEND_INTERFACE", "eth9"),
            &[("interface.data", "failure", "BACKEND_INTERFACE=eth9")],
        ),
        (
            Case::new("wrong family first")
                .before("ip address add 10.9.9.1/24 dev eth1")
                .after("ip address del 10.9.9.1/24 dev eth1")
                .with("NCCL_SOCKET_FAMILY", ""),
            &[("interface.address", "failure", "10.9.9.1 on eth1, which is no host of the topology")],
        ),
        (
            Case::new("another interface in the subnet")
                .before("ip link add d0 type veth peer name d1 && ip address add 2001:db8:1000::77/64 dev d0 nodad && ip link set d0 up")
                .after("ip link del d0"),
            &[("interface.subnet", "warning", "eth1 and d0 are both in 2001:db8:1000::/64")],
        ),
        (
            Case::new("segmentation off")
                .before("ethtool -K eth1 tx-ipxip6-segmentation off")
                .after("ethtool -K eth1 tx-ipxip6-segmentation on"),
            &[("interface.offload", "warning", "tx-ipxip6-segmentation off")],
        ),
        (
            Case::new("an agent that isn't there").with("SRV6_MODE", "agent"),
            &[("agent", "failure", "there is no /run/srv6/agent.sock")],
        ),
        (
            Case::new("no namespace to try the kernel in")
                .before("echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces")
                .after("echo 1000 > /proc/sys/user/max_user_namespaces; echo 1000 > /proc/sys/user/max_net_namespaces"),
            scene::without_namespaces(),
        ),
    ] {
        differences.extend(scene.compare(&case, wanted).err());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn an_address_that_the_topology_does_not_know_is_named() {
    let scene =
        Scene::raise_changed("stranger", |text| text.replace("2001:db8:1000:", "2001:db8:aaaa:"), true);
    // The lab is of the changed topology, the path server has the original.
    let case = Case::new("not in the topology").with("BACKEND_INTERFACE", "eth1");
    scene.expect(&case, &[("paths.address", "failure", "2001:db8:aaaa::2 is no host of graph fabric_graph")]);
}

#[test]
fn a_database_that_is_down_is_told_from_an_api_that_is() {
    let scene = Scene::raise("database");
    let down = srv6_pathserver::FaultyReply::database_down();
    scene.server.set_faults(srv6_pathserver::Faults { reply: Some(down), ..Default::default() });
    scene.expect(&Case::new("database down"), &[("paths.database", "failure", "database is down")]);
}

#[test]
fn a_smaller_mtu_inside_the_fabric_is_measured() {
    let scene = Scene::raise("mtu");
    let peer = Case::new("peer reached").argument("--peer").argument("2001:db8:1001::2");
    scene.expect(&peer, &[]);
    for spine in 0..4 {
        scene.lab.node("leaf00").unwrap().sh(&format!("ip link set spine0{spine} mtu 1400")).unwrap();
    }
    scene.expect(&peer, &[("path.mtu", "failure", "packets of 1400 bytes reach")]);
    let told =
        Case::new("told so").argument("--peer").argument("2001:db8:1001::2").with("SRV6_FABRIC_MTU", "1400");
    scene.expect(&told, &[]);
}

#[test]
fn variables_follow_from_what_was_found() {
    let scene = Scene::raise("env");
    let case = Case::new("env").command("env").with("NCCL_NET", "Socket").with("NCCL_SOCKET_IFNAME", "");
    let (code, text) = scene.run(&case);
    assert_eq!(code, 0, "{text}");
    let wanted = format!(
        "export NCCL_NET_PLUGIN=srv6  # NCCL opens libnccl-net-srv6.so\n\
         unset NCCL_NET  # it keeps NCCL from the plugin\n\
         export NCCL_NET_PLUGIN_REF_COUNT=1  # NCCL 2.28.3 to 2.29.7 forget an unloaded plugin\n\
         export NCCL_SOCKET_IFNAME='=eth1'  # the interface in the fabric\n\
         export NCCL_SOCKET_FAMILY=AF_INET6  # the topology has 2001:db8:1000::2\n\
         export JALAPENO_API_ENDPOINT={}  # where paths come from\n",
        scene.endpoint()
    );
    assert_eq!(text, wanted);

    let case = Case::new("differences").command("env").argument("--check").with("NCCL_SOCKET_IFNAME", "eth");
    let (code, text) = scene.run(&case);
    assert_eq!(code, 1, "{text}");
    let names: Vec<&str> = text.lines().filter_map(|l| l.split(['=', ' ']).nth(1)).collect();
    assert_eq!(names, ["NCCL_NET_PLUGIN_REF_COUNT", "NCCL_SOCKET_IFNAME"], "{text}");
    assert!(text.contains("; now eth\n") && text.contains("; now not set\n"), "{text}");
}
