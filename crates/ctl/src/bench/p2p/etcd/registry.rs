//! Who is there: agents registered under their names while they live.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::client::{Client, Endpoints, Lease, Stored};
use crate::bench::p2p::say;

/// The keys of all agents that may find each other.
#[derive(Debug)]
pub(in super::super) struct Namespace {
    client: Client,
    /// `/nixl/agents/`, say.
    prefix: String,
}

/// What an agent is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Role {
    Target,
    Initiator,
}

/// What is stored of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Entry {
    pub(in super::super) role: Role,
    /// Where a target listens; an initiator listens nowhere.
    pub(in super::super) ip: Option<String>,
    pub(in super::super) port: Option<u16>,
    pub(in super::super) host: String,
    pub(in super::super) pid: u32,
    /// Differs between any two processes: an entry of an earlier one isn't ours.
    pub(in super::super) instance: u64,
}

/// An entry that stays as long as this lives. Gone a lease's time after its process at the latest.
#[derive(Debug)]
pub(in super::super) struct Registration {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Namespace {
    pub(in super::super) fn new(endpoints: Endpoints, namespace: &str) -> anyhow::Result<Self> {
        let namespace = namespace.trim_end_matches('/');
        ensure!(!namespace.is_empty(), "the etcd namespace is empty: wanted a prefix such as /nixl/agents");
        Ok(Self { client: Client::new(endpoints), prefix: format!("{namespace}/") })
    }

    /// Registers an agent, waiting for an etcd that isn't up yet, and for an earlier process of this name to be
    /// forgotten.
    ///
    /// # Errors
    /// If that isn't done by the deadline.
    pub(in super::super) fn register(
        mut self,
        name: &str,
        entry: &Entry,
        deadline: Instant,
    ) -> anyhow::Result<Registration> {
        ensure!(!name.is_empty() && !name.contains('/'), "the name {name:?}: wanted one without a slash");
        let key = format!("{}{name}{LABEL}", self.prefix);
        let value = serde_json::to_vec(entry).context("writing the entry")?;
        let mut told = false;
        let lease = loop {
            let error = match self.try_register(&key, &value, entry.instance) {
                Ok(lease) => break lease,
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(error).with_context(|| format!("registering {name:?} in etcd"));
            }
            if !told {
                say(&format!("Waiting to be registered in etcd: {error:#}"));
                told = true;
            }
            std::thread::sleep(RETRY);
        };
        let (stop, stopped) = channel();
        let instance = entry.instance;
        let keeper = std::thread::Builder::new()
            .name("etcd lease".into())
            .spawn(move || self.keep(&key, &value, instance, lease, &stopped))
            .context("starting a thread")?;
        Ok(Registration { stop: Some(stop), keeper: Some(keeper) })
    }

    /// All agents of ours, by name; keys of others in the namespace are left alone.
    ///
    /// # Errors
    /// If no etcd answers.
    pub(in super::super) fn agents(&mut self) -> anyhow::Result<BTreeMap<String, Entry>> {
        let all = self.client.with_prefix(&self.prefix)?;
        Ok(all.into_iter().filter_map(|stored| entry(&self.prefix, &stored)).collect())
    }

    fn try_register(&mut self, key: &str, value: &[u8], instance: u64) -> anyhow::Result<Lease> {
        let lease = self.client.grant(LEASE.as_secs())?;
        let Some(there) = self.client.put_new(key, value, &lease)? else { return Ok(lease) };
        self.client.revoke(&lease)?;
        match serde_json::from_slice::<Entry>(&there.value) {
            // An answer that was lost: the key is ours, but hangs on a lease that we don't know and that will end.
            Ok(other) if other.instance == instance => bail!("an earlier attempt still holds the name"),
            Ok(other) => bail!("{key} is there already: host {}, pid {}", other.host, other.pid),
            Err(_) => bail!("{key} is there already, and not one of ours"),
        }
    }

    /// Keeps the lease alive, and registers anew where etcd has lost it.
    fn keep(mut self, key: &str, value: &[u8], instance: u64, lease: Lease, stopped: &Receiver<()>) {
        let (mut lease, mut lost) = (Some(lease), false);
        while stopped.recv_timeout(if lost { RETRY } else { LEASE / 3 }) == Err(RecvTimeoutError::Timeout) {
            let kept = match &lease {
                Some(held) => self.client.keep_alive(held),
                None => Ok(false),
            };
            let result = match kept {
                Ok(true) => Ok(()),
                Ok(false) => {
                    lease = None;
                    self.try_register(key, value, instance).map(|new| lease = Some(new))
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) if lost => say(&format!("etcd is back; {key} is registered")),
                Ok(()) => {}
                Err(ref error) if !lost => say(&format!("Registration lost, trying again: {error:#}")),
                Err(_) => {}
            }
            lost = result.is_err();
        }
        if let Some(held) = &lease
            && let Err(error) = self.client.revoke(held)
        {
            log::info!("the registration ends by itself: {error:#}");
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            log::error!("the thread that keeps the etcd lease panicked");
        }
    }
}

/// How long a dead process stays registered.
const LEASE: Duration = Duration::from_secs(10);

/// Between attempts, and how often agents are looked for.
pub(in super::super) const RETRY: Duration = Duration::from_millis(500);

/// Behind a name, as NIXL puts a label there.
const LABEL: &str = "/srv6ctl-p2p";

fn entry(prefix: &str, stored: &Stored) -> Option<(String, Entry)> {
    let name = stored.key.strip_prefix(prefix)?.strip_suffix(LABEL)?;
    Some((name.to_owned(), serde_json::from_slice(&stored.value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: &str, value: &str) -> Stored {
        Stored { key: key.into(), value: value.as_bytes().to_vec() }
    }

    #[test]
    fn only_our_own_keys_are_agents() {
        let value = r#"{"role":"target","ip":"a","port":1,"host":"h","pid":2,"instance":3}"#;
        let (name, found) = entry("/ns/", &stored("/ns/gpu-1/srv6ctl-p2p", value)).unwrap();
        assert_eq!((name.as_str(), found.role, found.port), ("gpu-1", Role::Target, Some(1)));
        assert_eq!(serde_json::to_string(&found).unwrap(), value);
        for (key, value) in [
            ("/ns/gpu-1/metadata", value),
            ("/other/gpu-1/srv6ctl-p2p", value),
            ("/ns/gpu-1/srv6ctl-p2p", "\x01"),
        ] {
            assert_eq!(entry("/ns/", &stored(key, value)), None, "{key}");
        }
    }

    #[test]
    fn names_and_namespaces_that_make_no_keys() {
        let endpoints = || Endpoints::parse("127.0.0.1:1").unwrap();
        assert!(Namespace::new(endpoints(), "/").is_err());
        let entry =
            Entry { role: Role::Initiator, ip: None, port: None, host: "h".into(), pid: 1, instance: 1 };
        let register = |name: &str| {
            let namespace = Namespace::new(endpoints(), "/ns/").unwrap();
            format!("{:#}", namespace.register(name, &entry, Instant::now()).unwrap_err())
        };
        assert!(register("a/b").contains("wanted one without a slash"));
        assert!(register("a").starts_with("registering \"a\" in etcd: etcd does not answer: "));
    }
}
