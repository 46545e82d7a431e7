//! Weights of paths that the host's agent gives, brought to the shares that the transport's data path reads.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use srv6_fabric::Flow;
use srv6_hints::{HintsView, Key, Weights};
use srv6_transport::{Share, Shares};

/// Time from a change to the data path, at most; in between one word of memory is read.
const PERIOD: Duration = Duration::from_millis(20);
/// How often it is looked whether another agent writes another file, which takes system calls.
const LOOK: Duration = Duration::from_secs(1);
/// An agent that says nothing for so long is dead, and flows go by their own settings. It should say something each second.
const SILENCE: Duration = Duration::from_secs(5);

/// Follows a file of hints on one thread, `srv6-hints`, which runs only while there are connections.
#[derive(Debug)]
pub(super) struct Follower {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: PathBuf,
    /// Inode of this process's network namespace, as the agent writes it.
    namespace: u64,
    /// What counts where a hint says nothing.
    own: Vec<Share>,
    flows: HashMap<Flow, Followed>,
    view: Option<HintsView>,
    looked: Option<Instant>,
    /// Generation and placement when flows were last gone through.
    seen: Option<(u64, u64)>,
    running: bool,
}

/// One flow, as long as a connection has its shares.
#[derive(Debug)]
struct Followed {
    shares: Weak<Shares>,
    slot: Option<u32>,
    weights: Weights,
}

impl Follower {
    /// Follows `file`, which may come and go. `own`: the shares without a hint.
    pub(super) fn new(file: &Path, own: &[Share]) -> Self {
        let namespace = std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino());
        let state = State {
            file: file.to_owned(),
            namespace,
            own: own.to_vec(),
            flows: HashMap::new(),
            view: None,
            looked: None,
            seen: None,
            running: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The shares of a flow's connections; never blocks for longer than a round takes. They change for as long as somebody has them.
    pub(super) fn shares(&self, flow: Flow) -> Arc<Shares> {
        let mut state = self.state.lock();
        if let Some(shares) = state.flows.get(&flow).and_then(|followed| followed.shares.upgrade()) {
            return shares;
        }
        let shares = Arc::new(Shares::new());
        shares.set(&state.own);
        let followed = Followed { shares: Arc::downgrade(&shares), slot: None, weights: Weights::default() };
        state.flows.insert(flow, followed);
        // What hints say of it comes with the next round: a connect waits for nothing.
        state.seen = None;
        if !state.running {
            state.running = self.start();
        }
        shares
    }

    fn start(&self) -> bool {
        let state = Arc::clone(&self.state);
        let follow = move || {
            while state.lock().go_on(Instant::now()) {
                std::thread::sleep(PERIOD);
            }
        };
        match std::thread::Builder::new().name("srv6-hints".to_owned()).spawn(follow) {
            Ok(_) => true,
            Err(error) => {
                log::warn!("multipath: hints aren't followed: {error}");
                false
            }
        }
    }
}

impl State {
    /// One round. False: no connection is left, and the thread ends.
    fn go_on(&mut self, now: Instant) -> bool {
        self.flows.retain(|_, followed| followed.shares.strong_count() > 0);
        self.running = !self.flows.is_empty();
        if self.running {
            self.look(now);
        }
        self.running
    }

    fn look(&mut self, now: Instant) {
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK) {
            self.looked = Some(now);
            self.open();
        }
        let Some(view) = &self.view else { return self.forget() };
        if view.silence() > SILENCE {
            return self.forget();
        }
        // In this order: a change in between shows up in the next round.
        let counts = (view.generation(), view.placement());
        if self.seen == Some(counts) {
            return;
        }
        let moved = self.seen.is_none_or(|(_, placement)| placement != counts.1);
        let places: HashMap<Key, u32> = match moved {
            true => view.entries().iter().map(|entry| (entry.key, entry.slot)).collect(),
            false => HashMap::new(),
        };
        let mut whole = true;
        for (flow, followed) in &mut self.flows {
            let key = Key { namespace: self.namespace, flow: *flow };
            if moved {
                followed.slot = places.get(&key).copied();
            }
            let Some(slot) = followed.slot else {
                followed.set(Weights::default(), &self.own);
                continue;
            };
            match view.read(slot) {
                Some(Some((found, weights))) if found == key => followed.set(weights, &self.own),
                // Another flow's by now: it will be looked for again.
                Some(_) => whole = false,
                // Just being written: what it was counts until the next round.
                None => whole = false,
            }
        }
        self.seen = whole.then_some(counts);
    }

    /// Maps the file if another one has its name now.
    fn open(&mut self) {
        if self.view.as_ref().is_some_and(|view| view.is_current(&self.file)) {
            return;
        }
        self.seen = None;
        self.view = match HintsView::open(&self.file) {
            Ok(view) => Some(view),
            Err(error) => {
                log::debug!("multipath: no hints: {error}");
                // What was mapped is a dead agent's, and its silence tells when that is over.
                self.view.take()
            }
        };
    }

    /// Goes by the settings, where hints come from nobody alive.
    fn forget(&mut self) {
        self.seen = None;
        for followed in self.flows.values_mut() {
            followed.set(Weights::default(), &self.own);
        }
    }
}

impl Followed {
    fn set(&mut self, weights: Weights, own: &[Share]) {
        if self.weights == weights {
            return;
        }
        self.weights = weights;
        let Some(shares) = self.shares.upgrade() else { return };
        let share = |(lane, weight): (usize, Option<u16>)| {
            let own = own.get(lane).copied().unwrap_or_default();
            Share { weight: weight.or(own.weight), ..own }
        };
        let all: Vec<Share> = weights.get().into_iter().enumerate().map(share).collect();
        shares.set(&all);
    }
}

#[cfg(test)]
mod tests {
    use srv6_hints::Hints;

    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        follower: Follower,
    }

    fn flow(n: u8) -> Flow {
        Flow { src: [10, 0, 0, 1].into(), dst: [10, 0, 1, n].into() }
    }

    /// Weights of the first three lanes.
    fn weights(shares: &Shares) -> Option<[Option<u16>; 3]> {
        let (_, all) = shares.read()?;
        Some([all[0].weight, all[1].weight, all[2].weight])
    }

    impl Scene {
        fn new(own: &[Share]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let follower = Follower::new(&folder.path().join("hints"), own);
            Self { folder, follower }
        }

        fn agent(&self) -> Hints {
            Hints::create(&self.folder.path().join("hints"), 16).unwrap()
        }

        fn key(&self, n: u8) -> Key {
            Key { namespace: self.follower.state.lock().namespace, flow: flow(n) }
        }

        /// Waits, while the agent, if it is given, goes on to beat.
        fn eventually(&self, agent: Option<&Hints>, shares: &Shares, wanted: [Option<u16>; 3]) {
            let deadline = Instant::now() + Duration::from_secs(60);
            while weights(shares) != Some(wanted) {
                agent.into_iter().for_each(Hints::beat);
                assert!(Instant::now() < deadline, "{:?} instead of {wanted:?}", weights(shares));
                std::thread::sleep(PERIOD);
            }
        }
    }

    #[test]
    fn hints_come_to_the_shares_and_go() {
        let scene = Scene::new(&[]);
        let mut agent = scene.agent();
        let (one, two) = (scene.follower.shares(flow(1)), scene.follower.shares(flow(2)));
        let slot = agent.acquire(scene.key(1)).unwrap();
        agent.set(slot, "1000,250".parse().unwrap()).unwrap();
        scene.eventually(Some(&agent), &one, [Some(1000), Some(250), None]);
        assert_eq!(weights(&two), Some([None; 3]));
        assert!(Arc::ptr_eq(&one, &scene.follower.shares(flow(1))), "connections of a flow share them");
        agent.release(&scene.key(1));
        scene.eventually(Some(&agent), &one, [None; 3]);
        // Its slot is another flow's now.
        let slot = agent.acquire(scene.key(2)).unwrap();
        agent.set(slot, "0,7,9".parse().unwrap()).unwrap();
        scene.eventually(Some(&agent), &two, [Some(0), Some(7), Some(9)]);
        assert_eq!(weights(&one), Some([None; 3]));
    }

    #[test]
    fn another_agent_is_followed_and_one_that_is_late_too() {
        let scene = Scene::new(&[]);
        let shares = scene.follower.shares(flow(1));
        let mut agent = scene.agent();
        let slot = agent.acquire(scene.key(1)).unwrap();
        agent.set(slot, "5,6".parse().unwrap()).unwrap();
        scene.eventually(Some(&agent), &shares, [Some(5), Some(6), None]);
        drop(agent);
        let mut agent = scene.agent();
        let slot = agent.acquire(scene.key(1)).unwrap();
        agent.set(slot, "7".parse().unwrap()).unwrap();
        scene.eventually(Some(&agent), &shares, [Some(7), None, None]);
    }

    #[test]
    fn a_hint_goes_before_the_settings_where_it_says_something() {
        let own = [Share { weight: Some(3), cap: Some(9) }, Share { weight: Some(4), cap: None }];
        let scene = Scene::new(&own);
        let mut agent = scene.agent();
        let shares = scene.follower.shares(flow(1));
        assert_eq!(weights(&shares), Some([Some(3), Some(4), None]));
        let slot = agent.acquire(scene.key(1)).unwrap();
        agent.set(slot, "-,0,8".parse().unwrap()).unwrap();
        scene.eventually(Some(&agent), &shares, [Some(3), Some(0), Some(8)]);
        assert_eq!(shares.read().unwrap().1[0].cap, Some(9), "limits are the settings' own");
        // Nothing is heard of the agent from here on.
        scene.eventually(None, &shares, [Some(3), Some(4), None]);
        drop(agent);
    }

    #[test]
    fn the_thread_ends_with_the_last_connection_and_begins_again() {
        let scene = Scene::new(&[]);
        let mut agent = scene.agent();
        for round in [1, 2] {
            let shares = scene.follower.shares(flow(1));
            let slot = agent.acquire(scene.key(1)).unwrap();
            agent.set(slot, Weights::new(&[Some(round)])).unwrap();
            scene.eventually(Some(&agent), &shares, [Some(round), None, None]);
            drop(shares);
            let deadline = Instant::now() + Duration::from_secs(60);
            while scene.follower.state.lock().running {
                assert!(Instant::now() < deadline, "the thread doesn't end");
                std::thread::sleep(PERIOD);
            }
        }
    }
}
