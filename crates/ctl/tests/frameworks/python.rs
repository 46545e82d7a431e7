//! The Python package `srv6_plugin`, installed by pip, in hosts of a lab and without a preloaded shim.

use std::path::PathBuf;
use std::process::Command;

use srv6_fabric::Family;

use crate::SHARE;
use crate::capture::Capture;
use crate::census::Census;
use crate::gloo::{Trained, run_ranks};
use crate::process::{Ended, Process};
use crate::scene::{PYTHON, Scene, Shim, repository, shim};

const HOSTS: [&str; 3] = ["host00", "host01", "host03"];

/// Installs a copy, since building leaves files beside the sources, and gives the folder for PYTHONPATH.
fn installed(scene: &Scene) -> PathBuf {
    let (copy, into) = (scene.folder.join("python"), scene.folder.join("site"));
    let package = copy.join("nccl_net_srv6");
    for folder in [&copy, &into] {
        let _absent = std::fs::remove_dir_all(folder);
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::create_dir(package).unwrap();
    // No libraries: the tests name the shim that cargo has built.
    for name in [
        "pyproject.toml",
        "setup.py",
        "README.md",
        "srv6_plugin.py",
        "nccl_net_srv6/__init__.py",
        "nccl_net_srv6/__main__.py",
    ] {
        std::fs::copy(repository().join("python").join(name), copy.join(name)).unwrap();
    }
    let output = Command::new(PYTHON)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--no-build-isolation",
            "--target",
        ])
        .args([&into, &copy])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    into
}

/// Runs Python code in a host, with the shim's settings but without the shim; the code finds its path in `SHIM`.
fn python(scene: &Scene, host: &str, package: &PathBuf, code: &str) -> Command {
    let mut command = scene.command(host, PYTHON, Shim::Absent);
    command.args(["-c", &format!("SHIM = {:?}\n{code}", shim().display().to_string())]);
    command.env("PYTHONPATH", package).env("PYTHONDONTWRITEBYTECODE", "1").envs(scene.steering());
    command
}

fn printed(ended: &[Ended]) -> Vec<Vec<&str>> {
    ended.iter().map(|one| one.printed.lines().collect()).collect()
}

#[test]
fn a_script_is_steered_after_one_line() {
    let scene = Scene::raise("enable", "4x4.json", Family::V6).patient();
    let package = installed(&scene);
    let capture = Capture::start(&scene, "spine01", "leaf01", 20);
    let census = Census::start(&scene);
    let script = repository().join("examples/ddp/train.py").display().to_string();
    let code = format!(
        "import runpy, srv6_plugin\nsrv6_plugin.enable(library=SHIM)\nrunpy.run_path({script:?}, run_name='__main__')"
    );
    let ended = run_ranks(&scene, &HOSTS, 29500, |host| python(&scene, host, &package, &code));
    Trained::read(&ended).assert_right();
    let shares = census.shares();
    assert!(shares.steered_share() > SHARE, "{shares:?}");
    let captured = capture.finish();
    assert!(captured.iter().any(|packet| packet.syn && packet.port == "29500"), "{captured:#?}");
    scene.assert_no_routes();
}

#[test]
fn the_plugins_class_says_who_is_steered() {
    let scene = Scene::raise("demo-plugin", "4x4.json", Family::V6).patient();
    let package = installed(&scene);
    // The way that programs of the earlier plugin have it: endpoint by argument, answer taken as success.
    let code = "
import os, torch, torch.distributed as dist
from srv6_plugin import DemoPlugin
plugin = DemoPlugin(os.environ.pop('JALAPENO_API_ENDPOINT'), library=SHIM)
done = plugin.init_process_group(backend='gloo')
one = torch.ones(1)
dist.all_reduce(one)
print(done, one.item(), sorted(plugin.steered.items()), plugin.unsteered)
dist.barrier()
dist.destroy_process_group()";
    let ended = run_ranks(&scene, &HOSTS, 29500, |host| {
        let mut command = python(&scene, host, &package, code);
        command.env("BACKEND_INTERFACE", "eth1").env("TOPOLOGY_COLLECTION", "fabric_graph");
        command.env("ROUTE_PLATFORM", "linux").env("ROUTE_TABLE_ID", "254");
        command
    });
    let peers =
        |a, x, b, y| format!("True 3.0 [({a}, ['2001:db8:100{x}::2']), ({b}, ['2001:db8:100{y}::2'])] {{}}");
    let wanted = [peers(1, 1, 2, 3), peers(0, 0, 2, 3), peers(0, 0, 1, 1)];
    assert_eq!(printed(&ended), wanted.each_ref().map(|line| vec![line.as_str()]));
    scene.assert_no_routes();
}

#[test]
fn what_cant_be_steered_is_told() {
    let scene = Scene::raise("unsteered", "4x4.json", Family::V6).patient();
    let package = installed(&scene);
    let code = "
import errno, srv6_plugin
for destination in ['2001:db8:ffff::1', 'host01']:
    try:
        srv6_plugin.steer(destination, 60000, SHIM)
    except srv6_plugin.SteeringError as error:
        print(errno.errorcode[error.code], destination in str(error))
try:
    srv6_plugin.steer('2001:db8:1001::2', library='/nowhere/libsrv6-shim.so')
except OSError as error:
    print('LD_LIBRARY_PATH' in str(error))";
    let ended = Process::start(&mut python(&scene, "host00", &package, code)).end();
    ended.assert_right();
    let lines: Vec<&str> = ended.printed.lines().collect();
    assert_eq!(lines, ["EHOSTUNREACH True", "EINVAL True", "True"], "{ended:#?}");

    // Without CAP_NET_ADMIN; the bounding set decides what a program of root's gets.
    let code = "
import errno, srv6_plugin
try:
    srv6_plugin.steer('2001:db8:1001::2', library=SHIM)
except srv6_plugin.SteeringError as error:
    print(errno.errorcode[error.code])";
    let whole = python(&scene, "host00", &package, code);
    let mut command = scene.command("host00", "setpriv", Shim::Absent);
    command.args(["--bounding-set", "-net_admin", PYTHON]).args(whole.get_args());
    command.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Process::start(&mut command).end();
    ended.assert_right();
    assert_eq!(ended.printed, "EPERM\n", "{ended:#?}");

    // The path API is dead: the group comes up by the deadline, and nobody claims that it is steered.
    let code = "
import torch.distributed as dist
from srv6_plugin import DemoPlugin
plugin = DemoPlugin('http://198.18.0.1:9', library=SHIM)
print(plugin.init_process_group(), sorted(plugin.unsteered, key=str))
dist.barrier()
dist.destroy_process_group()";
    let ended = run_ranks(&scene, &HOSTS, 29501, |host| {
        let mut command = python(&scene, host, &package, code);
        command.env("SRV6_CONNECT_TIMEOUT_MS", "1000");
        command
    });
    let wanted = ["False [1, 2]", "False [0, 2, 'master']", "False [0, 1, 'master']"];
    assert_eq!(printed(&ended), wanted.map(|line| vec![line]));

    let code = "
import srv6_plugin, torch.distributed as dist
srv6_plugin.enable('http://198.18.0.1:9', library=SHIM)
try:
    dist.init_process_group('gloo')
except srv6_plugin.SteeringError as error:
    print(error.destination, dist.is_initialized())
try:
    import os
    os.environ.update(SRV6_STRICT='yes', SRV6_CONNECT_TIMEOUT_MS='0')
    dist.init_process_group('gloo')
except ValueError as error:
    print(error)";
    let mut command = python(&scene, "host01", &package, code);
    command.envs([("SRV6_STRICT", "1"), ("SRV6_CONNECT_TIMEOUT_MS", "1000"), ("RANK", "1")]);
    command.envs([("WORLD_SIZE", "2"), ("MASTER_ADDR", "2001:db8:1000::2"), ("MASTER_PORT", "29502")]);
    let ended = Process::start(&mut command).end();
    ended.assert_right();
    let wanted = "master False\nSRV6_STRICT='yes': want 0 or 1; SRV6_CONNECT_TIMEOUT_MS='0': want 1 to 600000 (milliseconds)\n";
    assert_eq!(ended.printed, wanted, "{ended:#?}");
    scene.assert_no_routes();
}
