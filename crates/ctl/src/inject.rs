//! `srv6ctl inject`: puts what steering needs into the manifests of a job, and takes it out again.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use similar::TextDiff;
use srv6_inject::{Mode, Options, Pytorch, Report, State, names};
use srv6_settings::FIELDS;

/// Puts what steering needs into the pods of Kubernetes manifests, or takes it out again
#[derive(Debug, clap::Args)]
pub(crate) struct InjectArgs {
    /// A manifest, of one or more YAML documents; - is standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write the result into the files themselves
    #[arg(short, long, conflicts_with_all = ["output", "diff", "check"])]
    in_place: bool,
    /// Write the result into this file instead of standard output
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["diff", "check"])]
    output: Option<PathBuf>,
    /// Take out what was injected, and give what was there before
    #[arg(long, conflicts_with = "check")]
    remove: bool,
    /// Print what would change, as a unified diff, and write nothing
    #[arg(long, conflicts_with = "check")]
    diff: bool,
    /// Print whether each pod is injected by this version with these options; the exit status is 1 if one isn't
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    group: Group,
}

/// How an injected pod looks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is put in")]
struct Wanted {
    /// Who steers: node, the agent of the node (a DaemonSet); sidecar, an agent in each pod
    #[arg(long, value_name = "MODE", default_value = "node", value_parser = mode)]
    mode: Mode,
    /// Preload the library that steers sockets which aren't NCCL's, too
    #[arg(long)]
    shim: bool,
    /// Let the job fail rather than go unsteered
    #[arg(long)]
    strict: bool,
    /// Steer these containers instead of those with a GPU
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    containers: Vec<String>,
    /// A variable for the steered containers; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The path API (JALAPENO_API_ENDPOINT): for the sidecar, or with --mode node for jobs that ask it themselves
    #[arg(long, value_name = "URL")]
    path_api: Option<String>,
    /// A setting of the sidecar's agent; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    agent_env: Vec<(String, String)>,
    /// A ConfigMap whose entries become the sidecar's environment
    #[arg(long, value_name = "NAME")]
    config_map: Option<String>,
    /// Image with the libraries and srv6ctl
    #[arg(long, value_name = "IMAGE", default_value = names::PLUGIN_IMAGE)]
    plugin_image: String,
    /// Image of the sidecar
    #[arg(long, value_name = "IMAGE", default_value = names::AGENT_IMAGE)]
    agent_image: String,
    /// Replace values of variables that the job sets itself
    #[arg(long)]
    force: bool,
    /// Take pods in the host's network, too, with the multipath transport, whose routes have tables of their own
    #[arg(long)]
    host_network: bool,
    /// Mount no memory at /dev/shm
    #[arg(long)]
    no_shm: bool,
    /// Let NCCL find the plugin by LD_LIBRARY_PATH: NCCL before 2.21 and NCCL 2.27 (PyTorch 2.8 and 2.9) take no path
    #[arg(long)]
    library_path: bool,
}

/// What Volcano's plugin pytorch does, by its own arguments.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Ranks of PyTorch, as Volcano's plugin gives them")]
struct Group {
    /// Set MASTER_ADDR, MASTER_PORT, WORLD_SIZE and RANK, the container port and the Service: for StatefulSets and Indexed Jobs; a
    /// Volcano Job that doesn't list the plugin is written out as pods
    #[arg(long)]
    pytorch: bool,
    /// The task, or the end of the workload's name, whose pod is rank 0
    #[arg(long, value_name = "NAME", default_value = "master", requires = "pytorch")]
    master: String,
    /// The task, or the end of the workload's name, of the other ranks
    #[arg(long, value_name = "NAME", default_value = "worker", requires = "pytorch")]
    worker: String,
    /// Where rank 0 listens
    #[arg(long, value_name = "PORT", default_value_t = 23456, requires = "pytorch", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Let workers wait in an init container until rank 0 listens
    #[arg(long, value_name = "BOOL", requires = "pytorch", num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait_master_enabled: bool,
    /// How long they wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "pytorch", value_parser = clap::value_parser!(u32).range(1..=604_800))]
    wait_master_timeout: u32,
    /// Image of that init container, with a shell and nc [default: the plugin's image, with srv6ctl wait-master]
    #[arg(long, value_name = "IMAGE", requires = "pytorch")]
    wait_master_image: Option<String>,
}

impl Group {
    fn pytorch(&self) -> Option<Pytorch> {
        self.pytorch.then(|| Pytorch {
            master: self.master.clone(),
            worker: self.worker.clone(),
            port: self.port,
            wait: self.wait_master_enabled,
            wait_timeout_s: self.wait_master_timeout,
            wait_image: self.wait_master_image.clone(),
        })
    }
}

impl Wanted {
    fn options(&self, pytorch: Option<Pytorch>) -> anyhow::Result<Options> {
        for (name, _) in &self.env {
            if name.starts_with("SRV6_") && !FIELDS.iter().any(|field| field.name == name) {
                bail!(
                    "--env {name}: no such setting, and the plugin would refuse to start; want one of docs/CONFIG.md"
                );
            }
        }
        Ok(Options {
            mode: self.mode,
            shim: self.shim,
            strict: self.strict,
            containers: self.containers.clone(),
            plugin_image: self.plugin_image.clone(),
            agent_image: self.agent_image.clone(),
            env: self.env.clone(),
            path_api: self.path_api.clone(),
            agent_env: self.agent_env.clone(),
            config_map: self.config_map.clone(),
            force: self.force,
            host_network: self.host_network,
            shm: !self.no_shm,
            library_path: self.library_path,
            pytorch,
        })
    }
}

/// A manifest, and what it becomes.
struct Change {
    path: PathBuf,
    old: String,
    new: String,
}

pub(crate) fn run(args: &InjectArgs) -> anyhow::Result<ExitCode> {
    let options = args.wanted.options(args.group.pytorch())?;
    if args.in_place && args.files.iter().any(|path| is_stdin(path)) {
        bail!("--in-place: standard input (-) is no file; want --output or neither");
    }
    if args.check {
        return check(&args.files, &options);
    }
    // All are read and changed before anything is written: one that is wrong leaves the others alone.
    let mut changes = Vec::new();
    for path in &args.files {
        let old = read(path)?;
        let new = change(path, &old, args.remove, &options)?;
        changes.push(Change { path: path.clone(), old, new });
    }
    if args.diff {
        for Change { path, old, new } in &changes {
            let name = path.display().to_string();
            print!("{}", TextDiff::from_lines(old, new).unified_diff().header(&name, &name));
        }
    } else if args.in_place {
        for Change { path, old, new } in changes.iter().filter(|change| change.old != change.new) {
            replace(path, new)
                .with_context(|| format!("writing {}, {} bytes before", path.display(), old.len()))?;
        }
    } else {
        let text = joined(changes.iter().map(|change| change.new.as_str()));
        match &args.output {
            Some(path) => replace(path, &text).with_context(|| format!("writing {}", path.display()))?,
            None => io::stdout().write_all(text.as_bytes()).context("writing to standard output")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(path: &Path, old: &str, remove: bool, options: &Options) -> anyhow::Result<String> {
    let at = || path.display().to_string();
    if remove {
        let (new, count) = srv6_inject::remove(old).with_context(at)?;
        eprintln!(
            "{}: taken out of {count} {}",
            path.display(),
            if count == 1 { "pod template" } else { "pod templates" }
        );
        return Ok(new);
    }
    let injected = srv6_inject::inject(old, options).with_context(at)?;
    for (title, Report { containers, .. }) in &injected.reports {
        if !containers.is_empty() {
            eprintln!("{}: {title}: steered: {}", path.display(), containers.join(", "));
        }
    }
    tell(path, &injected.reports);
    Ok(injected.text)
}

/// Says what the owners of these pods should know.
fn tell(path: &Path, reports: &[(String, Report)]) {
    for (title, Report { notes, .. }) in reports {
        for note in notes {
            eprintln!("{}: {title}: {note}", path.display());
        }
    }
}

fn check(files: &[PathBuf], options: &Options) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for path in files {
        let (text, at) = (read(path)?, || path.display().to_string());
        let states = srv6_inject::check(&text, options).with_context(at)?;
        tell(path, &srv6_inject::inject(&text, options).with_context(at)?.reports);
        for (title, state) in states {
            let word = match &state {
                State::Current => "injected".to_owned(),
                State::Missing => "not injected".to_owned(),
                State::Version { found } => format!("{found}; want {}", names::VERSION),
                State::Different => "injected, but not as these options ask for it".to_owned(),
            };
            println!("{}: {title}: {word}", path.display());
            if state != State::Current {
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Several manifests as one text.
fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all = String::new();
    for text in texts {
        if !all.is_empty() {
            if !all.ends_with('\n') {
                all.push('\n');
            }
            if !text.starts_with("---") && !text.starts_with('%') {
                all.push_str("---\n");
            }
        }
        all.push_str(text);
    }
    all
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn read(path: &Path) -> anyhow::Result<String> {
    if is_stdin(path) {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("reading standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file so that it is the old one or the new one, whatever happens, with the mode that it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link is followed: what it names is to change, and not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let permissions = fs::metadata(&path).map(|metadata| metadata.permissions());
    let fallback = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(permissions.unwrap_or(fallback))?;
    file.persist(&path)?;
    Ok(())
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "node" => Ok(Mode::Node),
        "sidecar" => Ok(Mode::Sidecar),
        _ => Err("want node or sidecar".to_owned()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("want NAME=VALUE".to_owned()),
    }
}
