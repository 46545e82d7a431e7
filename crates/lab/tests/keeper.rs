//! Labs that another process holds: up, looked at from outside, broken, down; and keepers that die.
//!
//! The other process is this program itself with another first argument, hence a main of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test with a main of its own fails as tests do"
)]

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use srv6_fabric::Documents;
use srv6_lab::keeper::{self, Directory, Request, Started, State, Stopped};
use srv6_lab::{Fault, LinkState, Options};

const TEXT: &str = include_str!("../../../examples/fabrics/3x3.json");

/// First argument of a keeper.
const KEEP: &str = "keep";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(KEEP) {
        // It has told its caller already.
        return match keeper::keep() {
            Err(_) => ExitCode::FAILURE,
        };
    }
    let tests: [(&str, fn()); 8] = [
        ("up_twice_and_down_twice_are_fine", up_twice_and_down_twice_are_fine),
        ("a_lab_can_be_read_and_broken_from_outside", a_lab_can_be_read_and_broken_from_outside),
        ("down_ends_what_runs_inside", down_ends_what_runs_inside),
        (
            "a_crashed_keeper_leaves_nothing_but_a_file_that_goes_too",
            a_crashed_keeper_leaves_nothing_but_a_file_that_goes_too,
        ),
        (
            "a_process_with_the_keepers_number_is_not_taken_for_it",
            a_process_with_the_keepers_number_is_not_taken_for_it,
        ),
        ("the_keepers_error_is_the_callers", the_keepers_error_is_the_callers),
        ("an_ordinary_user_can_keep_a_lab", an_ordinary_user_can_keep_a_lab),
        (
            "a_state_directory_that_others_can_write_to_is_refused",
            a_state_directory_that_others_can_write_to_is_refused,
        ),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// A state directory of its own for each test, gone with it.
struct Place(Directory);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("srv6-lab-test-{}-{test}", std::process::id()));
        Self(Directory::at(path).unwrap())
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(self.0.path()).unwrap().next().is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for state in self.0.states().unwrap_or_default() {
            let _ = keeper::stop(&self.0, state.request().name());
        }
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

fn request(text: &str) -> Request {
    let documents = Documents::parse([("3x3", text)], "fabric_graph", "hosts").unwrap();
    Request::new("lab", "3x3", &documents, "fabric_graph", Options::default()).unwrap()
}

/// This program as a keeper.
fn keeper_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn start(place: &Place, request: &Request) -> Result<Started, srv6_lab::Error> {
    let mut command = Command::new(keeper_program());
    command.arg(KEEP);
    keeper::start(&place.0, request, command)
}

fn state(place: &Place) -> State {
    place.0.state("lab").unwrap().unwrap()
}

/// Runs a command in a node the way a person without srv6ctl would.
fn nsenter(state: &State, node: &str, command: &[&str]) -> String {
    let net = format!("--net=/proc/{}/task/{}/ns/net", state.pid(), state.threads()[node]);
    let output = Command::new("nsenter").arg(net).args(command).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wait_until_dead(state: &State) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while state.is_alive() {
        assert!(Instant::now() < deadline, "keeper {} is still alive", state.pid());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn up_twice_and_down_twice_are_fine() {
    let place = Place::new("twice");
    let wanted = request(TEXT);
    assert_eq!(start(&place, &wanted).unwrap(), Started::Now);
    let state = state(&place);
    assert!(
        nsenter(&state, "srv6-pytorch-0", &["ping", "-c1", "-W30", "fcbb:0:800:2::10"])
            .contains("1 received")
    );
    // Another session: nothing typed at this one's terminal reaches it.
    let session = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_ne!(session(state.pid()), session(std::process::id()));

    assert_eq!(start(&place, &wanted).unwrap(), Started::Already);
    let other = start(&place, &request(&TEXT.replace("65004", "65104"))).unwrap_err().to_string();
    assert!(other.contains("is up with another topology"), "{other}");
    assert_eq!(self::state(&place).pid(), state.pid());

    assert_eq!(keeper::stop(&place.0, "lab").unwrap(), Stopped::Now { processes: 0 });
    assert!(!state.is_alive());
    assert_eq!(keeper::stop(&place.0, "lab").unwrap(), Stopped::Already);
    assert!(place.is_empty());
}

fn a_lab_can_be_read_and_broken_from_outside() {
    let place = Place::new("outside");
    start(&place, &request(TEXT)).unwrap();
    let state = state(&place);
    let lab = state.lab().unwrap();
    lab.fail("leaf00-spine01", Fault::Silent).unwrap();
    drop(lab);
    // Another look finds what the first did: the fault is in the kernel, not in whoever made it.
    let lab = state.lab().unwrap();
    let silent = lab.links().unwrap().into_iter().filter(|l| l.state == LinkState::Silent).count();
    assert_eq!(silent, 2);
    lab.heal_all().unwrap();
    assert!(lab.links().unwrap().iter().all(|l| l.state == LinkState::Up));
    assert!(lab.node("spine00").unwrap().sh("ip -br link").unwrap().contains("leaf02"));
    drop(lab);
    assert!(state.is_alive(), "looking doesn't take it down");
}

fn down_ends_what_runs_inside() {
    let place = Place::new("inside");
    start(&place, &request(TEXT)).unwrap();
    let lab = state(&place).lab().unwrap();
    let ready = |mut command: Command| {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        child
    };
    let shell = |node: &str, script: &str| {
        let mut command = lab.node(node).unwrap().command("sh");
        command.args(["-c", script]);
        ready(command)
    };
    let mut polite = shell("srv6-pytorch-0", "echo ready; exec sleep 600");
    let mut deaf = shell("leaf00", "trap '' TERM; echo ready; while :; do sleep 600; done");
    drop(lab);
    let Stopped::Now { processes } = keeper::stop(&place.0, "lab").unwrap() else { panic!("it was up") };
    assert!(processes >= 2, "{processes}");
    assert!(!polite.wait().unwrap().success());
    assert!(!deaf.wait().unwrap().success());
}

fn a_crashed_keeper_leaves_nothing_but_a_file_that_goes_too() {
    let place = Place::new("crash");
    let wanted = request(TEXT);
    start(&place, &wanted).unwrap();
    let dead = state(&place);
    let kill = Command::new("kill").args(["-KILL", &dead.pid().to_string()]).status().unwrap();
    assert!(kill.success());
    wait_until_dead(&dead);
    assert!(!place.is_empty());
    assert!(place.0.state("lab").unwrap().is_none());
    assert!(place.is_empty());
    assert_eq!(start(&place, &wanted).unwrap(), Started::Now);
    assert_ne!(state(&place).pid(), dead.pid());
}

fn a_process_with_the_keepers_number_is_not_taken_for_it() {
    let place = Place::new("reused");
    start(&place, &request(TEXT)).unwrap();
    let real = state(&place);
    let file = place.0.path().join("lab.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut stale: serde_json::Value = serde_json::from_str(&text).unwrap();
    stale["start_time"] = serde_json::json!(1);
    std::fs::write(&file, stale.to_string()).unwrap();
    assert_eq!(keeper::stop(&place.0, "lab").unwrap(), Stopped::Already);
    assert!(real.is_alive(), "nobody with another beginning is killed");
    std::fs::write(&file, text).unwrap();
    assert_eq!(keeper::stop(&place.0, "lab").unwrap(), Stopped::Now { processes: 0 });
}

fn the_keepers_error_is_the_callers() {
    let place = Place::new("error");
    let bad = request(&TEXT.replace("\"name\": \"spine01\"", "\"name\": \"spine00\""));
    let error = start(&place, &bad).unwrap_err().to_string();
    assert!(error.contains("are both called \"spine00\""), "{error}");
    assert!(place.0.state("lab").unwrap().is_none());
    let error = keeper::start(&place.0, &request(TEXT), Command::new("false")).unwrap_err().to_string();
    assert!(error.contains("ended without an answer (exit status: 1"), "{error}");
    let error =
        keeper::start(&place.0, &request(TEXT), Command::new("/nonexistent")).unwrap_err().to_string();
    assert!(error.contains("could not be started"), "{error}");
}

/// Without capabilities, as an ordinary user has none, the keeper makes a user namespace of its own. The tests are
/// run as a user namespace's root, which needs one that others don't to appear in another map (user_namespaces(7)).
fn an_ordinary_user_can_keep_a_lab() {
    let place = Place::new("user");
    let mut keeper = Command::new("setpriv");
    keeper.args(["--bounding-set=-all,+setfcap", "--inh-caps=-all"]).arg(keeper_program()).arg(KEEP);
    assert_eq!(keeper::start(&place.0, &request(TEXT), keeper).unwrap(), Started::Now);
    let state = state(&place);
    let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(of(state.pid()), of(std::process::id()));
    let inside = format!("--user=/proc/{}/ns/user", state.pid());
    let net = format!("--net=/proc/{}/task/{}/ns/net", state.pid(), state.threads()["srv6-pytorch-0"]);
    let ping = ["ping", "-c1", "-W30", "fcbb:0:800:2::10"];
    let said =
        Command::new("nsenter").args([&inside, &net, "--preserve-credentials"]).args(ping).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("1 received"), "{said:?}");
    assert_eq!(keeper::stop(&place.0, "lab").unwrap(), Stopped::Now { processes: 0 });
}

fn a_state_directory_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("open");
    let path = place.0.path().to_owned();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Directory::at(path.clone()).unwrap_err().to_string();
    assert!(error.ends_with("want a directory of your own that only you can write to"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let link = path.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Directory::at(link).is_err(), "a link could lead anywhere tomorrow");
}
