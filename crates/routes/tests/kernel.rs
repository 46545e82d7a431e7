//! Routes in a real kernel, with `ip` as the judge. Each test runs in a network namespace of its own
//! (cargo's runner makes one per test binary; tests here make one per test).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helper functions fail as tests do"
)]

mod scene;

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scene::{PATIENCE, in_namespace, sh};
use srv6_fabric::{Flow, Prefix, Segments};
use srv6_routes::{
    Dataplane, DryRun, EncapMode, Holders, LinuxRoutes, Route, RouteError, RouteKey, Target, collect_garbage,
};

fn key(destination: &str) -> RouteKey {
    RouteKey { table: 254, destination: Prefix::host(destination.parse().unwrap()) }
}

fn route(kernel: &mut LinuxRoutes, destination: &str, segments: &[&str], mode: EncapMode) -> Route {
    let source: IpAddr =
        if destination.contains(':') { "2001:db8:1000::2" } else { "10.1.0.2" }.parse().unwrap();
    Route {
        key: key(destination),
        interface: kernel.interface_of(source).unwrap().index,
        source: Some(source),
        mtu: Some(1400),
        target: Target::Encap {
            mode,
            segments: Segments::new(segments.iter().map(|s| s.parse().unwrap()).collect()).unwrap(),
        },
    }
}

#[test]
fn what_is_set_is_what_ip_shows_and_what_is_read_back() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let one = ["fc00:0:1200:1000:1201:fe06::"];
        let two = ["fc00:0:1:2:3:4:5:0", "fc00:0:6:fe06::"];
        for (destination, segments, mode, shown) in [
            (
                "2001:db8:1001::2",
                &one[..],
                EncapMode::Reduced,
                "2001:db8:1001::2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:1000:1201:fe06:: ] dev eth1 src 2001:db8:1000::2 metric 77 mtu 1400",
            ),
            (
                "2001:db8:1001::2",
                &two[..],
                EncapMode::Full,
                "2001:db8:1001::2  encap seg6 mode encap segs 2 [ fc00:0:1:2:3:4:5:0 fc00:0:6:fe06:: ] dev eth1 src 2001:db8:1000::2 metric 77 mtu 1400",
            ),
            (
                "10.1.3.2",
                &one[..],
                EncapMode::Reduced,
                "10.1.3.2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:1000:1201:fe06:: ] dev eth1 src 10.1.0.2 metric 77 mtu 1400",
            ),
        ] {
            let route = route(&mut kernel, destination, segments, mode);
            kernel.set(&route).unwrap();
            let family = if destination.contains(':') { "-6" } else { "-4" };
            let list = sh(&format!("ip {family} route show proto 83"));
            assert_eq!(list.lines().count(), 1, "a replace must leave one route: {list}");
            assert!(list.trim().starts_with(shown), "{list}");
            assert_eq!(kernel.find(&route.key).unwrap(), Some(route.clone()));
            assert!(kernel.owned().unwrap().contains(&route));
        }
        for route in kernel.owned().unwrap() {
            kernel.remove(&route.key).unwrap();
            kernel.remove(&route.key).unwrap();
        }
        assert_eq!(sh("ip -6 route show proto 83; ip route show proto 83"), "");
    });
}

#[test]
fn nobody_elses_route_is_touched() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        sh("ip -6 route add 2001:db8:1001::2/128 via 2001:db8:1000::1 metric 1024 proto static");
        sh("ip -6 route add 2001:db8:1002::2/128 via 2001:db8:1000::1 metric 77 proto static");
        let before = sh("ip -6 route show proto static");
        let ours = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        kernel.set(&ours).unwrap();
        let occupied = route(&mut kernel, "2001:db8:1002::2", &["fc00:0:1::"], EncapMode::Reduced);
        let error = kernel.set(&occupied).unwrap_err();
        assert!(matches!(error, RouteError::Occupied { protocol: 4, metric: 77, .. }), "{error}");
        kernel.remove(&occupied.key).unwrap();
        kernel.remove(&ours.key).unwrap();
        assert_eq!(sh("ip -6 route show proto static"), before);
        assert_eq!(kernel.owned().unwrap(), []);
    });
}

#[test]
fn each_fault_is_its_own_error_with_the_remedy() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let reach = kernel.reach("fc00:0:1200::".parse().unwrap()).unwrap().unwrap();
        assert_eq!(reach.prefix_len, 32);
        assert_eq!(kernel.reach("fcbb:0:1::".parse().unwrap()).unwrap(), None);
        sh("ip -6 route add unreachable fcbb:0::/32");
        assert_eq!(kernel.reach("fcbb:0:1::".parse().unwrap()).unwrap(), None);

        let error = kernel.interface_named("eth9").unwrap_err().to_string();
        assert!(error.contains("\"eth9\"") && error.contains("BACKEND_INTERFACE"), "{error}");
        let error = kernel.interface_of("2001:db8::9".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("2001:db8::9"), "{error}");

        let mut block = route(&mut kernel, "fcbb::", &["fc00:0:1::"], EncapMode::Reduced);
        block.target = Target::Gateway("2001:db8:dead::1".parse().unwrap());
        block.source = None;
        let error = kernel.set(&block).unwrap_err().to_string();
        assert!(error.contains("2001:db8:dead::1") && error.contains("eth1"), "{error}");

        let mut gone = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        gone.interface = 4242;
        assert!(matches!(kernel.set(&gone).unwrap_err(), RouteError::UnknownInterface { .. }));

        let denied = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        let text = std::thread::spawn(move || {
            drop_capabilities();
            kernel.set(&denied).unwrap_err().to_string()
        });
        let text = text.join().unwrap();
        assert!(text.contains("CAP_NET_ADMIN") && text.contains("SRV6_MODE=off"), "{text}");
    });
}

/// Capabilities are a thread's own: this one loses all of them.
fn drop_capabilities() {
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    // SAFETY: capset(2) reads a header of two and data of six 32-bit words for this version, both alive here.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_thousand_routes_in_bulk_all_arrive() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let template = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        for i in 0..1000u32 {
            let mut route = template.clone();
            route.key = key(&format!("2001:db8:2000::{:x}", i + 1));
            kernel.set(&route).unwrap();
        }
        assert_eq!(sh("ip -6 route show proto 83 | wc -l").trim(), "1000");
        assert_eq!(kernel.owned().unwrap().len(), 1000);
        let garbage = collect_garbage(&mut kernel, PATIENCE).unwrap();
        assert_eq!((garbage.removed.len(), garbage.kept.len(), garbage.failed.len()), (1000, 0, 0));
        assert_eq!(sh("ip -6 route show proto 83"), "");
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let mut dry = DryRun::new().unwrap();
        let wanted = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        dry.set(&wanted).unwrap();
        assert_eq!(dry.find(&wanted.key).unwrap(), Some(wanted.clone()));
        assert_eq!(sh("ip -6 route show proto 83"), "");
        sh(&wanted.command("eth1"));
        assert_eq!(
            kernel.find(&wanted.key).unwrap(),
            Some(wanted.clone()),
            "the printed command is the route"
        );
        sh(&wanted.key.command());
        assert_eq!(kernel.owned().unwrap(), []);
    });
}

/// A process that holds a route, as a rank does, and waits to be killed. This test binary is that process
/// when the variable is set; see the last test.
const HOLDER: &str = "SRV6_TEST_HOLDER";

#[test]
fn references_count_across_processes_and_end_with_them() {
    if let Some(destination) = std::env::vars().find(|(k, _)| k == HOLDER).map(|(_, v)| v) {
        let lock = Holders.lock(PATIENCE).unwrap();
        let _hold = Holders.hold(&lock, &key(&destination)).unwrap();
        drop(lock);
        println!("held");
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let shared = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        kernel.set(&shared).unwrap();
        let mut ranks: Vec<_> = (0..2)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "references_count_across_processes_and_end_with_them", "--nocapture"])
                    .env(HOLDER, "2001:db8:1001::2")
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let count = |want: usize| {
            let started = Instant::now();
            loop {
                let lock = Holders.lock(PATIENCE).unwrap();
                let have = Holders.count(&lock).unwrap().of(&key("2001:db8:1001::2"));
                drop(lock);
                if have == want {
                    return;
                }
                assert!(started.elapsed() < Duration::from_secs(60), "{have} references, want {want}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        count(2);
        let lock = Holders.lock(PATIENCE).unwrap();
        let own = Holders.hold(&lock, &shared.key).unwrap();
        assert_eq!(Holders.count(&lock).unwrap().of(&shared.key), 3);
        let seen = Holders.processes().unwrap();
        assert_eq!((seen.count(&shared.key), seen.count(&key("2001:db8:1001::"))), (3, 0));
        let pids = ranks.iter().map(std::process::Child::id).chain([std::process::id()]).collect();
        assert_eq!(seen.of(&shared.key), pids);
        assert_eq!(Holders.count(&lock).unwrap().of(&key("2001:db8:1001::")), 0);
        assert!(matches!(Holders.lock(Duration::from_millis(10)), Err(RouteError::Locked { .. })));
        drop(lock);
        drop(own);
        for rank in &mut ranks {
            assert_eq!(collect_garbage(&mut kernel, PATIENCE).unwrap().kept, std::slice::from_ref(&shared));
            rank.kill().unwrap();
            rank.wait().unwrap();
        }
        count(0);
        assert_eq!(collect_garbage(&mut kernel, PATIENCE).unwrap().removed, [shared]);
        assert_eq!(sh("ip -6 route show proto 83"), "");
    });
}

#[test]
fn a_child_on_its_way_to_exec_keeps_no_route() {
    in_namespace(|| {
        let lock = Holders.lock(PATIENCE).unwrap();
        let mine = key("2001:db8:1008::2");
        let hold = Holders.hold(&lock, &mine).unwrap();
        // SAFETY: the child does nothing but wait to be killed, with copies of all our sockets.
        let child = unsafe { libc::fork() };
        if child == 0 {
            loop {
                // SAFETY: takes no arguments.
                unsafe { libc::pause() };
            }
        }
        assert_eq!(Holders.count(&lock).unwrap().of(&mine), 1);
        drop(hold);
        assert_eq!(Holders.count(&lock).unwrap().of(&mine), 0, "the child's copy counts");
        let again = Holders.hold(&lock, &mine).unwrap();
        assert_eq!(Holders.count(&lock).unwrap().of(&mine), 1);
        drop(again);
        // SAFETY: a child of ours, not waited for yet.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: as above; a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    });
}

#[test]
fn no_child_keeps_the_lock_however_long_it_is_held() {
    in_namespace(|| {
        let ((locked, is_locked), (forked, is_forked)) =
            (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let holder = std::thread::spawn(move || {
            use std::os::fd::AsRawFd;
            // SAFETY: an open descriptor of a network namespace; only this thread changes.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            let lock = Holders.lock(PATIENCE).unwrap();
            locked.send(()).unwrap();
            is_forked.recv().unwrap();
            drop(lock);
        });
        is_locked.recv().unwrap();
        let began = Instant::now();
        srv6_routes::before_fork();
        assert!(began.elapsed() >= Duration::from_millis(100), "it waits for the lock, for a while");
        // SAFETY: the child calls only what an atfork handler may, then sleeps until it is killed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            srv6_routes::after_fork_in_child();
            loop {
                // SAFETY: takes no arguments.
                unsafe { libc::pause() };
            }
        }
        srv6_routes::after_fork_in_parent();
        forked.send(()).unwrap();
        holder.join().unwrap();
        let lock = Holders.lock(PATIENCE);
        // SAFETY: a child of ours, not waited for yet.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: as above; a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        lock.expect("the child has no copy of the lock");
    });
}

#[test]
fn a_route_that_packets_do_not_take_is_told() {
    in_namespace(|| {
        let mut kernel = LinuxRoutes::new().unwrap();
        let mut ours = route(&mut kernel, "2001:db8:1001::2", &["fc00:0:1::"], EncapMode::Reduced);
        let flow =
            Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: "2001:db8:1001::2".parse().unwrap() };
        kernel.set(&ours).unwrap();
        kernel.takes(flow, &ours.key).unwrap();
        sh("ip -6 route add 2001:db8:1001::2/128 via 2001:db8:1000::1 metric 10 proto bgp");
        let error = kernel.takes(flow, &ours.key).unwrap_err().to_string();
        assert!(error.contains("metric 10 and protocol 186"), "{error}");
        kernel.remove(&ours.key).unwrap();
        sh("ip -6 route del 2001:db8:1001::2/128 metric 10");

        ours.key.table = 1000;
        kernel.set(&ours).unwrap();
        let error = kernel.takes(flow, &ours.key).unwrap_err().to_string();
        assert!(error.contains("ip -6 rule add lookup 1000"), "{error}");
        sh("ip -6 rule add from 2001:db8:1000::2 lookup 1000");
        kernel.takes(flow, &ours.key).unwrap();
        // Another's route in our place is seen in a table that no rule leads to, too.
        sh("ip -6 route add 2001:db8:1001::3/128 via 2001:db8:1000::1 table 1001 metric 77 proto static");
        let mut taken = route(&mut kernel, "2001:db8:1001::3", &["fc00:0:1::"], EncapMode::Reduced);
        taken.key.table = 1001;
        assert!(matches!(kernel.set(&taken), Err(RouteError::Occupied { protocol: 4, .. })));
    });
}

#[test]
fn a_forked_child_gives_its_copies_back() {
    in_namespace(|| {
        let lock = Holders.lock(PATIENCE).unwrap();
        let hold = Holders.hold(&lock, &key("2001:db8:1009::2")).unwrap();
        // SAFETY: the child calls only what an atfork handler may, then sleeps until it is killed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            srv6_routes::after_fork_in_child();
            loop {
                // SAFETY: takes no arguments.
                unsafe { libc::pause() };
            }
        }
        drop(hold);
        // The kernel's own list, since this process no longer counts what it closed.
        let started = Instant::now();
        while sh("cat /proc/net/unix").contains("2001:db8:1009::2") {
            assert!(started.elapsed() < Duration::from_secs(60), "the child keeps the reference");
        }
        // SAFETY: a child of ours, not waited for yet.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: as above; a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    });
}
