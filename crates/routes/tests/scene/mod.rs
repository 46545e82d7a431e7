//! A network namespace per test, and `sh` to look at it with.

use std::process::Command;
use std::time::Duration;

/// For locks, which are held for a moment where nothing else runs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on a thread in a fresh network namespace with one veth pair, `eth1` and its far end.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let result = std::thread::spawn(move || {
        // SAFETY: takes no pointers; only this thread changes namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        sh("ip link set lo up");
        sh("ip link add eth1 type veth peer name far");
        sh("ip link set eth1 up && ip link set far up");
        sh("ip addr add 2001:db8:1000::2/64 dev eth1 nodad && ip addr add 10.1.0.2/24 dev eth1");
        sh("ip -6 route add fc00:0::/32 via 2001:db8:1000::1 dev eth1");
        test();
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn sh(script: &str) -> String {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{script}: {}{text}", String::from_utf8_lossy(&out.stderr));
    text
}
