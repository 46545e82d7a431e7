//! `srv6ctl verify`: proves that packets of a flow take the path of its route, or says what differs.
//!
//! The route is read back; the kernel is asked which route the flow's packets match; the segments are compared with the
//! topology; probes are sent over it, small ones and the largest that the route takes. In a lab each probe is looked for
//! on every link.

mod capture;
mod trace;
mod verdict;
mod vpp;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use srv6_fabric::{Flow, Topology};
use srv6_lab::keeper::Directory;
use srv6_lab::{Lab, Node};
use srv6_routes::{Dataplane, LinuxRoutes, Match, Route, Selector, Slot, Target};

use self::capture::Capture;
use self::verdict::{Evidence, Judged, Trace, Verdict, judge};
use crate::config::Environment;
use crate::dataplane;
use crate::decode::decode;
use crate::doctor::headroom;
use crate::echo::{SMALL, Series};
use crate::interfaces;
use crate::path_source::{PathSettings, Place, SourceArgs};
use crate::progress;

/// Proves that steered flows take the paths of their routes, or says what differs
///
/// Sends echo requests over each route. In a lab (--lab) every link is watched, and a flow is PROVEN when each probe was
/// seen on each link of its path and on no other. Elsewhere links can't be watched; there a flow is PROVEN when each switch
/// on its way, asked by probes that end at it, has quoted the carrier as it should be there. Where switches are silent the
/// best there is is CONSISTENT: nothing speaks against it. The exit status is 1 if a flow is NOT PROVEN.
///
/// With ROUTE_PLATFORM=vpp also what VPP steers: policy and steering are read back and VPP is asked which entry the flow's
/// packets match. No packet is sent, so such a flow is CONSISTENT at best.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Destinations, or flows as SOURCE,DESTINATION [default: every route of ours]
    #[arg(value_name = "FLOW")]
    flows: Vec<Wanted>,
    #[command(flatten)]
    source: SourceArgs,
    /// Verify on all hosts of this lab, and watch its links
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// Folder of the labs' state files, as for srv6ctl lab
    #[arg(long, value_name = "DIR", requires = "lab")]
    state_dir: Option<PathBuf>,
    /// Small probes per flow
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Accept any path of the topology, not only the one that SRV6_POLICY gives
    #[arg(long)]
    any_path: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// A flow that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    source: Option<IpAddr>,
    destination: IpAddr,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            text.trim()
                .parse::<IpAddr>()
                .map_err(|_| format!("{text:?}: want DESTINATION or SOURCE,DESTINATION"))
        };
        Ok(match text.split_once(',') {
            Some((source, destination)) => {
                Self { source: Some(address(source)?), destination: address(destination)? }
            }
            None => Self { source: None, destination: address(text)? },
        })
    }
}

/// What decides whether a route is right.
#[derive(Debug, Clone)]
struct Standard {
    fabric: Option<(Arc<Topology>, PathSettings)>,
    any_path: bool,
}

/// Longest wait for answers to the small probes of a flow, and to a full one.
const PATIENCE: Duration = Duration::from_millis(1000);

/// Full-size probes per flow: the first one of too large a size only tells the kernel so.
const FULL: u16 = 2;

/// Must be called while the process has one thread: labs may be in a user namespace of their own.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let judged = match &args.lab {
        Some(name) => in_lab(args, name, &environment)?,
        None => here(args, &environment)?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&judged)?);
    } else if judged.is_empty() {
        println!("nothing is steered: there is no route of protocol {}", srv6_routes::PROTOCOL);
    } else {
        for flow in &judged {
            println!("{flow}");
        }
    }
    let proven = !judged.is_empty() && judged.iter().all(|flow| flow.verdict != Verdict::NotProven);
    Ok(if proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn here(args: &VerifyArgs, environment: &Environment) -> anyhow::Result<Vec<Judged>> {
    let settings = PathSettings::new(&args.source, environment)?;
    let fabric = settings
        .map(|settings| {
            Ok::<_, anyhow::Error>((settings.topology().context("reading the topology")?, settings))
        })
        .transpose()?;
    let standard = Standard { fabric, any_path: args.any_path };
    let routes = tunnels()?;
    let mut judged = Vec::new();
    let routes = chosen(&routes, &args.flows);
    let bar = progress::bar("probing", routes.len() as u64);
    for route in routes {
        let mut subject = Subject::read(&route, &standard)?;
        if let Some(series) = subject.series.as_mut() {
            subject.evidence.small =
                Some(series.send(args.count, SMALL, PATIENCE).context("sending probes")?);
            subject.evidence.full = full(series, subject.size)?;
            subject.evidence.trace = traced(series, &subject.evidence, &route);
        }
        judged.push(judge(subject.evidence));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(config) = dataplane::vpp(environment)? {
        judged.extend(vpp::read(config, &standard, &args.flows)?.into_iter().map(judge));
    }
    judged.extend(missing(&args.flows, &judged).map(judge));
    Ok(judged)
}

fn in_lab(args: &VerifyArgs, name: &str, environment: &Environment) -> anyhow::Result<Vec<Judged>> {
    let directory = match &args.state_dir {
        Some(path) => Directory::at(std::path::absolute(path)?)?,
        None => Directory::of_user(environment.get("XDG_RUNTIME_DIR").map(std::path::Path::new))?,
    };
    let Some(state) = directory.state(name)? else { bail!("lab {name:?} is not up") };
    let lab = state.lab().with_context(|| format!("joining lab {name:?}"))?;
    let fabric = match PathSettings::new(&args.source, environment)? {
        Some(settings) => (settings.topology().context("reading the topology")?, settings),
        // The lab knows what it was made of.
        None => {
            let place = Place::File(state.request().source().into());
            (Arc::new(state.request().topology()?), PathSettings::at(place, environment)?)
        }
    };
    let standard = Standard { fabric: Some(fabric), any_path: args.any_path };
    let mut judged = Vec::new();
    // Begins a thread, so not before the lab's user namespace is entered.
    let bar = progress::bar("probing from each host", lab.hosts().count() as u64);
    for host in lab.hosts() {
        let routes = host.run(tunnels).with_context(|| format!("reading the routes of {}", host.name()))?;
        for route in chosen(&routes, &args.flows) {
            judged.push(judge(watched(&lab, host, route, &standard, args.count)?));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    judged.extend(missing(&args.flows, &judged).map(judge));
    Ok(judged)
}

/// One flow of a lab's host, with every link watched.
fn watched(
    lab: &Lab,
    host: &Node,
    route: Route,
    standard: &Standard,
    count: u16,
) -> anyhow::Result<Evidence> {
    let standard = standard.clone();
    let mut subject = host.run(move || Subject::read(&route, &standard))?;
    subject.evidence.host = Some(host.name().to_owned());
    let Some(mut series) = subject.series.take() else { return Ok(subject.evidence) };
    let capture = Capture::start(lab, series.nonce())?;
    // A socket stays in the namespace where it was opened.
    let small = series.send(count, SMALL, PATIENCE).context("sending probes")?;
    subject.evidence.links = Some(capture.finish(&subject.evidence.hops)?);
    subject.evidence.small = Some(small);
    subject.evidence.full = full(&mut series, subject.size)?;
    Ok(subject.evidence)
}

/// What the switches say; `None` where they can't be asked.
fn traced(series: &mut Series, evidence: &Evidence, route: &Route) -> Option<Trace> {
    let Target::Encap { segments, .. } = &route.target else { return None };
    let switches = evidence.hops.len().checked_sub(2).filter(|_| evidence.is_path)?;
    let expected =
        trace::expected(segments, switches).filter(|_| route.key.destination.address().is_ipv6())?;
    match trace::trace(series, expected.len()) {
        Ok(told) => Some(Trace { told, expected }),
        Err(error) => {
            log::warn!("switches can't be asked: {error} (needs CAP_NET_RAW)");
            None
        }
    }
}

fn full(series: &mut Series, size: Option<usize>) -> anyhow::Result<Option<(usize, crate::echo::Outcome)>> {
    size.map(|size| Ok((size, series.send(FULL, size, PATIENCE).context("sending full-size probes")?)))
        .transpose()
}

/// Routes of ours that lead into tunnels, in the calling thread's namespace.
fn tunnels() -> anyhow::Result<Vec<Route>> {
    let mut routes = LinuxRoutes::new()?.owned().context("reading routes")?;
    routes.retain(|route| matches!(route.target, Target::Encap { .. }));
    routes.sort_by_key(|route| route.key);
    Ok(routes)
}

fn chosen(routes: &[Route], wanted: &[Wanted]) -> Vec<Route> {
    let fits = |route: &&Route| {
        wanted.is_empty()
            || wanted.iter().any(|flow| {
                route.key.destination.contains(flow.destination)
                    && flow.source.is_none_or(|source| route.source.is_none_or(|own| own == source))
            })
    };
    routes.iter().filter(fits).cloned().collect()
}

/// Flows that were asked for and have no route.
fn missing<'a>(wanted: &'a [Wanted], judged: &[Judged]) -> impl Iterator<Item = Evidence> + use<'a> {
    let found: Vec<(Option<IpAddr>, Option<IpAddr>)> =
        judged.iter().map(|j| (j.source, j.destination)).collect();
    let without = wanted.iter().filter(move |flow| {
        !found.iter().any(|&(source, destination)| {
            destination == Some(flow.destination) && (flow.source.is_none() || flow.source == source)
        })
    });
    without.map(|flow| Evidence {
        source: flow.source,
        destination: Some(flow.destination),
        contradictions: vec!["no route of ours leads there: it goes unsteered".to_owned()],
        ..Evidence::default()
    })
}

/// A route that is looked into, and what probes it.
#[derive(Debug)]
struct Subject {
    evidence: Evidence,
    series: Option<Series>,
    /// Bytes of the largest packet that the route takes.
    size: Option<usize>,
}

impl Subject {
    /// Reads everything that can be known without sending, in the calling thread's namespace.
    fn read(route: &Route, standard: &Standard) -> anyhow::Result<Self> {
        let Target::Encap { segments, .. } = &route.target else { bail!("{route} is no tunnel") };
        let destination = route.key.destination.address();
        let mut evidence = Evidence {
            source: route.source,
            destination: Some(destination),
            segments: segments.as_slice().iter().map(ToString::to_string).collect(),
            ..Evidence::default()
        };
        let Some(source) = route.source else {
            evidence
                .contradictions
                .push("the route names no source address: whose flow it is can't be told".to_owned());
            return Ok(Self { evidence, series: None, size: None });
        };
        let flow = Flow { src: source, dst: destination };
        let slot = Slot::of_table(route.key.table);
        evidence.lane = slot.map(Slot::number);
        let mark = match taken(flow, route, slot)? {
            Ok(mark) => mark,
            Err(reason) => {
                evidence.contradictions.push(reason);
                slot.map(Slot::mark)
            }
        };
        if let Some((topology, settings)) = &standard.fabric {
            let decoded = decode(topology, settings, flow, segments);
            let any_path = standard.any_path || slot.is_some();
            evidence.contradictions.extend(decoded.contradiction(segments, settings.policy, any_path));
            evidence.is_path = decoded.path.is_some();
            evidence.hops = decoded.hops;
        }
        let interface = interfaces::read().context("listing interfaces")?;
        let interface = interface.into_iter().find(|i| i.index == route.interface);
        let outer = [route.mtu, interface.map(|i| i.mtu)];
        let outer = outer.into_iter().flatten().min().and_then(|mtu| usize::try_from(mtu).ok());
        let size = outer.map(|outer| outer.saturating_sub(headroom(segments.as_slice().len())));
        let series = match Series::open(source, destination, mark) {
            Ok(series) => Some(series),
            Err(error) => {
                evidence.contradictions.push(format!(
                    "no probe can be sent from {source}: {error} (echo requests need CAP_NET_RAW or net.ipv4.ping_group_range)"
                ));
                None
            }
        };
        Ok(Self { evidence, series, size })
    }
}

/// Whether the flow's packets take the route, and the mark that probes must have for that; or why not.
fn taken(flow: Flow, route: &Route, slot: Option<Slot>) -> anyhow::Result<Result<Option<u32>, String>> {
    let mut kernel = LinuxRoutes::new()?;
    let Some(slot) = slot else {
        return Ok(kernel.takes(flow, &route.key).map(|()| None).map_err(|error| error.to_string()));
    };
    let Some(rules) = kernel.lane_rules() else {
        bail!("a dataplane without rules has a route in a lane's table")
    };
    let present = rules.owned_rules().context("reading rules")?;
    let leads = |matches: Match| present.iter().any(|rule| rule.slot == slot && rule.matches == matches);
    if leads(Match::Mark) {
        let taken = rules.takes_by(flow, Selector::Mark(slot.mark()), &route.key);
        return Ok(taken.map(|()| Some(slot.mark())).map_err(|error| error.to_string()));
    }
    if !leads(Match::SourcePorts) {
        return Ok(Err(format!("no rule of ours leads to the table of lane {slot}")));
    }
    let taken = rules.takes_by(flow, Selector::SourcePort(*slot.ports().start()), &route.key);
    let by_port =
        format!("lane {slot} is chosen by TCP port, and echo requests have none: it can't be probed");
    Ok(Err(taken.err().map_or(by_port, |error| error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_written_as_one_or_two_addresses() {
        let both: Wanted = "2001:db8::1,2001:db8::2".parse().unwrap();
        assert_eq!(both.source, Some("2001:db8::1".parse().unwrap()));
        assert_eq!("2001:db8::2".parse::<Wanted>().unwrap().source, None);
        assert!("host00".parse::<Wanted>().unwrap_err().contains("host00"));
    }

    #[test]
    fn a_flow_without_a_route_is_not_proven() {
        let wanted = ["2001:db8::2".parse::<Wanted>().unwrap()];
        let judged: Vec<Judged> = missing(&wanted, &[]).map(judge).collect();
        assert_eq!(judged[0].verdict, Verdict::NotProven);
        assert!(judged[0].differences[0].contains("unsteered"));
        assert_eq!(missing(&wanted, &judged).count(), 0);
    }
}
