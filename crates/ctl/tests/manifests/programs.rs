//! Images, programs, flags, variables, ports, paths and capabilities in the manifests are those of the code.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use srv6_agent::{Config, FIELDS, Layers, SHARED, command};
use srv6_inject::names;

use crate::rendered::{OVERLAYS, chart, example, one, overlay, pods, text, texts, values_of_node_mode};

/// What every way of installing makes.
fn all() -> Vec<Vec<Value>> {
    let mut all: Vec<_> = OVERLAYS.iter().map(|name| overlay(name)).collect();
    all.push(chart(&values_of_node_mode()).unwrap());
    all
}

fn container<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    &one(documents, kind, name)["spec"]["template"]["spec"]["containers"][0]
}

/// A container's variables, those of its ConfigMap first.
fn variables(documents: &[Value], container: &Value) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let map = one(documents, "ConfigMap", source["configMapRef"]["name"].as_str().unwrap());
        for (name, value) in map["data"].as_object().unwrap() {
            variables.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let text = |key: &str| variable[key].as_str().unwrap().to_owned();
        variables.insert(text("name"), text("value"));
    }
    variables
}

/// A container's arguments, with the values of variables where Kubernetes puts them.
fn arguments(documents: &[Value], container: &Value) -> Vec<String> {
    let variables = variables(documents, container);
    let expanded = |argument: &str| {
        variables
            .iter()
            .fold(argument.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
    };
    texts(&container["args"]).into_iter().map(expanded).collect()
}

/// The only port of a container.
fn port(container: &Value) -> u64 {
    assert_eq!(container["ports"].as_array().unwrap().len(), 1);
    container["ports"][0]["containerPort"].as_u64().unwrap()
}

/// The paths that the kubelet asks.
fn probed(container: &Value) -> Vec<&str> {
    ["startupProbe", "livenessProbe", "readinessProbe"]
        .iter()
        .filter_map(|probe| container[*probe]["httpGet"]["path"].as_str())
        .collect()
}

#[test]
fn images_and_programs_are_those_that_are_built() {
    for documents in all() {
        for (place, pod) in pods(&documents) {
            for container in pod["spec"]["containers"].as_array().unwrap() {
                assert_eq!(container["image"], names::AGENT_IMAGE, "{place}");
                let program = texts(&container["command"]);
                assert!(
                    [["/usr/bin/srv6d"], ["/usr/bin/srv6ctl"]].iter().any(|one| *one == program[..]),
                    "{place}"
                );
            }
        }
        for document in &documents {
            let namespace = &document["metadata"]["namespace"];
            assert!(namespace.is_null() || namespace == names::NAMESPACE, "{document}");
        }
    }
    let about = text("deploy/helm/nccl-net-srv6/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        about.contains(&format!("\nversion: {version}\n"))
            && about.contains(&format!("\nappVersion: \"{version}\"\n"))
    );
    // The unit file starts the same program.
    assert!(text("deploy/systemd/srv6d.service").contains("ExecStart=/usr/bin/srv6d "));
}

#[test]
fn the_agents_settings_exist_and_are_right() {
    let known = |name: &str| SHARED.iter().chain(&FIELDS).any(|field| field.name == name);
    let mut agents = 0;
    for documents in all() {
        let settings = documents.iter().find(|one| {
            one["kind"] == "ConfigMap"
                && one["metadata"]["name"].as_str().unwrap().starts_with("srv6-settings")
        });
        let settings = settings.unwrap()["data"].as_object().unwrap();
        for name in settings.keys() {
            assert!(known(name), "no setting {name}");
        }
        // The variables of the manifests that jobs were run with before there was an agent.
        for name in [
            "JALAPENO_API_ENDPOINT",
            "TOPOLOGY_COLLECTION",
            "BACKEND_INTERFACE",
            "ROUTE_PLATFORM",
            "ROUTE_TABLE_ID",
            "DEST_FUNCTION",
        ] {
            assert!(settings.contains_key(name), "{name} is missing");
        }
        if !documents.iter().any(|document| document["kind"] == "DaemonSet") {
            continue;
        }
        agents += 1;
        let agent = container(&documents, "DaemonSet", "srv6d");
        let variables = variables(&documents, agent);
        assert!(variables.keys().all(|name| known(name)), "{variables:?}");
        command()
            .try_get_matches_from([vec!["srv6d".to_owned()], arguments(&documents, agent)].concat())
            .unwrap();
        let config = Config::read(Layers::of_environment(variables.into_iter())).unwrap();
        let http = config.http.unwrap();
        assert_eq!(u64::from(http.port()), port(agent));
        assert!(http.ip().is_unspecified(), "the kubelet asks at the pod's address");

        let shared = [Some(config.socket), Some(config.state), config.hints.map(|hints| hints.path)];
        for file in shared.iter().flatten() {
            assert_eq!(file.parent().unwrap().to_str(), Some(names::AGENT_DIR), "{}", file.display());
        }
        let spec = &one(&documents, "DaemonSet", "srv6d")["spec"]["template"]["spec"];
        assert_eq!(spec["volumes"][0]["hostPath"]["path"], names::AGENT_DIR);
        assert_eq!(agent["volumeMounts"][0]["mountPath"], names::AGENT_DIR);
    }
    assert_eq!(agents, 3, "two overlays and the chart have agents");
}

#[test]
fn what_is_asked_of_the_agent_is_in_its_documentation() {
    let documents = overlay("node-mode");
    let document = text("docs/METRICS.md");
    let mut paths = probed(container(&documents, "DaemonSet", "srv6d"));
    assert_eq!(paths, ["/healthz", "/healthz", "/readyz"]);
    paths.push(
        one(&documents, "PodMonitor", "srv6d")["spec"]["podMetricsEndpoints"][0]["path"].as_str().unwrap(),
    );
    for path in paths {
        assert!(document.contains(&format!("\n| `{path}` | ")), "docs/METRICS.md has no {path}");
    }
}

#[test]
fn the_agents_capabilities_are_those_of_its_unit() {
    let unit = text("deploy/systemd/srv6d.service");
    let unit: Vec<_> = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap()
        .split(' ')
        .map(|name| name.strip_prefix("CAP_").unwrap())
        .collect();
    for name in ["node-mode", "existing-api"] {
        let documents = overlay(name);
        let security = &container(&documents, "DaemonSet", "srv6d")["securityContext"];
        assert_eq!(texts(&security["capabilities"]["drop"]), ["ALL"]);
        for capability in texts(&security["capabilities"]["add"]) {
            assert!(unit.contains(&capability), "the unit does without {capability}");
        }
    }
    // Nobody else has any.
    for documents in all() {
        for (place, pod) in pods(&documents).into_iter().filter(|(place, _)| !place.starts_with("DaemonSet"))
        {
            let security = &pod["spec"]["containers"][0]["securityContext"];
            assert_eq!(security["capabilities"], serde_json::json!({ "drop": ["ALL"] }), "{place}");
            assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true, "{place}");
        }
    }
}

#[test]
fn the_webhook_takes_its_arguments() {
    let mut modes = Vec::new();
    for documents in all() {
        let webhook = container(&documents, "Deployment", "srv6-webhook");
        let arguments = [vec!["srv6d".to_owned()], arguments(&documents, webhook)].concat();
        let matches = command().try_get_matches_from(arguments).unwrap();
        let config = srv6_agent::WebhookConfig::of(matches.subcommand_matches("webhook").unwrap());
        assert_eq!(u64::from(config.listen.port()), port(webhook));
        assert_eq!(config.injection.plugin_image, names::PLUGIN_IMAGE);
        assert_eq!(config.injection.agent_image, names::AGENT_IMAGE);
        let mounted = webhook["volumeMounts"][0]["mountPath"].as_str().unwrap();
        for (file, name) in [(&config.certificate, "tls.crt"), (&config.key, "tls.key")] {
            // These are the keys of a secret of the type kubernetes.io/tls.
            assert_eq!(file.to_str().unwrap(), format!("{mounted}/{name}"));
        }
        let hook = &one(&documents, "MutatingWebhookConfiguration", "srv6-webhook")["webhooks"][0];
        assert_eq!(hook["objectSelector"]["matchLabels"], serde_json::json!({ names::INJECT_LABEL: "true" }));
        modes.push((config.injection.mode, config.injection.path_api));
    }
    let sidecar = Some("http://srv6-path-server.srv6-system.svc:8000".to_owned());
    use srv6_inject::Mode::{Node, Sidecar};
    assert_eq!(modes, [(Node, None), (Sidecar, sidecar), (Node, None), (Node, None)]);
}

#[test]
fn agents_in_pods_get_the_settings() {
    let mut values = values_of_node_mode();
    values["agent"] = serde_json::json!({ "enabled": false });
    values["webhook"]["mode"] = "sidecar".into();
    values["webhook"]["apiServers"] = serde_json::json!(["192.0.2.0/24"]);
    for documents in [overlay("pod-mode"), chart(&values).unwrap()] {
        let webhook = container(&documents, "Deployment", "srv6-webhook");
        let arguments = [vec!["srv6d".to_owned()], arguments(&documents, webhook)].concat();
        let matches = command().try_get_matches_from(arguments).unwrap();
        let config = srv6_agent::WebhookConfig::of(matches.subcommand_matches("webhook").unwrap());
        let given: BTreeMap<String, String> = config.injection.agent_env.into_iter().collect();
        let map = documents.iter().find(|one| one["data"]["TOPOLOGY_COLLECTION"].is_string()).unwrap();
        let mut settings: BTreeMap<String, String> = serde_json::from_value(map["data"].clone()).unwrap();
        assert_eq!(config.injection.path_api, settings.remove("JALAPENO_API_ENDPOINT"));
        // A sidecar may not give its socket to a group: it has the job's.
        settings.retain(|name, value| name != "SRV6D_GROUP" && !value.is_empty());
        assert_eq!(given, settings);
        // The path server lets in what such a pod is labelled with.
        let policy = &one(&documents, "NetworkPolicy", "srv6-path-server")["spec"]["ingress"][0]["from"];
        let label = &policy[1]["podSelector"]["matchLabels"][names::STEERED_BY];
        assert_eq!((label, policy.as_array().unwrap().len()), (&Value::from("sidecar"), 2));
    }
    let restricted = chart(&values).unwrap();
    let policy = &one(&restricted, "NetworkPolicy", "srv6-webhook")["spec"]["ingress"][0]["from"];
    assert_eq!(*policy, serde_json::json!([{ "ipBlock": { "cidr": "192.0.2.0/24" } }]));
    for documents in [overlay("node-mode"), chart(&values_of_node_mode()).unwrap()] {
        let policy = &one(&documents, "NetworkPolicy", "srv6-path-server")["spec"]["ingress"][0]["from"];
        assert_eq!(
            *policy,
            serde_json::json!([{ "podSelector": { "matchLabels": { "app.kubernetes.io/name": "srv6d" } } }])
        );
    }
}

/// A running `srv6ctl serve`.
struct PathServer(Child);

impl Drop for PathServer {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn the_path_server_runs_with_its_arguments_and_answers_where_it_is_asked() {
    let documents = overlay("node-mode");
    let server = container(&documents, "Deployment", "srv6-path-server");
    let map = documents.iter().find(|one| one["data"]["fabric.json"].is_string()).unwrap();
    let folder = std::env::temp_dir().join(format!("srv6-topology-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("fabric.json"), map["data"]["fabric.json"].as_str().unwrap()).unwrap();
    // Where the volume is in the container, the folder is here.
    let mounted = server["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let arguments: Vec<String> = texts(&server["args"])
        .iter()
        .map(|argument| argument.replace(mounted, folder.to_str().unwrap()))
        .collect();
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_srv6ctl")).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _server = PathServer(child);
    let said = lines.next().expect("srv6ctl serve listens").unwrap();
    assert!(said.starts_with("listening on http://"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();

    let address = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), u16::try_from(port(server)).unwrap());
    let service = &one(&documents, "Service", "srv6-path-server")["spec"]["ports"][0];
    let named = format!("http://srv6-path-server.srv6-system.svc:{}", service["port"]);
    let agent = container(&documents, "DaemonSet", "srv6d");
    assert_eq!(variables(&documents, agent)["JALAPENO_API_ENDPOINT"], named);
    let best =
        "/api/v1/graphs/fabric_graph/shortest_path/best-paths?source=hosts/host00&destination=hosts/host01";
    for path in probed(server).into_iter().chain([best]) {
        let answer = ureq::get(format!("http://{address}{path}")).call().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let refused = ureq::post(format!("http://{address}/srv6/v1/load/reset")).send_empty();
    assert!(matches!(refused, Err(ureq::Error::StatusCode(403))), "{refused:?}");
}

#[test]
fn the_examples_ask_for_injection_and_set_nothing_of_ours() {
    for name in ["volcano", "pytorchjob", "statefulset"] {
        let documents = example(name);
        let pods = pods(&documents);
        assert_eq!(pods.len(), 2, "{name}");
        for (place, pod) in pods {
            assert_eq!(pod["metadata"]["labels"][names::INJECT_LABEL], "true", "{name} {place}");
            for variable in pod["spec"]["containers"][0]["env"].as_array().unwrap() {
                let variable = variable["name"].as_str().unwrap();
                assert!(!variable.starts_with("SRV6_"), "{name} {place}: {variable} is injected");
            }
        }
    }
}
