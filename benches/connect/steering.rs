//! What steering adds to one connect: from the request to the poll that sees the route ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_steer::{Config, Hold, Source, Status, Steer, Steered};

use crate::{ROUNDS, fabric, median_time};

/// Connects measured in each way.
pub(crate) const SAMPLES: usize = ROUNDS * fabric::PEERS as usize;

/// Medians.
pub(crate) struct Added {
    /// The path API is asked; its time is subtracted.
    pub(crate) uncached: Duration,
    /// The path is known, the route isn't there.
    pub(crate) cached: Duration,
    /// Another connection of the flow has the route.
    pub(crate) shared: Duration,
}

pub(crate) fn measure(api: &str) -> Added {
    let (mut uncached, mut cached, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let steer = Steer::start(Config::new(Source::Api(api.to_owned()))).unwrap();
        steer.settle(Duration::from_secs(10));
        for flow in fabric::flows() {
            let (hold, steered, took) = connect(&steer, flow);
            assert_eq!(steered.origin, "jalapeno");
            uncached.push(took - steered.asking);
            drop(hold);
            steer.settle(Duration::from_secs(10));

            let (hold, steered, took) = connect(&steer, flow);
            assert!(steered.origin.starts_with("cache"), "{steered}");
            cached.push(took);

            let (second, steered, took) = connect(&steer, flow);
            assert_eq!(steered.origin, "the route in use");
            shared.push(took);
            drop((hold, second));
            steer.settle(Duration::from_secs(10));
        }
    }
    assert_eq!(uncached.len(), SAMPLES);
    Added { uncached: median_time(&uncached), cached: median_time(&cached), shared: median_time(&shared) }
}

/// Asks and polls, as NCCL's proxy thread polls a connect.
fn connect(steer: &Steer, flow: Flow) -> (Hold, Arc<Steered>, Duration) {
    let started = Instant::now();
    let hold = steer.request(flow);
    let steered = wait(&hold);
    (hold, steered, started.elapsed())
}

/// Polls until the route is there.
pub(crate) fn wait(hold: &Hold) -> Arc<Steered> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match hold.status() {
            Status::Ready(steered) => return steered,
            Status::Failed(reason) => panic!("{}: {reason}", hold.flow()),
            Status::Pending => assert!(Instant::now() < deadline, "{}: no answer", hold.flow()),
        }
        std::thread::yield_now();
    }
}
