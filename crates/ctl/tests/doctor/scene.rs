//! A lab with a path server, and `srv6ctl doctor` on its first host.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use srv6_fabric::{Documents, Topology};
use srv6_lab::{Lab, Options};
use srv6_pathserver::{Running, Server};

/// A check, its status, and words of its message.
pub(crate) type Wanted = (&'static str, &'static str, &'static str);

pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) server: Running,
    folder: PathBuf,
}

/// One way to run it.
pub(crate) struct Case {
    name: &'static str,
    command: &'static str,
    arguments: Vec<String>,
    through: Vec<String>,
    variables: BTreeMap<String, String>,
    before: &'static str,
    after: &'static str,
}

impl Case {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            command: "doctor",
            arguments: Vec::new(),
            through: Vec::new(),
            variables: BTreeMap::new(),
            before: ":",
            after: ":",
        }
    }

    pub(crate) fn command(self, command: &'static str) -> Self {
        Self { command, ..self }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs it by another program.
    pub(crate) fn through(self, program: &[&str]) -> Self {
        Self { through: program.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What breaks the host; `after` mends it. `$GATEWAY` is the leaf's address.
    pub(crate) fn before(self, line: &'static str) -> Self {
        Self { before: line, ..self }
    }

    pub(crate) fn after(self, line: &'static str) -> Self {
        Self { after: line, ..self }
    }
}

impl Scene {
    pub(crate) fn raise(name: &str) -> Self {
        Self::raise_changed(name, |text| text, false)
    }

    /// A lab of the changed 4×4 fabric; the path server has the changed one too, or the `original`.
    pub(crate) fn raise_changed(name: &str, change: impl Fn(String) -> String, original: bool) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        let text = std::fs::read_to_string(file).unwrap();
        let parse = |text: &str| Documents::parse([(name, text)], "fabric_graph", "hosts").unwrap();
        let changed = parse(&change(text.clone()));
        let topology = Topology::new(&changed, "fabric_graph").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let served = if original { parse(&text) } else { changed };
        let address = lab.management_address(lab.management().name()).unwrap();
        let server = lab.management().run(move || {
            Server::bind((address, 8000).into(), &served, srv6_pathserver::Options::default())
                .unwrap()
                .spawn()
                .unwrap()
        });
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor").join(name);
        // What an earlier run left would be loaded instead.
        let _none = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("python")).unwrap();
        let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
        assert!(plugin.exists(), "{} is not built", plugin.display());
        symlink(plugin, folder.join("libnccl-net-srv6.so")).unwrap();
        Self { lab, server, folder }
    }

    pub(crate) fn endpoint(&self) -> String {
        let address = self.lab.management_address(self.lab.management().name()).unwrap();
        format!("http://{address}:8000")
    }

    /// A folder with somebody else's net plugin as libnccl-net.so.
    pub(crate) fn foreign(&self) -> String {
        let abi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi/tests/c");
        let headers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nccl-headers");
        // Linked as net plugins should be, so that only its name is wrong.
        let options =
            ["-DV=12", "-Wl,-z,nodelete", "-I", abi.to_str().unwrap(), "-I", headers.to_str().unwrap()];
        self.compile(
            "foreign/libnccl-net.so",
            &std::fs::read_to_string(abi.join("fakenet.c")).unwrap(),
            &options,
        )
    }

    /// A folder with a libnccl-net-srv6.so that is no plugin.
    pub(crate) fn empty(&self) -> String {
        self.compile("empty/libnccl-net-srv6.so", "int nothing(void) { return 0; }", &[])
    }

    /// A library that says that it is NCCL 2.28.9, and has no tables.
    pub(crate) fn forgetful_nccl(&self) -> String {
        let text = "int ncclGetVersion(int* version) { *version = 22809; return 0; }";
        format!("{}/libnccl.so.2", self.compile("nccl/libnccl.so.2", text, &[]))
    }

    /// Compiles C into a shared object and gives its folder.
    fn compile(&self, file: &str, text: &str, options: &[&str]) -> String {
        let output = self.folder.join(file);
        let folder = output.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let source = output.with_extension("c");
        std::fs::write(&source, text).unwrap();
        let result = Command::new("cc")
            .args(["-shared", "-fPIC", "-std=c11", "-D_GNU_SOURCE", "-Wl,--build-id=none"])
            .args(options)
            .arg("-o")
            .arg(&output)
            .arg(&source)
            .output()
            .expect("the C compiler `cc` runs");
        assert!(result.status.success(), "cc {file}:\n{}", String::from_utf8_lossy(&result.stderr));
        folder.display().to_string()
    }

    /// Runs a case on host00; gives exit status and output.
    pub(crate) fn run(&self, case: &Case) -> (i32, String) {
        let host = self.lab.node("host00").unwrap();
        let gateway = host.sh("ip -6 route show fc00::/32 | awk '{ print $3 }'").unwrap();
        host.sh(case.before).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let program: Vec<&str> = case.through.iter().map(String::as_str).collect();
        let words: Vec<&str> = program.into_iter().chain([env!("CARGO_BIN_EXE_srv6ctl")]).collect();
        let mut command = host.command(words[0]);
        command.args(&words[1..]).arg(case.command).args(&case.arguments);
        // What a user has exported for a job of his own is no part of the test.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["NCCL_", "SRV6_", "JALAPENO_", "CONDA_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .env("LD_LIBRARY_PATH", &self.folder)
            // No Python: what the machine has installed is no part of the test.
            .env("VIRTUAL_ENV", self.folder.join("python"))
            .env("NCCL_NET_PLUGIN", "srv6")
            .env("NCCL_SOCKET_IFNAME", "=eth1")
            .env("NCCL_SOCKET_FAMILY", "AF_INET6")
            .env("SRV6_TRANSPORT", "multipath")
            .env("JALAPENO_API_ENDPOINT", self.endpoint())
            .envs(&case.variables);
        let output = command.output().unwrap();
        let mend = format!("GATEWAY={}; {}", gateway.trim(), case.after);
        host.sh(&mend).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    /// Runs a case; nothing but what is wanted may be wrong.
    pub(crate) fn expect(&self, case: &Case, wanted: &[Wanted]) {
        if let Err(difference) = self.compare(case, wanted) {
            panic!("{difference}");
        }
    }

    /// Runs a case and compares all warnings and failures with those that are wanted.
    pub(crate) fn compare(&self, case: &Case, wanted: &[Wanted]) -> Result<(), String> {
        let name = case.name;
        let arguments = [&["--json".to_owned()], case.arguments.as_slice()].concat();
        let (code, text) = self.run(&Case { arguments, ..case.copy() });
        let report: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.len() > 10, "{name}: {text}");
        let of = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let bad: Vec<&Value> =
            findings.iter().filter(|f| matches!(of(f, "status").as_str(), "warning" | "failure")).collect();
        let mut found: Vec<(String, String)> =
            bad.iter().map(|f| (of(f, "check"), of(f, "status"))).collect();
        let mut named: Vec<(String, String)> =
            wanted.iter().map(|(check, status, _)| ((*check).to_owned(), (*status).to_owned())).collect();
        found.sort();
        named.sort();
        if found != named {
            return Err(format!("{name}: wanted {named:?}, found {bad:#?}"));
        }
        for (check, _, words) in wanted {
            let finding = bad.iter().find(|f| of(f, "check") == *check).unwrap();
            if !of(finding, "message").contains(words) || of(finding, "remedy").is_empty() {
                return Err(format!("{name}: no {words:?}, or no remedy, in {finding:#}"));
            }
        }
        let worst = wanted.iter().map(|(_, status, _)| if *status == "failure" { 2 } else { 1 }).max();
        if code != worst.unwrap_or(0) {
            return Err(format!("{name}: exit status {code}, want {}", worst.unwrap_or(0)));
        }
        Ok(())
    }
}

impl Case {
    fn copy(&self) -> Self {
        Self {
            arguments: self.arguments.clone(),
            through: self.through.clone(),
            variables: self.variables.clone(),
            ..*self
        }
    }
}

/// Without a namespace the kernel's configuration decides, if it is there.
pub(crate) fn without_namespaces() -> &'static [Wanted] {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.trim();
    let files = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    match files.iter().find_map(|file| std::fs::read_to_string(file).ok()) {
        Some(text) if text.lines().any(|line| line == "CONFIG_IPV6_SEG6_LWTUNNEL=y") => &[],
        Some(_) => &[("kernel.encap", "failure", "no throw-away namespace")],
        None => &[("kernel.encap", "warning", "no throw-away namespace")],
    }
}
