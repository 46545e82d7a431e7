//! `srv6ctl doctor`: whether connections of this host will be steered, and what to do if not. Changes nothing.
//!
//! Every check is a function from what was found to findings. What might leave traces or crash happens in a child:
//! see [`child`].

mod agent;
mod child;
mod fabric;
mod finding;
mod interface;
mod kernel;
mod loader;
mod marks;
mod mtu;
mod nccl;
mod object_file;
mod offload;
mod plugin;
mod rights;
mod selection;
mod vpp;
mod wrapped;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
pub(crate) use finding::{Finding, Report, Status};
pub(crate) use mtu::headroom;

use crate::config::Environment;
use crate::interfaces::{self, Interface};
use crate::path_source::{PathSettings, SourceArgs};
use crate::progress;

/// Checks whether connections of this host will be steered, and says what to do if not
///
/// Changes nothing. Run it as the job's user, with the job's environment, in the job's container. The exit status is 0 if
/// nothing is worse than a note, 1 for warnings, 2 for failures.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    look: LookArgs,
    /// Print a JSON object: worst, counts, findings (check, status, message, remedy)
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    probe: Option<Probe>,
}

/// What to look at.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The plugin that jobs shall use [default: what NCCL_NET_PLUGIN leads to]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// The libnccl.so.2 that jobs load [default: the first in LD_LIBRARY_PATH, python3's packages, the system]
    #[arg(long, value_name = "FILE")]
    nccl: Option<PathBuf>,
    /// Another host's data address: measures the MTU of the path to it (may be given several times)
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<IpAddr>,
}

#[derive(Debug, clap::Subcommand)]
enum Probe {
    #[command(name = kernel::PROBE, hide = true)]
    Kernel,
    #[command(name = nccl::PROBE, hide = true)]
    Nccl { file: PathBuf },
    #[command(name = wrapped::PROBE, hide = true)]
    Plugin { plugin: PathBuf, nccl: Option<PathBuf> },
}

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Examination {
    pub(crate) report: Report,
    pub(crate) plugin: Option<PathBuf>,
    pub(crate) release: Option<selection::Release>,
    /// The data interface with the address that NCCL should take on it.
    pub(crate) data: Option<(Interface, Option<IpAddr>)>,
    pub(crate) source: Option<PathSettings>,
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    match &args.probe {
        Some(Probe::Kernel) => return kernel::probe().map(|()| ExitCode::SUCCESS),
        Some(Probe::Nccl { file }) => return nccl::probe(file).map(|()| ExitCode::SUCCESS),
        Some(Probe::Plugin { plugin, nccl }) => {
            return wrapped::probe(plugin.clone(), nccl.clone()).map(|()| ExitCode::SUCCESS);
        }
        None => {}
    }
    let bar = progress::spinner("examining this host");
    let examination = examine(&args.look, &Environment::of_process());
    bar.finish_and_clear();
    let report = examination?.report;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.as_json())?);
    } else {
        println!("{report}");
    }
    Ok(report.exit_code())
}

/// Checks everything, in the order in which a reader would ask.
///
/// # Errors
/// The kernel doesn't even list its interfaces.
pub(crate) fn examine(look: &LookArgs, environment: &Environment) -> anyhow::Result<Examination> {
    let mut findings = kernel::check();

    let path = loader::SearchPath::new(environment);
    let ncclees = nccl::find(look.nccl.as_deref(), &path, environment);
    let (release, of_nccl) = nccl::check(&ncclees, environment);
    let assumed = release.unwrap_or(selection::Release::NEWEST);
    let file = look.plugin.clone().or_else(|| plugin::chosen(assumed, &path, environment));
    let mut of_plugin = plugin::check(look.plugin.as_deref(), release, &path, environment);
    // An NCCL that can't be loaded would only hide what the plugin has to say.
    let nccl_file = release.and(ncclees.first()).map(|found| found.path.as_path());
    let loadable = !of_plugin.iter().any(|f| f.check == "plugin.symbols" && f.status == Status::Failure);
    let mut facts = None;
    if let Some(file) = file.as_deref().filter(|_| loadable) {
        let (found, of_init) = wrapped::check(file, nccl_file, environment);
        facts = found;
        of_plugin.extend(of_init);
    }

    let settings = PathSettings::new(&look.source, environment);
    let (mut known, of_source) = fabric::check(&settings, environment);
    let topology = known.as_ref().map(|fabric| Arc::clone(&fabric.topology));
    let all = interfaces::read().context("listing the network interfaces")?;
    let (data, mut of_choice) = interface::choose(&all, environment, facts.as_ref(), topology.as_deref());
    let settings = settings.ok().flatten();

    let mut of_vpp = vpp::check(environment);
    if let Some(name) =
        environment.get("BACKEND_INTERFACE").filter(|name| data.is_empty() && of_vpp.has_interface(name))
    {
        of_choice = Finding::ok("interface.data", format!("{name} is VPP's (BACKEND_INTERFACE)"));
    }
    findings.extend(rights::check(environment, data.first().map(|i| i.name.as_str())));
    findings.push(marks::check(environment));
    findings.push(of_choice);
    for interface in &data {
        findings.extend(interface::check(interface, &all, environment, topology.as_deref()));
        findings.push(offload::check(&interface.name));
    }
    findings.append(&mut of_vpp.findings);
    let sources: Vec<IpAddr> = data.iter().flat_map(|interface| interface.routable()).collect();
    findings.extend(of_plugin);
    findings.extend(of_nccl);
    findings.extend(selection::check(release, environment));
    findings.extend(of_source);

    let address = |interface: &Interface| {
        let known = topology
            .as_ref()
            .and_then(|topology| interface.routable().find(|&a| topology.host_of(a).is_some()));
        known.or_else(|| interface.routable().next())
    };
    if let (Some(fabric), Some(settings)) = (&mut known, &settings) {
        let addresses: Vec<IpAddr> = data.iter().filter_map(|i| address(i)).collect();
        findings.extend(fabric.check_host(&addresses, settings, environment));
    }
    let mut carrier = None;
    for interface in &data {
        let example = topology.as_deref().zip(settings.as_ref()).and_then(|(topology, settings)| {
            let own = topology.host_of(address(interface)?)?;
            let other = known.as_ref()?.another(own)?;
            Some((mtu::example(topology, settings, (own, other)), topology))
        });
        if let Some((Err(reason), _)) = &example {
            findings.push(Finding::failure(
                "paths.carrier",
                format!("a path of the topology can't be written as a carrier: {reason}"),
                "complete the SIDs of the topology's switches",
            ));
        }
        let example =
            example.as_ref().and_then(|(example, topology)| Some((example.as_ref().ok()?, *topology)));
        if let Some((example, _)) = example {
            carrier = Some(example.segments.first());
            if !address(interface).is_some_and(|address| of_vpp.steers(address)) {
                findings.push(mtu::block(example, interface, environment));
            }
        }
        findings.push(mtu::check(interface, example, environment));
        let believed = mtu::believed(example, environment);
        let peers = address(interface)
            .into_iter()
            .flat_map(|source| look.peer.iter().map(move |&peer| (source, peer)));
        findings.extend(
            peers
                .filter(|(source, peer)| source.is_ipv4() == peer.is_ipv4())
                .map(|(source, peer)| mtu::measure(source, peer, interface, believed)),
        );
    }
    findings.extend(of_vpp.flows(&sources, carrier));
    findings.push(agent::check(environment));
    let data = data.first().map(|interface| ((*interface).clone(), address(interface)));
    Ok(Examination { report: Report(findings), plugin: file, release, data, source: settings })
}
