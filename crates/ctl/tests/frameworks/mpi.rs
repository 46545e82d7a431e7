//! Open MPI over TCP: the ring of examples/mpi, started by its own mpirun.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;
use crate::scene::{INTERFACE, Scene, Shim, repository};

/// Sends 16 MB round a ring of these hosts, and waits for the end.
///
/// What mpirun and its daemons say to each other goes over the management network, as it does on clusters.
pub(crate) fn ring(scene: &Scene, hosts: &[&str], shim: Shim) {
    let (agent, ring) = (agent(scene), compiled(scene));
    // Only the ranks get the shim; the launcher passes it on as users do it.
    let mut command = scene.command(hosts[0], "mpirun", Shim::Absent);
    command.env("TMPDIR", temporary(scene, "mpirun"));
    command.args(["--allow-run-as-root", "--mca", "oob_tcp_if_include", "mgmt0"]);
    command.args(["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]);
    command.args(["--mca", "btl_tcp_if_include", INTERFACE, "--mca", "plm_rsh_agent"]).arg(agent);
    command.args(["-np", &hosts.len().to_string(), "--host", &hosts.join(",")]);
    if shim == Shim::Preloaded {
        for (name, value) in scene.preloading() {
            command.args(["-x", &format!("{name}={value}")]);
        }
    }
    let ended = Process::start(command.arg(ring)).end();
    ended.assert_right();
    let wanted = format!("ring of {} ranks, 16 rounds of 1048576 bytes: 0 wrong\n", hosts.len());
    assert!(ended.printed.contains(&wanted), "{ended:#?}");
}

/// What mpirun starts its daemons with instead of ssh: lab hosts have no sshd, but namespaces. Like ssh it passes no
/// variables on. Each host has its own folder for temporary files: daemons name their session's folder after the machine,
/// and lab hosts are one machine, so one daemon would remove or map what is another's.
fn agent(scene: &Scene) -> PathBuf {
    let mut script = "#!/bin/sh\nhost=$1\nshift\ncase $host in\n".to_owned();
    for host in scene.lab.hosts() {
        let (namespace, temporary) = (host.namespace_path(), temporary(scene, host.name()));
        let (namespace, temporary) = (namespace.display(), temporary.display());
        writeln!(script, "{}) namespace='{namespace}' temporary='{temporary}' ;;", host.name()).unwrap();
    }
    script.push_str(
        "esac\nexec nsenter --net=\"$namespace\" \\\n  \
         env -i PATH=\"$PATH\" HOME=\"$HOME\" TMPDIR=\"$temporary\" sh -c \"$*\"\n",
    );
    let file = scene.folder.join("agent");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

/// A folder of a host's own.
fn temporary(scene: &Scene, host: &str) -> PathBuf {
    let folder = scene.folder.join(host);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn compiled(scene: &Scene) -> PathBuf {
    let program = scene.folder.join("ring");
    let source = repository().join("examples/mpi/ring.c");
    let output =
        Command::new("mpicc").args(["-O2", "-Wall", "-Werror", "-o"]).arg(&program).arg(source).output();
    let output = output.expect("mpicc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}
