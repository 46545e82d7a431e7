//! Programs of the world with the library and without: what they print, and how they end, is the same.
//!
//! The programs come from Debian; scripts/install-tools has the list.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

#[allow(dead_code, reason = "the other test, whose module this is, needs more of it")]
#[path = "../lab/scene.rs"]
mod scene;
mod servers;

use std::path::Path;
use std::process::Stdio;

use scene::{Program, Scene};
use servers::{HOST, POSTGRES, SSH, WEB, redis, start, until};

/// How a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Steered,
    Off,
}

/// What somebody sees of a program's run.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: Option<i32>,
    printed: String,
    said: String,
}

/// A lab whose first leaf counts what comes from host00 inside a carrier.
fn raise() -> Scene {
    let scene = Scene::up("4x4");
    let leaf = scene.lab.node("leaf00").unwrap();
    leaf.sh("nft 'add table ip6 t; add chain ip6 t pre { type filter hook prerouting priority raw; }; \
             add rule ip6 t pre ip6 saddr 2001:db8:1000::2 ip6 daddr fc00::/16 counter'")
        .unwrap();
    scene
}

/// Packets from host00 so far that came inside a carrier.
fn steered(scene: &Scene) -> u64 {
    let listed = scene.lab.node("leaf00").unwrap().sh("nft list chain ip6 t pre").unwrap();
    let count = listed.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no counter: {listed}"))
}

/// Runs a shell command line in host00.
fn run(scene: &Scene, line: &str, way: Way) -> Seen {
    let mut command = scene.command("host00", "sh");
    match way {
        Way::Plain => command.env_remove("LD_PRELOAD"),
        Way::Steered => &mut command,
        Way::Off => command.env("SRV6_MODE", "off"),
    };
    let output = command.args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Seen { status: output.status.code(), printed: text(&output.stdout), said: text(&output.stderr) }
}

/// The program does the same without the library, with it switched off, and steered; and it is steered then only.
fn behaves(scene: &Scene, line: &str, wanted: &str) {
    let plain = run(scene, line, Way::Plain);
    assert!(plain.printed.contains(wanted) || plain.said.contains(wanted), "{line}: {plain:?}");
    let before = steered(scene);
    assert_eq!(run(scene, line, Way::Off), plain, "{line}");
    assert_eq!(steered(scene), before, "{line}: switched off and yet steered");
    assert_eq!(run(scene, line, Way::Steered), plain, "{line}");
    assert!(steered(scene) > before, "{line}: not steered");
    // Programs that end by `_exit` leave their routes to the next one that steers; here that would be the wrong one.
    scene.lab.node("host00").unwrap().sh("ip -6 route flush proto 83").unwrap();
}

#[test]
fn clients_behave_the_same() {
    let scene = raise();
    let _servers = [WEB, SSH, POSTGRES].map(|source| start(&scene, source));
    behaves(&scene, &format!("curl -sS http://[{HOST}]:8000/"), "hello");
    behaves(&scene, &format!("curl -s http://[{HOST}]:1/; echo $?"), "7");
    let ssh =
        "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p 2222";
    behaves(&scene, &format!("{ssh} -l nobody {HOST} true"), "Protocol major versions differ");
    behaves(&scene, &format!("psql -X -At -h {HOST} -U nobody -d none -c 'select 42'"), "42");
    let python = format!("import urllib.request as r; print(r.urlopen('http://[{HOST}]:8000/').read())");
    behaves(&scene, &format!("python3 -c \"{python}\""), "hello");
    let stream = format!("asyncio.open_connection('{HOST}', 8000)");
    let python = format!(
        "import asyncio
async def page():
    reader, writer = await {stream}
    writer.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    return (await reader.read())[-6:]
print(asyncio.run(page()))"
    );
    behaves(&scene, &format!("python3 -c \"{python}\""), "hello");
    let node = format!("require('http').get('http://[{HOST}]:8000/', page => page.pipe(process.stdout))");
    behaves(&scene, &format!("node -e \"{node}\""), "hello");
    // The one program of a Java runtime without a compiler that opens connections; the server speaks no TLS.
    behaves(
        &scene,
        &format!("keytool -printcert -sslserver '[{HOST}]:8000'"),
        "No certificate from the SSL server",
    );
}

#[test]
fn redis_behaves_the_same() {
    let scene = raise();
    let _server = redis(&scene);
    behaves(&scene, &format!("redis-cli -h {HOST} set a 42 && redis-cli -h {HOST} get a"), "42");
    // Its figures differ from run to run.
    let benchmark = format!("redis-benchmark -h {HOST} -n 500 -c 8 -t set,get --csv");
    behaves(&scene, &format!("{benchmark} | tr -d '0-9.,\"'"), "SET");
    scene.await_route("host01", "2001:db8:1000::2  encap seg6 mode encap.red");
}

#[test]
fn nginx_reloads_with_the_library() {
    let scene = raise();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim_nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let page = |text: &str| {
        let configuration = format!(
            "worker_processes 2; daemon off; user root; pid {}; error_log {}; events {{}}
            http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
            uwsgi_temp_path {folder}; scgi_temp_path {folder};
            server {{ listen [{HOST}]:8080; location / {{ return 200 {text}; }} }} }}",
            path("pid"),
            path("errors"),
            folder = folder.display(),
        );
        std::fs::write(path("conf"), configuration).unwrap();
    };
    page("first");
    let _ = std::fs::remove_file(path("errors"));
    let mut command = scene.command("host01", "nginx");
    let server = Program::start(command.args(["-c", &path("conf"), "-e", &path("errors")]));
    let signal = |name: &str| {
        let line = format!("kill -s {name} $(cat {})", path("pid"));
        scene.lab.node("host01").unwrap().sh(&line).unwrap();
    };
    let fetch = format!("curl -s http://[{HOST}]:8080/");
    until(&scene, &format!("test \"$({fetch})\" = first"));
    scene.await_route("host01", "2001:db8:1000::2  encap seg6 mode encap.red");
    page("second");
    signal("HUP");
    until(&scene, &format!("test \"$({fetch})\" = second"));
    scene.await_route("host01", "2001:db8:1000::2  encap seg6 mode encap.red");
    signal("QUIT");
    server.end();
    // It can't become another user in the namespace of a test, with the library or without.
    let errors = std::fs::read_to_string(path("errors")).unwrap();
    let errors: Vec<&str> = errors.lines().filter(|line| !line.contains("initgroups")).collect();
    assert!(errors.is_empty(), "{errors:?}");
}
