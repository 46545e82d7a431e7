//! C programs, which see exactly what libc's functions give them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::scene::{Program, Scene, library};

const SILENT: (&str, &str) = ("JALAPENO_API_ENDPOINT", "http://127.0.0.1:5999");
const PREFIXES: (&str, &str) = ("SRV6_SHIM_PREFIXES", "2001:db8:1000::/36");

/// Compiles a file of tests/c; `test` keeps the result apart from that of tests that run at the same time.
fn compile(source: &str, test: &str, options: &[&str]) -> PathBuf {
    let output =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim_{test}_{}", source.replace('.', "_")));
    let result = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-g", "-O1"])
        .args(options)
        .arg("-o")
        .arg(&output)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(source))
        .args(["-ldl", "-lpthread"])
        .output()
        .expect("the C compiler `cc` runs");
    assert!(result.status.success(), "cc {source}:\n{}", String::from_utf8_lossy(&result.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program in host00 to its end.
fn output(scene: &Scene, program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = scene.command("host00", program.to_str().unwrap());
    command.args(arguments).envs(settings.iter().copied());
    if settings.iter().any(|(name, _)| *name == SILENT.0) {
        command.env_remove("SRV6_TOPOLOGY");
    }
    command.stdin(Stdio::null()).output().unwrap()
}

/// As `output`; it must succeed and print nothing. Gives what it wrote to standard error.
fn quiet(scene: &Scene, program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let output = output(scene, program, arguments, settings);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && printed.is_empty(),
        "{arguments:?}: {}\n{printed}{said}",
        output.status
    );
    said
}

/// A lab with a server in host01, and the compiled file.
fn set(source: &str, test: &str) -> (Scene, Program, PathBuf) {
    let scene = Scene::up("4x4");
    let server = scene.plain_server("host01", "2001:db8:1001::2");
    (scene, server, compile(source, test, &[]))
}

#[test]
fn results_and_errno_are_the_kernels() {
    let (scene, _server, calls) = set("calls.c", "results");
    assert_eq!(quiet(&scene, &calls, &["results"], &[]), "");
    assert_eq!(quiet(&scene, &calls, &["fast-open"], &[]), "");
    assert_eq!(scene.routes("host00"), "");
}

#[test]
fn a_wait_for_a_path_ends_as_a_connect_would() {
    let (scene, _server, calls) = set("calls.c", "waits");
    let long = [SILENT, PREFIXES, ("SRV6_CONNECT_TIMEOUT_MS", "600000"), ("SRV6_SHIM_WAIT_MS", "50")];
    quiet(&scene, &calls, &["interrupted"], &long);
    quiet(&scene, &calls, &["at-once"], &long);
    let short = [SILENT, PREFIXES, ("SRV6_CONNECT_TIMEOUT_MS", "2000")];
    quiet(&scene, &calls, &["restarted"], &short);
    quiet(&scene, &calls, &["cancelled"], &short);
}

#[test]
fn a_dead_path_api_is_waited_for_once_and_told_once() {
    let (scene, _server, calls) = set("calls.c", "dead");
    let short = ("SRV6_CONNECT_TIMEOUT_MS", "10000");
    for settings in [&[SILENT, short][..], &[SILENT, short, PREFIXES]] {
        let said = quiet(&scene, &calls, &["waited-once"], settings);
        assert!(said.contains("did not answer within"), "{said}");
        assert!(said.lines().count() <= 3, "{said}");
    }
}

#[test]
fn what_goes_wrong_is_one_line_and_the_program_goes_on() {
    let (scene, _server, calls) = set("calls.c", "wrong");
    let said = quiet(&scene, &calls, &["refused"], &[]);
    assert!(said.contains("connections go unsteered"), "{said}");
    assert!(said.lines().count() <= 2, "{said}");
    quiet(&scene, &calls, &["other-stderr"], &[("SRV6_TOPOLOGY", "/nonexistent.json")]);
    for (settings, wanted) in [
        (&[("SRV6_TOPOLOGY", "/nonexistent.json")][..], "/nonexistent.json: "),
        (
            &[("SRV6_SHIM_WAIT_MS", "soon"), ("SRV6_MODE", "on")],
            "SRV6_SHIM_WAIT_MS=\"soon\": want 0 to 60000",
        ),
        (&[("SRV6_TOPOLOGY", "")], "no source of paths"),
    ] {
        let said = quiet(&scene, &calls, &["fast-open"], settings);
        assert!(said.contains(wanted) && said.lines().count() == 1, "want {wanted}: {said}");
    }
    assert_eq!(quiet(&scene, &calls, &["fast-open"], &[("SRV6_MODE", "off"), ("SRV6_TOPOLOGY", "/no")]), "");
    assert_eq!(scene.routes("host00"), "");
}

#[test]
fn processes_and_threads_come_and_go() {
    let (scene, _server, lives) = set("lives.c", "come");
    let _other = scene.plain_server("host02", "2001:db8:1002::2");
    for story in ["idle", "forked-amid-threads", "spawned", "other-namespace", "signals"] {
        assert_eq!(quiet(&scene, &lives, &[story], &[]), "", "{story}");
        assert!(scene.routes("host00").lines().count() <= 1, "{story}: {}", scene.routes("host00"));
    }
}

#[test]
fn children_end_without_taking_their_parents_route() {
    let (scene, _server, lives) = set("lives.c", "children");
    let _other = scene.plain_server("host02", "2001:db8:1002::2");
    let mut parent = Program::start(scene.command("host00", lives.to_str().unwrap()).arg("forked"));
    parent.expect("forked");
    scene.await_route("host00", "2001:db8:1001::2  encap seg6");
    assert_eq!(
        scene.routes("host00").lines().count(),
        1,
        "the children's own are gone: {}",
        scene.routes("host00")
    );
    parent.end();
    assert_eq!(scene.routes("host00"), "");
}

#[test]
fn a_hundred_thousand_connects_leave_nothing() {
    let (scene, _server, lives) = set("lives.c", "often");
    let output = output(&scene, &lives, &["often"], &[]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}{said}", text(&output.stdout));
}

#[test]
fn other_preloaded_libraries_see_every_connect_once() {
    let (scene, _server, calls) = set("calls.c", "chain");
    let count = compile("count.c", "chain", &["-shared", "-fPIC"]);
    let (ours, theirs) = (library(), count.display().to_string());
    for order in [format!("{}:{theirs}", ours.display()), format!("{theirs}:{}", ours.display())] {
        let output =
            output(&scene, &calls, &["waited-once"], &[("LD_PRELOAD", &order), ("SRV6_TOPOLOGY", "")]);
        assert!(output.status.success(), "{order}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "counted 40\n", "{order}");
    }
}

#[test]
fn a_static_program_is_left_alone() {
    let (scene, _server, _) = set("calls.c", "dynamic");
    let calls = compile("calls.c", "static", &["-static"]);
    assert_eq!(quiet(&scene, &calls, &["fast-open"], &[]), "");
}

#[test]
fn the_c_interface_steers_and_says_why_not() {
    let (scene, _server, steer) = set("steer.c", "api");
    let start = |arguments: &[&str], settings: &[(&str, &str)]| {
        let mut command = scene.command("host00", steer.to_str().unwrap());
        command.env_remove("LD_PRELOAD").arg(library()).args(arguments).envs(settings.iter().copied());
        Program::start(&mut command)
    };
    let code = |error: i32| (-error).to_string();
    let mut program = start(
        &[
            ["2001:db8:1001::2", "30000", "0"],
            ["2001:db8:1000::2", "30000", "0"],
            ["::1", "0", "0"],
            ["host01", "30000", &code(libc::EINVAL)],
            ["2001:db8:1001::2", "-1", &code(libc::EINVAL)],
            ["fe80::1", "30000", &code(libc::EINVAL)],
            ["2001:db8:1001::ffff", "30000", "0"],
            ["2001:db8:a::1", "30000", &code(libc::EHOSTUNREACH)],
        ]
        .concat(),
        &[],
    );
    program.expect("\"host01\" is no address; want an IPv4 or IPv6 address in numbers");
    program.expect("a timeout of -1; want 0 or more milliseconds");
    program.expect("fe80::1 has no meaning beyond its link");
    let reason = program.line();
    assert!(reason.contains("2001:db8:a::1"), "{reason}");
    program.expect("done");
    scene.await_route("host00", "2001:db8:1001::2  encap seg6 mode encap.red");
    program.end();
    assert_eq!(scene.routes("host00"), "");

    for (settings, wanted, reason) in [
        (("SRV6_MODE", "off"), libc::EINVAL, "SRV6_MODE=off"),
        (("SRV6_ALGO", "many"), libc::EINVAL, "SRV6_ALGO=\"many\": want 0 to 255"),
    ] {
        let mut program = start(&["2001:db8:1001::2", "30000", &code(wanted)], &[settings]);
        program.expect(reason);
        program.end();
    }
}
