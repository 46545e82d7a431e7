//! A job of two ranks with the real plugin and without rights, whose routes the agent sets.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;

use srv6_lab::Node;
use srv6_netdrive::{Driver, DriverOptions, Handle, MessageReceiver, MessageSender, NetSource};

use crate::scene::{PATIENCE, Scene};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_job_without_rights_is_steered_and_goes_on_without_its_agent", goes_on),
    ("a_job_without_rights_gets_lanes_by_mark", by_mark),
    ("auto_takes_the_agent_that_answers_and_says_so_if_none_does", auto),
];

/// First argument of a rank; a handle follows for the one that connects.
pub(crate) const RANK: &str = "rank";

/// Messages per round.
const ROUND: usize = 8;

fn message(round: usize, number: usize) -> Vec<u8> {
    (0..50_000).map(|at| u8::try_from((at * 7 + round * 31 + number) % 251).unwrap()).collect()
}

/// Loads the plugin, and then sends or receives one round for each line of standard input.
pub(crate) fn run(handle: Option<&str>) {
    let path = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    let source = NetSource::Plugin { path, version: None, nccl: None };
    let driver = Driver::load(&source, &DriverOptions::default()).unwrap();
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    let say = |word: &str| {
        println!("{word}");
        std::io::stdout().flush().unwrap();
    };
    if let Some(text) = handle {
        let mut bytes = Handle([0; srv6_netdrive::HANDLE_BYTES]);
        for (byte, pair) in bytes.0.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        let comm = driver.connect(0, &bytes).unwrap().wait().unwrap();
        let mut sender = MessageSender::new(comm, 50_000).unwrap();
        say("connected");
        for round in 0.. {
            if lines.next().is_none() {
                break;
            }
            sender.send((0..ROUND).map(|number| message(round, number)).collect()).unwrap();
            say("sent");
        }
        sender.close().unwrap();
        return;
    }
    let listener = driver.listen(0).unwrap();
    say(&listener.handle().0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut receiver = MessageReceiver::new(listener.accept().unwrap().wait().unwrap(), 50_000).unwrap();
    for round in 0.. {
        if lines.next().is_none() {
            break;
        }
        let got = receiver.receive(ROUND).unwrap();
        assert!(got.iter().enumerate().all(|(number, got)| *got == message(round, number)));
        say("received");
    }
    receiver.close().unwrap();
}

struct Rank {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Rank {
    fn start(scene: &Scene, host: &Node, settings: &[(&str, &str)], handle: Option<&str>) -> Self {
        let mut child = host
            .command("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
            .arg(std::env::current_exe().unwrap())
            .arg(RANK)
            .args(handle)
            .env("SRV6_AGENT_SOCKET", scene.socket())
            .env("SRV6_TRANSPORT", "multipath")
            .env("SRV6_JOB", "e2e")
            .env("NCCL_SOCKET_IFNAME", "=eth1")
            .env("NCCL_SOCKET_FAMILY", "AF_INET6")
            .env("SRV6_CONNECT_TIMEOUT_MS", "60000")
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    fn says(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of the rank's")
    }

    fn go(&mut self) {
        writeln!(self.stdin.as_mut().unwrap(), "go").unwrap();
    }

    fn leave(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Both fail where it has ended and been waited for.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn pair(scene: &Scene, settings: &[(&str, &str)]) -> (Rank, Rank) {
    let receiver = Rank::start(scene, scene.host("host01"), settings, None);
    let handle = receiver.says();
    let sender = Rank::start(scene, scene.host("host00"), settings, Some(&handle));
    assert_eq!(sender.says(), "connected");
    (sender, receiver)
}

fn round(sender: &mut Rank, receiver: &mut Rank) {
    receiver.go();
    sender.go();
    assert_eq!((sender.says(), receiver.says()), ("sent".to_owned(), "received".to_owned()));
}

fn registered_again(scene: &Scene, count: usize) {
    scene.eventually("all are registered again", || {
        let flows = scene.flows();
        flows.len() == count && flows.iter().all(|flow| flow["state"] == "ready")
    });
}

fn goes_on() {
    let mut scene = Scene::start(&[]);
    let (mut sender, mut receiver) = pair(&scene, &[("SRV6_MODE", "agent"), ("SRV6_STRICT", "1")]);
    let shown = scene.routes("host00");
    assert!(shown.contains("2001:db8:1001::2") && shown.contains("encap seg6 mode encap.red"), "{shown}");
    let flows = scene.flows();
    assert!(flows.iter().any(|flow| flow["job"] == "e2e" && flow["state"] == "ready"), "{flows:?}");
    round(&mut sender, &mut receiver);
    scene.kill_agent();
    round(&mut sender, &mut receiver);
    assert_eq!(scene.routes("host00"), shown);
    scene.start_agent(&[]);
    registered_again(&scene, flows.len());
    round(&mut sender, &mut receiver);
    assert_eq!(scene.routes("host00"), shown);
    sender.leave();
    receiver.leave();
    scene.eventually("nothing is left", || {
        scene.routes("host00").is_empty() && scene.routes("host01").is_empty()
    });
}

/// Marks of a host's connections to another, as the kernel has them.
fn marks(scene: &Scene, host: &str, peer: &str) -> BTreeSet<String> {
    let shown = scene.host(host).sh(&format!("ss -Htne state established dst '[{peer}]'")).unwrap();
    let mark = |line: &str| Some(line.split_once("fwmark:")?.1.split_whitespace().next()?.to_owned());
    shown.lines().filter_map(mark).collect()
}

fn by_mark() {
    let mut scene = Scene::start(&[]);
    let settings = [("SRV6_MODE", "agent"), ("SRV6_STRICT", "1"), ("SRV6_PINNING", "mark")];
    let (mut sender, mut receiver) = pair(&scene, &settings);
    round(&mut sender, &mut receiver);
    // Data is marked before it leaves, acknowledgements a moment after the connection is there.
    let (data, acknowledgements) = (
        ("host00", "2001:db8:1000::2", "2001:db8:1001::2"),
        ("host01", "2001:db8:1001::2", "2001:db8:1000::2"),
    );
    assert_eq!(marks(&scene, data.0, data.2).len(), 4, "one for each path");
    for (host, own, peer) in [data, acknowledgements] {
        scene.eventually("every socket has its mark", || marks(&scene, host, peer).len() == 4);
        let carriers: BTreeSet<String> = marks(&scene, host, peer)
            .iter()
            .map(|mark| {
                let route =
                    scene.host(host).sh(&format!("ip -6 route get {peer} from {own} mark {mark}")).unwrap();
                let (_, carrier) = route.split_once("segs 1 [ ").expect("an encapsulating route");
                carrier.split_whitespace().next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(carriers.len(), 4, "{carriers:?}");
    }
    scene.kill_agent();
    round(&mut sender, &mut receiver);
    scene.start_agent(&[]);
    registered_again(&scene, 2);
    round(&mut sender, &mut receiver);
    assert_eq!(marks(&scene, data.0, data.2).len(), 4);
    sender.leave();
    receiver.leave();
    scene.eventually("nothing is left", || {
        scene.routes("host00").is_empty() && scene.routes("host01").is_empty()
    });
}

fn auto() {
    let mut scene = Scene::start(&[]);
    let (mut sender, mut receiver) = pair(&scene, &[("SRV6_MODE", "auto"), ("SRV6_STRICT", "1")]);
    assert!(!scene.routes("host00").is_empty());
    round(&mut sender, &mut receiver);
    sender.leave();
    receiver.leave();
    // Nobody answers, and the process may do nothing itself: strict, it doesn't begin.
    scene.stop_agent();
    let mut rank =
        Rank::start(&scene, scene.host("host00"), &[("SRV6_MODE", "auto"), ("SRV6_STRICT", "1")], None);
    assert!(!rank.child.wait().unwrap().success());
    let (mut sender, mut receiver) = pair(&scene, &[("SRV6_MODE", "auto")]);
    round(&mut sender, &mut receiver);
    assert_eq!(scene.routes("host00"), "");
}
