//! Prometheus itself scrapes an agent, and the dashboard is asked for what it shows.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use srv6_hints::Key;
use srv6_lab::{Lab, Options};
use srv6_steer::{Denials, Place};
use srv6_transport::{Connector, Lane, Listener, RecvComm, SendComm};

use crate::serving::{PATIENCE, Serving, eventually, fabric, flow};

/// A real Prometheus, ended when dropped.
struct Prometheus {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one with the scrape job that is delivered, but for this agent and more often.
    fn scraping(serving: &Serving) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let delivered = std::fs::read_to_string(repository("deploy/prometheus/srv6d.yml")).unwrap();
        let job = delivered.replace("127.0.0.1:9779", &serving.address.to_string()).replace("15s", "1s");
        assert!(job.contains(&serving.address.to_string()) && job.contains("interval: 1s"), "{job}");
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, format!("scrape_configs:\n{job}")).unwrap();
        // Free a moment ago, in a network namespace of the test's own.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus, which scripts/install-tools installs");
        let mut prometheus = Self { child, address, folder };
        eventually("Prometheus is ready", || {
            if let Some(status) = prometheus.child.try_wait().unwrap() {
                panic!("prometheus ended, {status}: {}", prometheus.log());
            }
            prometheus.get("/-/ready", &[]).is_some()
        });
        prometheus
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<String> {
        let mut request = ureq::get(format!("http://{}{path}", self.address));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let mut response = request.config().timeout_global(Some(PATIENCE)).build().call().ok()?;
        response.body_mut().read_to_string().ok()
    }

    /// The values that an expression has now. An expression that is none fails the test.
    fn values(&self, expression: &str) -> Vec<(Value, f64)> {
        let answer = self.get("/api/v1/query", &[("query", expression)]);
        let answer: Value =
            serde_json::from_str(&answer.unwrap_or_else(|| panic!("refused: {expression}"))).unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let value = |one: &Value| (one["metric"].clone(), one["value"][1].as_str().unwrap().parse().unwrap());
        answer["data"]["result"].as_array().unwrap().iter().map(value).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Every expression of the dashboard, with its variables as they are when somebody opens it, and a short interval.
fn expressions() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository("deploy/grafana/srv6d.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut all: BTreeSet<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        // label_values(METRIC, LABEL): Grafana lists the label's values among the metric's series.
        let definition = variable["definition"].as_str().unwrap_or_default();
        if let Some((metric, label)) =
            definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')?.split_once(", "))
        {
            all.insert(format!("count by ({label}) ({metric}{{{label}!=\"\"}})"));
        }
    }
    all.into_iter()
        .map(|text| text.replace("$__rate_interval", "20s").replace("$instance", ".*").replace("$job", ".*"))
        .collect()
}

/// That the page has the documented metrics with the documented labels, and no others.
fn documented(page: &str) {
    let document = std::fs::read_to_string(repository("docs/METRICS.md")).unwrap();
    let mut wanted = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| `srv6d_")) {
        let cells: Vec<&str> = row.split('|').collect();
        let words =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        for metric in words(cells[1]) {
            wanted.insert((metric, words(cells[2])));
        }
    }
    let series = page.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<(String, Vec<String>)> = series
        .map(|line| {
            let name = line.split(['{', ' ']).next().unwrap().to_owned();
            let labels = line.split(['{', ',']).filter_map(|part| part.split_once("=\""));
            (name, labels.map(|(label, _)| label.to_owned()).collect())
        })
        .collect();
    assert_eq!(there, wanted);
}

#[test]
fn prometheus_scrapes_and_every_query_of_the_dashboard_has_data() {
    let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
    let lab = Lab::up(&topology, &Options::default()).unwrap();
    let peer: SocketAddr = "[2001:db8:1001::2]:9000".parse().unwrap();
    let listener = lab.node("host01").unwrap().run(move || TcpListener::bind(peer).unwrap());
    let reading = std::thread::spawn(move || {
        let (mut incoming, _) = listener.accept().unwrap();
        std::io::copy(&mut incoming, &mut std::io::sink()).unwrap()
    });
    lab.node("host00").unwrap().run(move || scraped(peer));
    assert!(reading.join().unwrap() > 0);
}

/// A multipath connection of this process, in the calling thread's network namespace, that others are told about.
fn connected() -> (SendComm, RecvComm) {
    srv6_transport::serve_connections();
    let config = srv6_transport::Config { paths: 2, ..Default::default() };
    let mut listener = Listener::bind("::1".parse().unwrap(), None, &config).unwrap();
    let mut connector = Connector::new(listener.address(), None, Lane::unpinned(2), &config).unwrap();
    let (mut send, mut receive) = (None, None);
    eventually("a multipath connection", || {
        send = send.take().or_else(|| connector.poll().unwrap());
        receive = receive.take().or_else(|| listener.accept().unwrap());
        send.is_some() && receive.is_some()
    });
    (send.unwrap(), receive.unwrap())
}

/// Inside host00, with a peer that reads whatever it is sent.
fn scraped(peer: SocketAddr) {
    let mpib = tempfile::tempdir().unwrap();
    let serving = Serving::beside(&[
        ("SRV6D_METRIC_FLOWS", "2"),
        ("SRV6D_MPIB_COMPAT", "1"),
        ("SRV6D_MPIB_UNIT", "per1024"),
        ("SRV6D_MPIB_DIR", mpib.path().to_str().unwrap()),
    ]);
    let _holds = serving.flows(3);
    let _claim = serving.agent.hinting().claim(Key { namespace: 1, flow: flow(1) }).unwrap();
    let multipath = connected();
    let mut traffic = TcpStream::connect(peer).unwrap();
    traffic.write_all(&[0; 10_000]).unwrap();
    let prometheus = Prometheus::scraping(&serving);
    eventually("a scrape", || prometheus.values("up{job=\"srv6d\"}").iter().any(|(_, up)| *up == 1.0));

    let drained = [Place::Switch("spine00".to_owned()), Place::Switch("spine01".to_owned())].into();
    let moved = serving.steer().deny(Denials { drained, ..Denials::default() }).wait(PATIENCE).unwrap();
    assert!(moved.moved > 0, "{moved:?}");
    eventually("the moves are in Prometheus", || {
        prometheus.values("srv6d_moves_total{reason=\"drain\"}").iter().any(|(_, n)| *n >= moved.moved as f64)
    });
    eventually("probes are answered", || {
        let good = "srv6d_probes_total - srv6d_probes_lost_total";
        prometheus.values(good).iter().any(|(_, answered)| *answered > 10.0)
    });

    let expressions = expressions();
    assert!(expressions.len() > 30 && expressions.iter().all(|text| !text.contains('$')), "{expressions:?}");
    for expression in &expressions {
        eventually(&format!("data for {expression}"), || {
            traffic.write_all(&[0; 1000]).unwrap();
            let values = prometheus.values(expression);
            !values.is_empty() && values.iter().all(|(_, value)| !value.is_nan())
        });
    }
    let carried = prometheus.values("srv6d_flow_acknowledged_bytes{dst=\"2001:db8:1001::2\"}");
    assert!(carried.iter().any(|(_, bytes)| *bytes >= 10_000.0), "{carried:?}");
    // Its two subflows carry nothing and nobody says by which path.
    let subflows = prometheus.values("srv6d_path_subflows{path=\"\",state=\"good\"}");
    assert!(subflows.iter().any(|(_, count)| *count == 2.0), "{subflows:?}");
    documented(&serving.get("/metrics").1);
    let targets: Value = serde_json::from_str(&prometheus.get("/api/v1/targets", &[]).unwrap()).unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
    drop(multipath);
}
