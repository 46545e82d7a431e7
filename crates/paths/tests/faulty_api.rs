//! A path API that is slow, dead, lying or somebody else: what each fault becomes for a flow.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Policy};
use srv6_paths::{Answer, CacheLimits, Jalapeno, JalapenoConfig, Origin, PathError, Paths, Query};

/// What the server does with one request.
#[derive(Clone)]
enum Reply {
    Body(u16, String),
    Hang,
    Close,
}

/// An HTTP server that answers by a function of the request's target, and remembers what it was asked.
struct Server {
    endpoint: String,
    asked: Arc<Mutex<VecDeque<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(VecDeque::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    loop {
                        let mut first = String::new();
                        if lines.read_line(&mut first).unwrap_or(0) == 0 {
                            return;
                        }
                        let target = first.split(' ').nth(1).unwrap().to_owned();
                        let mut line = String::new();
                        while lines.read_line(&mut line).is_ok() && line.trim() != "" {
                            line.clear();
                        }
                        log.lock().unwrap().push_back(target.clone());
                        match answer(&target) {
                            Reply::Body(status, body) => write!(
                                stream,
                                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                                body.len()
                            )
                            .unwrap(),
                            Reply::Hang => std::thread::sleep(Duration::from_secs(60)),
                            Reply::Close => return,
                        }
                    }
                });
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }
}

fn ok(body: impl Into<String>) -> Reply {
    Reply::Body(200, body.into())
}

/// The topology of a fabric of one leaf per host and two spines, as `/topology` gives it.
fn topology() -> String {
    let sid = |s: &str, b: u8| {
        format!(
            r#"{{"srv6_sid":"{s}","srv6_endpoint_behavior":{{"endpoint_behavior":{b},"flag":0,"algo":0}}}}"#
        )
    };
    let leaf = |n: u8| {
        let (a, b) = (sid(&format!("fc00:0:120{n}::"), 48), sid(&format!("fc00:0:120{n}:fe06::"), 62));
        format!(r#""n/leaf{n}":{{"_key":"leaf{n}","name":"leaf{n}","sids":[{a},{b}]}}"#)
    };
    let spine = |n: u8| {
        format!(
            r#""n/spine{n}":{{"_key":"spine{n}","name":"spine{n}","sids":[{}]}}"#,
            sid(&format!("fc00:0:100{n}::"), 48)
        )
    };
    let host = |n: u8| {
        format!(
            r#""hosts/host{n}":{{"_key":"host{n}","name":"host{n}","ipv6_address":"2001:db8:{n}::2","prefix":"2001:db8:{n}::","prefix_len":64}}"#
        )
    };
    let mut edges = Vec::new();
    let mut link = |a: &str, b: &str| {
        for (from, to) in [(a, b), (b, a)] {
            edges.push(format!(r#"{{"_key":"e{}","_from":"{from}","_to":"{to}"}}"#, edges.len()));
        }
    };
    for n in 0..2 {
        link(&format!("hosts/host{n}"), &format!("n/leaf{n}"));
        link(&format!("n/leaf{n}"), "n/spine0");
        link(&format!("n/leaf{n}"), "n/spine1");
    }
    let vertices = [host(0), host(1), leaf(0), leaf(1), spine(0), spine(1)].join(",");
    format!(r#"{{"edges":[{}],"vertices":{{{vertices}}}}}"#, edges.join(","))
}

fn path(ids: &[&str], usid: &str) -> String {
    let entries: Vec<String> =
        ids.iter().map(|id| format!(r#"{{"vertex":{{"_id":"{id}"}},"edge":null}}"#)).collect();
    format!(
        r#""path":[{}],"hopcount":{},"srv6_data":{{"srv6_sid_list":[],"srv6_usid":"{usid}"}}"#,
        entries.join(","),
        ids.len() - 1
    )
}

fn over(spine: &str) -> String {
    path(&["hosts/host0", "n/leaf0", spine, "n/leaf1", "hosts/host1"], "fc00:0:1200:1000:1201::")
}

fn best(paths: &[String]) -> String {
    let paths: Vec<String> = paths.iter().map(|p| format!("{{{p}}}")).collect();
    format!(r#"{{"found":true,"total_paths_found":{},"paths":[{}]}}"#, paths.len(), paths.join(","))
}

/// Answers as the real API does; `special` may answer otherwise.
fn api(special: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::start(move |target| {
        if let Some(reply) = special(target) {
            return reply;
        }
        let Some(route) = target.strip_prefix("/api/v1") else {
            return Reply::Body(404, r#"{"detail":"Not Found"}"#.to_owned());
        };
        match route.split('?').next().unwrap() {
            "/instances" => ok(r#"["fabric_graph"]"#),
            "/graphs/fabric_graph/topology" => ok(topology()),
            "/graphs/fabric_graph/shortest_path/best-paths" => {
                ok(best(&[over("n/spine1"), over("n/spine0")]))
            }
            "/graphs/fabric_graph/shortest_path/load" => {
                ok(format!(r#"{{"found":true,{}}}"#, over("n/spine1")))
            }
            _ => Reply::Body(500, r#"{"detail":""}"#.to_owned()),
        }
    })
}

fn flow() -> Flow {
    Flow { src: "2001:db8:0::2".parse().unwrap(), dst: "2001:db8:1::2".parse().unwrap() }
}

fn client(endpoint: &str, graph: &str, fresh: Duration) -> Paths {
    limited(endpoint, graph, CacheLimits { fresh, ..CacheLimits::default() }, LONG)
}

fn limited(endpoint: &str, graph: &str, limits: CacheLimits, request_timeout: Duration) -> Paths {
    let config = JalapenoConfig {
        endpoint: endpoint.to_owned(),
        graph: graph.to_owned(),
        hosts: "hosts".to_owned(),
        request_timeout,
    };
    Paths::new(Box::new(Jalapeno::new(config).unwrap()), limits)
}

const LONG: Duration = Duration::from_secs(60);

/// For an answer that takes milliseconds where nothing else runs. What fails again and again is tried for so long.
const PATIENCE: Duration = Duration::from_secs(8);

fn ask(paths: &mut Paths, policy: Policy) -> Result<Answer, PathError> {
    paths.candidates(flow(), Query { policy, algo: 0 }, Instant::now() + PATIENCE)
}

fn names(answer: &Answer) -> Vec<String> {
    answer.candidates.paths.iter().map(|p| p.names(&answer.topology)[2].clone()).collect()
}

fn error(special: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> String {
    let server = api(special);
    ask(&mut client(&server.endpoint, "fabric_graph", LONG), Policy::Spread).unwrap_err().to_string()
}

#[test]
fn base_works_with_and_without_prefix_and_slash() {
    let server = api(|_| None);
    for base in ["", "/", "/api/v1", "/api/v1/"] {
        let answer =
            ask(&mut client(&format!("{}{base}", server.endpoint), "fabric_graph", LONG), Policy::Spread)
                .unwrap();
        assert_eq!(names(&answer), ["spine0", "spine1"], "sorted by id whatever order they came in");
        assert_eq!(answer.origin, Origin::Jalapeno);
    }
    for wrong in ["", "jalapeno-api:8000", "https://api", "http://", "http://a b"] {
        let config = JalapenoConfig {
            endpoint: wrong.to_owned(),
            graph: String::new(),
            hosts: String::new(),
            request_timeout: LONG,
        };
        let text = Jalapeno::new(config).unwrap_err().to_string();
        assert!(text.contains(&format!("{wrong:?}")) && text.contains("want http://"), "{text}");
    }
}

#[test]
fn one_question_serves_all_connects_of_a_pair() {
    let server = api(|_| None);
    let mut paths = client(&server.endpoint, "fabric_graph", LONG);
    for _ in 0..10 {
        ask(&mut paths, Policy::Spread).unwrap();
    }
    assert!(matches!(ask(&mut paths, Policy::Spread).unwrap().origin, Origin::Cache { .. }));
    let asked = server.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[2].contains("source=hosts%2Fhost0") && asked[2].contains("limit=4"), "{asked:?}");
}

#[test]
fn a_path_given_twice_counts_once() {
    let server = api(|target| {
        let again = path(&["hosts/host0", "n/leaf0", "n/spine0", "n/leaf1", "hosts/host1"], "");
        target.contains("best-paths").then(|| ok(best(&[over("n/spine0"), again, over("n/spine1")])))
    });
    let answer = ask(&mut client(&server.endpoint, "fabric_graph", LONG), Policy::Spread).unwrap();
    assert_eq!(names(&answer), ["spine0", "spine1"]);
}

#[test]
fn the_api_chooses_for_load() {
    let server = api(|_| None);
    let answer = ask(&mut client(&server.endpoint, "fabric_graph", LONG), Policy::Load).unwrap();
    assert!(answer.candidates.chosen);
    assert_eq!(names(&answer), ["spine1"]);
}

#[test]
fn faults_say_what_to_change() {
    let unknown = api(|_| None);
    let text = ask(&mut client(&unknown.endpoint, "no_such", LONG), Policy::Spread).unwrap_err().to_string();
    assert!(
        text.contains("\"no_such\"") && text.contains("fabric_graph") && text.contains("TOPOLOGY_COLLECTION"),
        "{text}"
    );

    let stranger = Server::start(|_| Reply::Body(404, "<html>".to_owned()));
    let text = ask(&mut client(&stranger.endpoint, "g", LONG), Policy::Spread).unwrap_err().to_string();
    assert!(text.contains("no Jalapeno API") && text.contains("JALAPENO_API_ENDPOINT"), "{text}");

    let text = error(|t| {
        t.contains("topology")
            .then(|| Reply::Body(500, r#"{"detail":"Can't connect to host(s) within limit"}"#.to_owned()))
    });
    assert!(text.contains("database is down"), "{text}");

    let text =
        error(|t| t.contains("best-paths").then(|| ok(r#"{"found":false,"message":"No paths found"}"#)));
    assert_eq!(text, "no path from hosts/host0 to hosts/host1");

    let text = error(|t| {
        t.contains("best-paths").then(|| {
            Reply::Body(
                422,
                r#"{"detail":[{"type":"missing","loc":["query","source"],"msg":"Field required"}]}"#
                    .to_owned(),
            )
        })
    });
    assert!(text.contains("refused") && text.contains("Field required"), "{text}");

    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text =
        ask(&mut client(&format!("http://{gone}"), "g", LONG), Policy::Spread).unwrap_err().to_string();
    assert!(text.contains("can't be reached"), "{text}");

    let server = api(|_| None);
    let mut paths = client(&server.endpoint, "fabric_graph", LONG);
    let stranger = Flow { dst: "2001:db8:9::9".parse().unwrap(), ..flow() };
    let query = Query { policy: Policy::Spread, algo: 0 };
    let text = paths.candidates(stranger, query, Instant::now() + LONG).unwrap_err().to_string();
    assert!(text.contains("2001:db8:9::9") && text.contains("fabric_graph"), "{text}");
    let same = Flow { dst: flow().src, ..flow() };
    assert!(matches!(paths.candidates(same, query, Instant::now() + LONG), Err(PathError::SameHost { .. })));
}

#[test]
fn lies_are_not_believed() {
    let lie = |ids: &'static [&'static str]| {
        error(move |t| t.contains("best-paths").then(|| ok(best(&[path(ids, "fc00::1")]))))
    };
    assert!(lie(&["hosts/host0", "n/leaf0", "n/spine0", "n/leaf0", "hosts/host1"]).contains("twice"));
    assert!(lie(&["hosts/host0", "n/leaf0", "n/spine9", "n/leaf1", "hosts/host1"]).contains("n/spine9"));
    assert!(lie(&["hosts/host0", "n/leaf0", "n/leaf1", "hosts/host1"]).contains("a link n/leaf0 > n/leaf1"));
    assert!(
        lie(&["hosts/host1", "n/leaf1", "n/spine0", "n/leaf0", "hosts/host0"]).contains("does not lead from")
    );
    for garbage in
        ["", "[]", "{}", r#"{"found":true}"#, r#"{"found":true,"paths":[]}"#, "<html>", r#"{"found":"yes"}"#]
    {
        let text = error(move |t| t.contains("best-paths").then(|| ok(garbage)));
        assert!(text.contains("not usable"), "{garbage}: {text}");
    }
    for garbage in ["[]", "{}", r#"{"edges":7,"vertices":7}"#, "null"] {
        let text = error(move |t| t.contains("topology").then(|| ok(garbage)));
        assert!(text.contains("not usable"), "{garbage}: {text}");
    }
}

#[test]
fn a_broken_document_stops_only_what_needs_it() {
    let server = api(|target| {
        target.contains("topology").then(|| {
            ok(topology().replacen(
                r#""vertices":{"#,
                r#""vertices":{"n/odd":{"_key":"odd","sids":[{"srv6_sid":"fc00:0:::"}]},"#,
                1,
            ))
        })
    });
    ask(&mut client(&server.endpoint, "fabric_graph", LONG), Policy::Spread).unwrap();
}

#[test]
fn a_hung_api_costs_one_wait() {
    let server = api(|target| target.contains("topology").then_some(Reply::Hang));
    let limits = CacheLimits { failed: LONG, ..CacheLimits::default() };
    let mut paths = limited(&server.endpoint, "fabric_graph", limits, Duration::from_millis(600));
    let started = Instant::now();
    assert!(ask(&mut paths, Policy::Spread).unwrap_err().to_string().contains("did not answer within"));
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    let asked = server.asked();
    for _ in 0..100 {
        ask(&mut paths, Policy::Spread).unwrap_err();
    }
    assert_eq!(server.asked(), asked, "the others are told without asking again");
}

#[test]
fn passing_faults_are_retried() {
    let failures = Mutex::new(3);
    let server = api(move |target| {
        let mut left = failures.lock().unwrap();
        if target.contains("best-paths") && *left > 0 {
            *left -= 1;
            return Some(if *left == 1 { Reply::Close } else { Reply::Body(503, "busy".to_owned()) });
        }
        None
    });
    ask(&mut client(&server.endpoint, "fabric_graph", LONG), Policy::Spread).unwrap();
}

#[test]
fn an_old_answer_is_better_than_none() {
    let dead = Arc::new(Mutex::new(false));
    let switch = Arc::clone(&dead);
    let server = api(move |_| switch.lock().unwrap().then(|| Reply::Body(503, String::new())));
    let mut paths = client(&server.endpoint, "fabric_graph", Duration::ZERO);
    ask(&mut paths, Policy::Spread).unwrap();
    *dead.lock().unwrap() = true;
    let answer = ask(&mut paths, Policy::Spread).unwrap();
    assert!(matches!(answer.origin, Origin::Cache { .. }));
    assert_eq!(names(&answer), ["spine0", "spine1"]);
}
