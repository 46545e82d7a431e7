//! Agents end and begin; jobs and their routes go on.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use srv6_hints::HintsView;

use crate::client::Client;
use crate::scene::{PATIENCE, Scene, TO_HOST01, TO_HOST02};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_killed_agent_loses_nothing_and_the_next_one_touches_nothing", killed),
    ("an_agent_that_comes_later_than_the_job_is_found", late),
    ("a_stopped_agent_leaves_routes_and_flush_removes_them", stopped),
    ("what_died_with_the_agent_goes_after_the_time_of_grace", grace),
    ("a_socket_folder_that_is_removed_is_made_again", folder),
    ("the_service_manager_hears_when_it_serves_and_when_it_stops", notified),
];

/// Listens to changes of a host's routes.
struct Monitor(Arc<Mutex<Vec<String>>>, std::process::Child);

impl Monitor {
    fn start(scene: &Scene, host: &str) -> Self {
        let mut child =
            scene.host(host).command("ip").args(["monitor", "route"]).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, stdout) = (Arc::<Mutex<Vec<String>>>::default(), child.stdout.take().unwrap());
        let all = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                all.lock().unwrap().push(line);
            }
        });
        let monitor = Self(lines, child);
        monitor.caught_up(scene, host);
        monitor
    }

    /// Waits until everything so far has been heard, and gives what was of ours.
    fn caught_up(&self, scene: &Scene, host: &str) -> Vec<String> {
        let before = self.0.lock().unwrap().len();
        scene.eventually("the monitor listens", || {
            scene
                .host(host)
                .sh("ip -6 route add 2001:db8:9::/64 dev eth1 && ip -6 route del 2001:db8:9::/64")
                .unwrap();
            self.0.lock().unwrap()[before..].iter().any(|line| line.contains("Deleted 2001:db8:9::/64"))
        });
        self.0.lock().unwrap().iter().filter(|line| line.contains("proto 83")).cloned().collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.1.kill().unwrap();
        self.1.wait().unwrap();
    }
}

fn ready(scene: &Scene, count: usize) {
    scene.eventually("all are registered again", || {
        let flows = scene.flows();
        flows.len() == count && flows.iter().all(|flow| flow["state"] == "ready")
    });
}

fn killed() {
    let mut scene = Scene::start(&[]);
    let client = Client::unprivileged(scene.host("host00"), &scene.socket(), &[TO_HOST01, TO_HOST02]);
    client.ready(2);
    let shown = scene.routes("host00");
    let monitor = Monitor::start(&scene, "host00");
    scene.kill_agent();
    assert_eq!(scene.routes("host00"), shown);
    scene.host("host00").sh("ping -6 -c 2 -i 0.01 -W 5 -q 2001:db8:1001::2").unwrap();
    scene.start_agent(&["--srv6d-grace-s", "1"]);
    ready(&scene, 2);
    // Longer than the time of grace: the namespace has been tidied.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(scene.routes("host00"), shown);
    assert_eq!(
        monitor.caught_up(&scene, "host00"),
        Vec::<String>::new(),
        "a route that was right was touched"
    );
    client.leave();
    assert_eq!(scene.routes("host00"), "");
    assert_eq!(monitor.caught_up(&scene, "host00").len(), 2);
}

fn late() {
    let mut scene = Scene::without_agent();
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    scene.start_agent(&[]);
    client.ready(1);
    assert_eq!(scene.routes("host00").lines().count(), 1);
}

fn stopped() {
    let mut scene = Scene::start(&[]);
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01, TO_HOST02]);
    client.ready(2);
    let shown = scene.routes("host00");
    scene.stop_agent();
    assert_eq!(scene.routes("host00"), shown);
    assert!(!Path::new(&scene.socket()).exists());
    scene.start_agent(&["--flush"]);
    ready(&scene, 2);
    scene.stop_agent();
    assert_eq!(scene.routes("host00"), "");
}

fn grace() {
    let mut scene = Scene::start(&[]);
    let one = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    let other = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST02]);
    one.ready(1);
    other.ready(1);
    scene.kill_agent();
    one.kill();
    assert_eq!(scene.routes("host00").lines().count(), 2);
    scene.start_agent(&["--srv6d-grace-s", "2"]);
    ready(&scene, 1);
    scene.eventually("the dead job's route is gone", || scene.routes("host00").lines().count() == 1);
    assert!(scene.routes("host00").starts_with("2001:db8:1002::2 "), "{}", scene.routes("host00"));
    drop(other);
}

/// The protocol of `sd_notify(3)`.
fn notified() {
    let mut scene = Scene::without_agent();
    let path = scene.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut said = [0; 256];
        let count = manager.recv(&mut said).expect("a word of the agent's");
        String::from_utf8(said[..count].to_vec()).unwrap()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_srv6d"));
    command.env("NOTIFY_SOCKET", &path);
    scene.start_agent_by(command, &[]);
    assert_eq!(hear().trim_end(), "READY=1");
    scene.session().expect("who hears that it is ready finds it so");
    scene.stop_agent();
    assert_eq!(hear().trim_end(), "STOPPING=1");
}

fn folder() {
    let mut scene = Scene::without_agent();
    let socket = scene.socket();
    let folder = Path::new(&socket).parent().unwrap();
    let (hints, state) = (folder.join("hints"), folder.join("drained.json"));
    let own = ["--srv6d-hints", hints.to_str().unwrap(), "--srv6d-state", state.to_str().unwrap()];
    let flags = [&own[..], &["--srv6d-group", "0"]].concat();
    scene.start_agent(&flags);
    let lanes = format!("lanes:{TO_HOST01}");
    let client = Client::start(scene.host("host00"), &socket, &[&lanes]);
    client.ready(1);
    scene.ask(r#"{"command":"drain","place":"spine02","patience_ms":1000}"#);
    let said = || HintsView::open(&hints).map(|view| view.entries());
    let before = said().unwrap();
    assert_eq!(before.len(), 1);
    std::fs::remove_dir_all(folder).unwrap();
    scene.eventually("the agent answers again", || scene.session().is_ok());
    // Sessions that were open are so still, and new ones are taken.
    assert_eq!(scene.attached(), [client.pid()]);
    let second = Client::start(scene.host("host00"), &socket, &[TO_HOST02]);
    second.ready(1);
    scene.eventually("new readers have hints", || said().is_ok_and(|entries| entries == before));
    scene.eventually("drains are kept", || state.exists());
    // Members of a group come to the socket through a folder that anybody may enter.
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder), mode(Path::new(&socket))), (0o755, 0o660));
    scene.kill_agent();
    scene.start_agent(&flags);
    assert_eq!(scene.ask(r#"{"command":"denied"}"#)[0]["drained"], serde_json::json!(["spine02"]));
}
