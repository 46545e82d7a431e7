//! Injection into a text of YAML documents, of which only the lines change that must.

mod documents;
mod kind;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::documents::Document;
pub(crate) use self::kind::{Kind, Template, Workload};
use crate::pod::{self, Member, Place, Record, check_placed, inject_placed, name_of, remove_pod, steered};
use crate::yaml::{self, Node};
use crate::{Error, Options, Report, State, names, pytorch};

/// A manifest with steering in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// All documents.
    pub text: String,
    /// What was done to each pod template, by the name of its workload.
    pub reports: Vec<(String, Report)>,
}

/// Injects into every pod template of a text that has a container to steer. All else stays, byte for byte. An injected text
/// is brought up to this version and these options; doing it twice is doing it once.
///
/// # Errors
/// No YAML, nothing to steer, a pod that can't be steered, or a style in which lines can't be added safely.
pub fn inject(text: &str, options: &Options) -> Result<Injected, Error> {
    let (text, reports) = written_out(text, options)?;
    let mut injected = Injected { text: String::with_capacity(text.len() * 2), reports };
    let all = located(&text, options)?;
    let others = workloads(&all);
    let mut services = Vec::new();
    for (document, found) in all {
        let Some(mut new) = document.node.as_ref().map(Node::value) else {
            injected.text.push_str(&document.text);
            continue;
        };
        for target in found {
            let group = target.group(&new, &others).map_err(|error| target.fault(&document, error))?;
            let (member, service) = group.unzip();
            services.extend(service.into_iter().flatten());
            set_ordinals(&mut new, &target.workload, &target.template, false);
            let ordinals = member.as_ref().is_some_and(|member| member.ordinals);
            let done = target.on(&document, member, |place| match new.pointer_mut(&target.template.at) {
                Some(pod) => inject_placed(pod, &target.options, place),
                None => Ok(Report::default()),
            });
            if ordinals {
                set_ordinals(&mut new, &target.workload, &target.template, true);
            }
            let mut report = done.map_err(|error| target.fault(&document, error))?;
            report.notes.extend(target.advice());
            injected.reports.push((target.title(), report));
        }
        injected.text.push_str(&document.edited(&new, &BTreeMap::new())?);
    }
    for service in services {
        append(&mut injected, &service);
    }
    Ok(injected)
}

/// Takes out of a text what injection added, and gives how many pod templates it was in.
///
/// # Errors
/// No YAML, or a record of an injection that can't be read.
pub fn remove(text: &str) -> Result<(String, usize), Error> {
    let (mut removed, mut count) = (String::with_capacity(text.len()), 0);
    for document in documents::read(text)? {
        let Some(mut new) = document.node.as_ref().map(Node::value) else {
            removed.push_str(&document.text);
            continue;
        };
        if is_our_service(&new) {
            // A text that had no line break at its end got one before this document.
            if !document.text.ends_with('\n') {
                let line = removed.strip_suffix('\n').unwrap_or(&removed);
                let end = line.strip_suffix('\r').unwrap_or(line).len();
                removed.truncate(end);
            }
            continue;
        }
        let mut spelled = BTreeMap::new();
        for (workload, template) in templates(&new) {
            let fault = |source| Error::At {
                document: document.number,
                what: workload.title(&template),
                source: Box::new(source),
            };
            let Some(pod) = new.pointer_mut(&template.at) else { continue };
            let Some(record) = Record::of(pod).map_err(fault)? else { continue };
            spelled.extend(spellings(&document, &template, &record));
            set_ordinals(&mut new, &workload, &template, false);
            if let Some(pod) = new.pointer_mut(&template.at) {
                remove_pod(pod).map_err(fault)?;
            }
            count += 1;
        }
        removed.push_str(&document.edited(&new, &spelled)?);
    }
    Ok((removed, count))
}

/// Whether each pod template that has a container to steer is as these options ask for it.
///
/// # Errors
/// As [`inject`].
pub fn check(text: &str, options: &Options) -> Result<Vec<(String, State)>, Error> {
    let mut states = Vec::new();
    let all = located(text, options)?;
    let others = workloads(&all);
    for (document, found) in all {
        let Some(value) = document.node.as_ref().map(Node::value) else { continue };
        for target in found {
            let group = target.group(&value, &others).map_err(|error| target.fault(&document, error))?;
            let member = group.map(|(member, _)| member);
            let state = target.on(&document, member, |place| match value.pointer(&target.template.at) {
                Some(pod) => check_placed(pod, &target.options, place),
                None => Ok(State::Missing),
            });
            states.push((target.title(), state.map_err(|error| target.fault(&document, error))?));
        }
    }
    Ok(states)
}

/// A pod template to inject into.
struct Target {
    workload: Workload,
    template: Template,
    /// With those of the containers that are here.
    options: Options,
}

impl Target {
    fn title(&self) -> String {
        self.workload.title(&self.template)
    }

    fn fault(&self, document: &Document, source: Error) -> Error {
        Error::At { document: document.number, what: self.title(), source: Box::new(source) }
    }

    /// Runs `work` with what the document says about the template.
    fn on<T>(
        &self,
        document: &Document,
        member: Option<Member>,
        work: impl FnOnce(&Place<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let node = document.node.as_ref().and_then(|node| node.pointer(&self.template.at));
        let record = node.and_then(|pod| Record::of(&pod.value()).ok().flatten()).unwrap_or_default();
        // What an earlier injection replaced is what the job has set, and not what stands there now.
        let quoted = |container: &str, variable: &str| {
            let before = record.was.get(container).and_then(|was| was.get(variable));
            before.cloned().or_else(|| document.spelling(value_of(node?, container, variable)?))
        };
        work(&Place { job: self.workload.job(), member, quoted: &quoted })
    }

    /// Its part in a group of PyTorch's, as its document is before this injection.
    fn group(
        &self,
        document: &Value,
        others: &[(Workload, Value)],
    ) -> Result<Option<(Member, Vec<Value>)>, Error> {
        let mut before = document.clone();
        set_ordinals(&mut before, &self.workload, &self.template, false);
        if let Some(pod) = before.pointer_mut(&self.template.at) {
            remove_pod(pod)?;
        }
        let object = before.pointer(&self.workload.at).unwrap_or(&Value::Null);
        pytorch::member(&self.workload, object, &self.template.role, others, &self.options)
    }

    /// What the owner of this kind of workload has to do besides.
    fn advice(&self) -> Option<String> {
        (self.workload.kind == Kind::MpiJob).then(|| {
            let mut names = pod::variables(&self.options);
            names.insert(0, String::new());
            format!(
                "mpirun gives its ranks no variable of their container: add to its command{}",
                names.join(" -x ")
            )
        })
    }
}

/// The text with Volcano Jobs as pods, where nobody else would give those pods their ranks.
fn written_out(text: &str, options: &Options) -> Result<(String, Vec<(String, Report)>), Error> {
    let Some(pytorch) = &options.pytorch else { return Ok((text.to_owned(), Vec::new())) };
    let (mut new, mut reports) = (String::with_capacity(text.len()), Vec::new());
    for document in documents::read(text)? {
        let value = document.node.as_ref().map(Node::value).unwrap_or_default();
        let job = Workload::all_of(&value)
            .into_iter()
            .find(|one| one.kind == Kind::VolcanoJob && one.at.is_empty());
        let Some(job) = job.filter(|_| !pytorch::lists_plugin(&value)) else {
            new.push_str(&document.text);
            continue;
        };
        let pytorch::Expanded { pods, service, claims } = pytorch::expand(&value, pytorch, options)?;
        let texts: Vec<String> = claims.iter().chain(&pods).chain([&service]).map(yaml::document).collect();
        if document.text.starts_with("---") {
            new.push_str("---\n");
        }
        new.push_str(&texts.join("---\n"));
        let note = format!(
            "written out as {} and a Service, since it doesn't list Volcano's plugin pytorch: queues, gang scheduling and \
             policies of Volcano's don't apply to them",
            if pods.len() == 1 { "a pod".to_owned() } else { format!("{} pods", pods.len()) }
        );
        let title = format!("{}/{}", job.kind.name(), job.name);
        reports.push((title, Report { containers: Vec::new(), notes: vec![note] }));
    }
    Ok((new, reports))
}

/// Adds a Service unless the text has one of its name.
fn append(injected: &mut Injected, service: &Value) {
    let name = service.get("metadata").and_then(name_of).unwrap_or_default();
    let is_there = documents::read(&injected.text).into_iter().flatten().any(|document| {
        let value = document.node.as_ref().map(Node::value).unwrap_or_default();
        value.get("kind") == Some(&Value::from("Service"))
            && value.get("metadata").and_then(name_of) == Some(name)
    });
    if is_there {
        return;
    }
    let newline = if injected.text.contains("\r\n") { "\r\n" } else { "\n" };
    let text = format!("---\n{}", yaml::document(service)).replace('\n', newline);
    if injected.text.ends_with('\n') {
        injected.text.push_str(&text);
    } else {
        injected.text.push_str(newline);
        injected.text.push_str(text.trim_end());
    }
}

fn is_our_service(document: &Value) -> bool {
    let annotations = document.pointer("/metadata/annotations");
    document.get("kind") == Some(&Value::from("Service"))
        && annotations.is_some_and(|annotations| annotations.get(names::INJECTED_VERSION).is_some())
}

/// Makes a StatefulSet's pods begin at 1, or takes that back where injection did it.
fn set_ordinals(document: &mut Value, workload: &Workload, template: &Template, on: bool) {
    let record = document.pointer(&template.at).and_then(|pod| Record::of(pod).ok().flatten());
    let ours = record.is_some_and(|record| record.ordinals);
    let spec = document.pointer_mut(&format!("{}/spec", workload.at)).and_then(Value::as_object_mut);
    match (on, spec) {
        (true, Some(spec)) => drop(spec.insert("ordinals".to_owned(), json!({ "start": 1 }))),
        (false, Some(spec)) if ours => drop(spec.shift_remove("ordinals")),
        _ => {}
    }
}

fn workloads(all: &[(Document, Vec<Target>)]) -> Vec<(Workload, Value)> {
    let values = all.iter().filter_map(|(document, _)| document.node.as_ref()).map(Node::value);
    values
        .flat_map(|value| {
            let workloads = Workload::all_of(&value).into_iter();
            workloads
                .map(|workload| {
                    let object = value.pointer(&workload.at).cloned().unwrap_or_default();
                    (workload, object)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The documents of a text with what there is to inject into.
fn located(text: &str, options: &Options) -> Result<Vec<(Document, Vec<Target>)>, Error> {
    let mut all = Vec::new();
    let (mut any, mut missing) = (false, options.containers.clone());
    let mut known = Vec::new();
    let asked = !options.containers.is_empty();
    for document in documents::read(text)? {
        let value = document.node.as_ref().map(Node::value).unwrap_or_default();
        let mut targets = Vec::new();
        for (workload, template) in templates(&value) {
            any = true;
            let pod = value.pointer(&template.at).unwrap_or(&Value::Null);
            let names = containers(pod);
            missing.retain(|name| !names.contains(name));
            let mut options = options.clone();
            options.containers.retain(|name| names.contains(name));
            known.extend(names);
            if !workload.steers(&value, &template) && (asked || steered(pod, &options).is_err()) {
                continue;
            }
            let target = Target { workload, template, options };
            if asked && target.options.containers.is_empty() {
                continue;
            }
            match steered(pod, &target.options) {
                Ok(_) => targets.push(target),
                Err(Error::NoGpu) => {}
                Err(error) => return Err(target.fault(&document, error)),
            }
        }
        all.push((document, targets));
    }
    if let Some(name) = missing.into_iter().next() {
        return Err(Error::NoContainer { name, known });
    }
    match all.iter().any(|(_, targets)| !targets.is_empty()) {
        true => Ok(all),
        false => Err(if any { Error::NoGpu } else { Error::NoPods }),
    }
}

fn templates(document: &Value) -> Vec<(Workload, Template)> {
    let workloads = Workload::all_of(document).into_iter();
    let pairs = workloads.flat_map(|workload| {
        let templates = workload.templates.clone();
        templates.into_iter().map(move |template| (workload.clone(), template))
    });
    pairs.filter(|(_, template)| document.pointer(&template.at).is_some()).collect()
}

fn containers(pod: &Value) -> Vec<String> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    containers.filter_map(name_of).map(str::to_owned).collect()
}

/// How the values that injection replaced were spelled, by where they stand.
fn spellings(document: &Document, template: &Template, record: &Record) -> Vec<(usize, String)> {
    let pod = document.node.as_ref().and_then(|node| node.pointer(&template.at));
    let replaced = record
        .was
        .iter()
        .flat_map(|(container, was)| was.iter().map(move |(name, text)| (container, name, text)));
    replaced
        .filter(|(.., text)| !text.is_empty())
        .filter_map(|(container, name, text)| Some((value_of(pod?, container, name)?.start, text.clone())))
        .collect()
}

/// The value of a container's variable.
fn value_of<'a>(pod: &'a Node, container: &str, variable: &str) -> Option<&'a Node> {
    let named = |list: &'a Node, name: &str| {
        list.items().iter().rev().find(|one| one.get("name").is_some_and(|node| node.is(name)))
    };
    let container = named(pod.get("spec")?.get("containers")?, container)?;
    named(container.get("env")?, variable)?.get("value")
}
