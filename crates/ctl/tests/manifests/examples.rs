//! The examples: ranks, names and addresses that fit together.

use serde_json::Value;

use crate::rendered::{example, one, pods, text, texts};

fn topology() -> Value {
    serde_json::from_str(&text("examples/fabrics/4x4.json")).unwrap()
}

#[test]
fn the_overlays_bring_the_fabric_of_the_lab() {
    for overlay in ["node-mode", "pod-mode"] {
        let ours = text(&format!("deploy/kubernetes/overlays/{overlay}/fabric.json"));
        assert_eq!(ours, text("examples/fabrics/4x4.json"), "{overlay}");
    }
}

#[test]
fn the_attachments_have_the_addresses_of_the_topology() {
    let topology = topology();
    for document in example("network-attachment") {
        let name = document["metadata"]["name"].as_str().unwrap();
        let config: Value = serde_json::from_str(document["spec"]["config"].as_str().unwrap()).unwrap();
        assert_eq!(config["name"], name);
        let host = topology["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|host| name.ends_with(host["name"].as_str().unwrap()));
        let host = host.unwrap_or_else(|| panic!("no host of {name}"));
        let address: std::net::Ipv6Addr = host["ipv6_address"].as_str().unwrap().parse().unwrap();
        assert_eq!(config["ipam"]["addresses"][0]["address"], format!("{address}/{}", host["prefix_len"]));
        assert_eq!(config["device"], host["interface"]);
        // The leaf has the network's first address, as in the lab.
        let gateway = std::net::Ipv6Addr::from(u128::from(address) & !0xffff | 1).to_string();
        let routes = config["ipam"]["routes"].as_array().unwrap();
        assert!(routes.iter().all(|route| route["gw"] == gateway), "{name}: {routes:?}");
        let wanted =
            texts(&Value::Array(routes.iter().map(|route| route["dst"].clone()).collect())).join(" ");
        assert_eq!(wanted, "fc00::/32 2001:db8:1000::/36", "{name}");
        for sid in topology["fabric_node"].as_array().unwrap().iter().map(|node| &node["sids"][0]["srv6_sid"])
        {
            assert!(sid.as_str().unwrap().starts_with("fc00:0:"), "{sid} is outside of the block");
        }
    }
}

#[test]
fn the_pair_agrees_on_ranks_and_on_who_is_first() {
    let (documents, attachments) = (example("statefulset"), example("network-attachment"));
    let service = one(&documents, "Service", "pair");
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    let mut ranks = Vec::new();
    for (place, pod) in pods(&documents) {
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["app"], service["spec"]["selector"]["app"], "{place}");
        let network = pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"].as_str().unwrap();
        let (attachment, interface) = network.split_once('@').unwrap();
        one(&attachments, "NetworkAttachmentDefinition", attachment);
        let value = |name: &str| {
            let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
            // Once: of two Kubernetes would take the later.
            let found: Vec<_> = variables.iter().filter(|variable| variable["name"] == name).collect();
            assert_eq!(found.len(), 1, "{place}: {name}");
            found[0]["value"].as_str().unwrap().to_owned()
        };
        assert_eq!(value("NCCL_SOCKET_IFNAME"), interface);
        assert_eq!(value("WORLD_SIZE"), "2");
        assert_eq!(value("MASTER_PORT"), service["spec"]["ports"][0]["port"].to_string());
        let (first, domain) = (value("MASTER_ADDR"), service["metadata"]["name"].as_str().unwrap());
        let set = first.strip_suffix(&format!("-0.{domain}")).unwrap();
        assert_eq!(one(&documents, "StatefulSet", set)["spec"]["serviceName"], domain);
        ranks.push((value("RANK"), attachment.to_owned()));
    }
    let wanted = [("0", "fabric-host00"), ("1", "fabric-host01")];
    assert_eq!(ranks, wanted.map(|(rank, attachment)| (rank.to_owned(), attachment.to_owned())));
}

#[test]
fn operators_set_the_ranks_and_the_examples_use_them() {
    for name in ["volcano", "pytorchjob"] {
        for (place, pod) in pods(&example(name)) {
            let container = &pod["spec"]["containers"][0];
            for variable in container["env"].as_array().unwrap() {
                let set = variable["name"].as_str().unwrap();
                assert!(
                    !["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"].contains(&set),
                    "{name} {place}: {set}"
                );
            }
            let arguments = texts(&container["args"]).join(" ");
            for used in
                ["--node-rank=$(RANK)", "--master-addr=$(MASTER_ADDR)", "--master-port=$(MASTER_PORT)"]
            {
                assert!(arguments.contains(used), "{name} {place}: {arguments}");
            }
        }
    }
    let job = &example("volcano")[0]["spec"];
    assert_eq!(texts(&job["plugins"]["pytorch"]), ["--master=master", "--worker=worker", "--port=23456"]);
    assert_eq!(texts(&job["plugins"]["svc"]), ["--publish-not-ready-addresses=true"]);
    let tasks: Vec<_> = job["tasks"].as_array().unwrap().iter().map(|task| &task["name"]).collect();
    assert_eq!(tasks, ["master", "worker"]);
}
