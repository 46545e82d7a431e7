//! The host's hints: flows get slots, people and programs set them.

mod manual;
mod mpib;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use srv6_fabric::chain;
use srv6_hints::mpib::ShareError;
use srv6_hints::{Entry, Hints, HintsError, Key, Weights, WeightsError};

use crate::Config;
use crate::throttle::Throttle;
pub use manual::{Line, LineError, read_lines};
pub use mpib::{Mpib, MpibCounts};

/// How often the writer says that it lives. Readers are told to expect it once a second.
const BEAT: Duration = Duration::from_millis(500);

/// What hints this agent gives.
#[derive(Debug)]
pub struct Hinting {
    own: Option<Arc<Mutex<Hints>>>,
    mpib: Option<Arc<Mpib>>,
    grace: Duration,
}

/// Which of the two kinds of hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours, of weights for each path.
    Paths,
    /// Those for MPIB's clients.
    Mpib,
}

/// Which slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Slot(u32),
    /// All in use.
    All,
}

/// A hint that can't be set.
#[derive(Debug, thiserror::Error)]
pub enum HintingError {
    /// This agent gives no such hints.
    #[error("this agent gives no hints of this kind; want {setting} set")]
    Off {
        /// What switches them on.
        setting: &'static str,
    },
    /// The value.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The value, for MPIB.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The slot.
    #[error(transparent)]
    Hints(#[from] HintsError),
}

/// A flow's slot, as long as this lives.
#[derive(Debug)]
pub struct HintClaim {
    hints: Arc<Mutex<Hints>>,
    key: Key,
    slot: u32,
}

impl Hinting {
    /// Makes what the settings ask for.
    ///
    /// What can't be made is told in the log and missing from then on: flows are steered without hints, too.
    pub fn start(config: &Config) -> Self {
        let own = config
            .hints
            .as_ref()
            .and_then(|wanted| told("no hints for paths", Hints::create(&wanted.path, wanted.slots)));
        let mpib =
            config.mpib.as_ref().and_then(|wanted| told("MPIB's clients aren't served", Mpib::open(wanted)));
        let own = own.map(|hints| Arc::new(Mutex::new(hints)));
        Self { own, mpib: mpib.map(Arc::new), grace: config.grace }
    }

    /// A slot for a flow; `None` where there are no hints or no slot is free, and the flow goes by its own settings.
    pub fn claim(&self, key: Key) -> Option<HintClaim> {
        let hints = self.own.as_ref()?;
        let slot = told("a flow gets no hints", hints.lock().acquire(key))?;
        Some(HintClaim { hints: Arc::clone(hints), key, slot })
    }

    /// Sets hints from text: weights such as `1000,500,-`, or what MPIB's clients read, as number or share. Gives the
    /// number of slots that were set.
    ///
    /// # Errors
    /// The value or slot is none, or this agent gives no such hints.
    pub fn set(&self, kind: Kind, which: Which, value: &str) -> Result<usize, HintingError> {
        match kind {
            Kind::Paths => {
                let hints = self.own.as_ref().ok_or(HintingError::Off { setting: "SRV6D_HINTS" })?;
                let weights: Weights = value.parse()?;
                match which {
                    Which::Slot(slot) => hints.lock().set(slot, weights)?,
                    Which::All => return Ok(hints.lock().set_all(weights)),
                }
            }
            Kind::Mpib => {
                let mpib = self.mpib.as_ref().ok_or(HintingError::Off { setting: "SRV6D_MPIB_COMPAT" })?;
                let value = mpib.unit().parse_value(value)?;
                match which {
                    Which::Slot(slot) => mpib.set(slot, value)?,
                    Which::All => return Ok(mpib.set_all(value)),
                }
            }
        }
        Ok(1)
    }

    /// The kind that is meant if nothing is said: MPIB's where its clients are served, as they bring `--manual` along.
    pub fn usual(&self) -> Kind {
        if self.mpib.is_some() { Kind::Mpib } else { Kind::Paths }
    }

    /// Slots of our own hints in use, and the references to each; `None` where there are no hints.
    pub fn entries(&self) -> Option<Vec<(Entry, u32)>> {
        Some(self.own.as_ref()?.lock().entries())
    }

    /// What MPIB's clients are served by.
    pub fn mpib(&self) -> Option<&Arc<Mpib>> {
        self.mpib.as_ref()
    }

    /// Keeps the heartbeat going and serves MPIB's clients, for ever. After the time of grace, slots taken over from an
    /// earlier agent are freed that nobody has claimed since.
    pub async fn run(self: Arc<Self>) {
        if let Some(mpib) = &self.mpib {
            tokio::spawn(Arc::clone(mpib).serve());
        }
        let Some(hints) = &self.own else { return };
        let mut refusals = Throttle::default();
        let mut grace = Some(Instant::now() + self.grace);
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut hints = hints.lock();
            hints.beat();
            match hints.restore() {
                Ok(false) => {}
                Ok(true) => log::warn!("hints={} was gone and is made again", hints.path().display()),
                Err(error) => refusals.warn(&chain(&error)),
            }
            if grace.is_some_and(|end| Instant::now() >= end) {
                grace = None;
                hints.forget_unclaimed();
            }
        }
    }

    /// Removes what MPIB's clients find, as their own agent does when it is stopped. Our own hints stay, without
    /// heartbeat, for the next agent to take over.
    pub fn withdraw(&self) {
        if let Some(mpib) = &self.mpib {
            mpib.withdraw();
        }
    }
}

impl HintClaim {
    /// The slot.
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

impl Drop for HintClaim {
    fn drop(&mut self) {
        self.hints.lock().release(&self.key);
    }
}

/// The result, if there is one; an error stops here.
fn told<T, E: std::error::Error + 'static>(what: &str, result: Result<T, E>) -> Option<T> {
    result.map_err(|error| log::warn!("{what}: {}", chain(&error))).ok()
}

#[cfg(test)]
mod tests {
    use srv6_fabric::Flow;

    use super::*;
    use crate::Layers;

    fn hinting(folder: &std::path::Path, more: &[(&str, &str)]) -> Hinting {
        let path = folder.join("hints").display().to_string();
        let values = [&[("SRV6_TOPOLOGY", "f.json"), ("SRV6D_HINTS", &path)], more].concat();
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Hinting::start(&Config::read(Layers::of_environment(values)).unwrap())
    }

    fn key(n: u8) -> Key {
        Key { namespace: 1, flow: Flow { src: [10, 0, 0, n].into(), dst: [10, 0, 1, n].into() } }
    }

    #[test]
    fn a_slot_lasts_as_long_as_its_claims() {
        let folder = tempfile::tempdir().unwrap();
        let hinting = hinting(folder.path(), &[("SRV6D_HINT_SLOTS", "2")]);
        let (one, again) = (hinting.claim(key(1)).unwrap(), hinting.claim(key(1)).unwrap());
        let two = hinting.claim(key(2)).unwrap();
        assert_eq!([one.slot(), again.slot(), two.slot()], [0, 0, 1]);
        assert!(hinting.claim(key(3)).is_none(), "two slots");
        drop((one, two));
        assert_eq!(hinting.entries().unwrap().len(), 1);
        assert_eq!(hinting.claim(key(3)).unwrap().slot(), 1);
    }

    #[test]
    fn hints_are_set_from_text() {
        let folder = tempfile::tempdir().unwrap();
        let hinting = hinting(folder.path(), &[]);
        assert_eq!(hinting.set(Kind::Paths, Which::All, "1").unwrap(), 0);
        let _claims = [hinting.claim(key(1)), hinting.claim(key(2))];
        assert_eq!(hinting.set(Kind::Paths, Which::All, "700,300").unwrap(), 2);
        assert_eq!(hinting.set(hinting.usual(), Which::Slot(1), "5").unwrap(), 1);
        let weights: Vec<_> =
            hinting.entries().unwrap().iter().map(|(entry, _)| entry.weights.to_string()).collect();
        assert_eq!(weights, ["700,300", "5"]);
        let refused = |kind, which, value| hinting.set(kind, which, value).unwrap_err().to_string();
        assert!(refused(Kind::Paths, Which::All, "1001").contains("\"1001\" is no list of weights"));
        assert!(refused(Kind::Paths, Which::Slot(2), "1").contains("slot 2 has no flow"));
        assert!(refused(Kind::Mpib, Which::All, "1").contains("want SRV6D_MPIB_COMPAT set"));
    }

    #[test]
    fn without_hints_flows_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let first = hinting(folder.path(), &[]);
        let second = hinting(folder.path(), &[]);
        assert!(second.claim(key(1)).is_none() && second.entries().is_none(), "the file has a writer");
        assert!(first.claim(key(1)).is_some());
        let error = second.set(Kind::Paths, Which::All, "1").unwrap_err();
        assert!(error.to_string().contains("want SRV6D_HINTS set"), "{error}");
    }
}
