//! A connect, from NCCL's first call to the last: steer, then let the inner transport go on.
//!
//! NCCL calls connect again and again, every microsecond, until it gives a comm. Nothing here waits: each call looks at
//! what has happened since. A connect fails before the inner transport's first call or with the inner transport's own
//! error, because a half-made inner connection can't be taken back.

use std::ffi::c_void;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nccl_net_abi::Code;
use srv6_fabric::Flow;
use srv6_steer::Status;

use crate::error::Error;

/// Steers flows. Returns at once; the work is done elsewhere.
pub(crate) trait Steering: Send + Sync {
    /// Asks for a path for `flow`. The path stays as long as what is returned lives.
    fn request(&self, flow: Flow) -> Box<dyn Held>;

    /// Waits until everything given back so far is out of the kernel, at most for `patience`.
    fn settle(&self, patience: Duration);
}

/// A flow's reference to its path. Dropping gives it back.
pub(crate) trait Held: Send + Sync {
    /// How far it is.
    fn status(&self) -> Status;
}

/// What is known about the way to the peer, before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over the fabric: to be steered.
    Fabric(Flow),
    /// The peer is on this host: no packet leaves it.
    Local(IpAddr),
    /// One end's address can't be told, for this reason.
    Unknown(String),
}

/// Not an error: it goes on at the next call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress<T> {
    /// Done.
    Ready(T),
    /// Call again.
    Pending,
}

/// What a connect does when a flow can't be steered, and for how long it waits to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Fail rather than go unsteered.
    pub(crate) strict: bool,
    /// A guard, longer than the steering's own deadline: if that doesn't answer at all, connects still go on.
    pub(crate) patience: Duration,
}

/// A finished connect: the inner transport's comm, and the path that lives as long as it.
pub(crate) struct Connected {
    /// The inner transport's own pointer.
    pub(crate) comm: *mut c_void,
    /// `None` if unsteered.
    pub(crate) path: Option<Box<dyn Held>>,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("comm", &self.comm).field("steered", &self.path.is_some()).finish()
    }
}

/// One connect under way.
pub(crate) struct Connecting {
    stage: Stage,
    started: Instant,
}

enum Stage {
    Steering { flow: Flow, path: Box<dyn Held> },
    Dialing { path: Option<Box<dyn Held>> },
}

impl Connecting {
    /// Begins: asks for a path if the way is over the fabric.
    ///
    /// # Errors
    /// Strict, and the way can't be steered.
    pub(crate) fn begin(
        way: Way,
        steering: &dyn Steering,
        terms: Terms,
        now: Instant,
    ) -> Result<Self, Error> {
        let stage = match way {
            Way::Fabric(flow) => Stage::Steering { flow, path: steering.request(flow) },
            Way::Local(peer) => {
                log::info!("connection to {peer}: on this host, needs no path");
                Stage::Dialing { path: None }
            }
            Way::Unknown(reason) if terms.strict => return Err(Error::Unsteerable { reason }),
            Way::Unknown(reason) => {
                log::warn!("connection goes unsteered: {reason}");
                Stage::Dialing { path: None }
            }
        };
        Ok(Self { stage, started: now })
    }

    /// One call of NCCL's: looks at the path, then calls the inner connect once by `dial`.
    ///
    /// `dial` is called only when the route is there (or won't be), and gives NULL while the inner transport isn't done.
    ///
    /// # Errors
    /// Strict and unsteered: before the first `dial`. Else what `dial` says, as it is. Either ends the attempt: dropping
    /// it withdraws the path.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        terms: Terms,
        dial: impl FnOnce() -> Result<*mut c_void, Code>,
    ) -> Result<Progress<Connected>, Error> {
        if let Stage::Steering { flow, path } = &self.stage {
            let flow = *flow;
            let waited = now.saturating_duration_since(self.started);
            let failure = match path.status() {
                Status::Ready(steered) => {
                    log::info!("connection {flow}: {steered}");
                    None
                }
                Status::Pending if waited < terms.patience => return Ok(Progress::Pending),
                Status::Pending => Some(format!("no answer in {waited:?}").into()),
                Status::Failed(reason) => Some(reason),
            };
            match failure {
                Some(reason) if terms.strict => return Err(Error::Unsteered { flow, reason }),
                Some(reason) => {
                    log::warn!("connection {flow} goes unsteered: {reason}");
                    self.stage = Stage::Dialing { path: None };
                }
                None => self.keep_path(),
            }
        }
        let comm = dial().map_err(|code| Error::Inner { call: "connect", code })?;
        if comm.is_null() {
            return Ok(Progress::Pending);
        }
        let path = match &mut self.stage {
            Stage::Dialing { path } => path.take(),
            Stage::Steering { .. } => None,
        };
        Ok(Progress::Ready(Connected { comm, path }))
    }

    fn keep_path(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Dialing { path: None });
        self.stage = match stage {
            Stage::Steering { path, .. } => Stage::Dialing { path: Some(path) },
            dialing @ Stage::Dialing { .. } => dialing,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null_mut, without_provenance_mut};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use srv6_steer::Steered;

    use super::*;

    const COMM: *mut c_void = without_provenance_mut(0x1000);
    const STRICT: Terms = Terms { strict: true, patience: Duration::from_secs(6) };
    const LENIENT: Terms = Terms { strict: false, patience: Duration::from_secs(6) };

    /// A steering whose answer the test sets, and that counts what is held.
    struct Script(Arc<Mutex<Scene>>);

    struct Scene {
        status: Status,
        requests: Vec<Flow>,
        held: usize,
    }

    struct Prop(Arc<Mutex<Scene>>);

    impl Script {
        fn new(status: Status) -> Self {
            Self(Arc::new(Mutex::new(Scene { status, requests: Vec::new(), held: 0 })))
        }

        fn set(&self, status: Status) {
            self.0.lock().status = status;
        }

        fn held(&self) -> usize {
            self.0.lock().held
        }
    }

    impl Steering for Script {
        fn request(&self, flow: Flow) -> Box<dyn Held> {
            let mut scene = self.0.lock();
            scene.requests.push(flow);
            scene.held += 1;
            Box::new(Prop(Arc::clone(&self.0)))
        }

        fn settle(&self, _patience: Duration) {}
    }

    impl Held for Prop {
        fn status(&self) -> Status {
            self.0.lock().status.clone()
        }
    }

    impl Drop for Prop {
        fn drop(&mut self) {
            self.0.lock().held -= 1;
        }
    }

    fn flow() -> Flow {
        Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: "2001:db8:1003::2".parse().unwrap() }
    }

    fn steered() -> Status {
        Status::Ready(Arc::new(Steered {
            hops: ["host00", "leaf0", "spine1", "leaf3", "host03"].map(String::from).to_vec(),
            carrier: "fc00:0:1:2:3:d::".to_owned(),
            origin: "topology file".to_owned(),
            took: Duration::from_micros(4250),
            asking: Duration::from_micros(3000),
        }))
    }

    fn never() -> Result<*mut c_void, Code> {
        panic!("the inner connect must not be called yet")
    }

    fn begin(script: &Script, terms: Terms, now: Instant) -> Connecting {
        Connecting::begin(Way::Fabric(flow()), script, terms, now).unwrap()
    }

    #[test]
    fn waits_for_the_route_through_a_hundred_thousand_polls() {
        let script = Script::new(Status::Pending);
        let start = Instant::now();
        let mut connecting = begin(&script, STRICT, start);
        for poll in 0..100_000 {
            let now = start + Duration::from_micros(poll * 50);
            assert!(matches!(connecting.poll(now, STRICT, never), Ok(Progress::Pending)));
        }
        script.set(steered());
        let now = start + Duration::from_secs(5);
        assert!(matches!(connecting.poll(now, STRICT, || Ok(null_mut())), Ok(Progress::Pending)));
        // From here on only the inner transport matters.
        script.set(Status::Failed("gone".into()));
        let Progress::Ready(connected) = connecting.poll(now, STRICT, || Ok(COMM)).unwrap() else {
            panic!("the inner connect was done");
        };
        assert_eq!(connected.comm, COMM);
        drop(connecting);
        assert_eq!(script.held(), 1, "the path lives with the comm");
        drop(connected);
        assert_eq!(script.held(), 0);
        assert_eq!(script.0.lock().requests, [flow()], "one request, however many polls");
    }

    #[test]
    fn a_ready_path_costs_no_extra_call() {
        let script = Script::new(steered());
        let now = Instant::now();
        let connected = begin(&script, LENIENT, now).poll(now, LENIENT, || Ok(COMM)).unwrap();
        assert!(matches!(connected, Progress::Ready(Connected { path: Some(_), .. })));
    }

    #[test]
    fn unsteered_fails_if_strict_and_goes_on_if_not() {
        let now = Instant::now();
        let script = Script::new(Status::Failed("no path from leaf0".into()));
        let error = begin(&script, STRICT, now).poll(now, STRICT, never).unwrap_err();
        assert_eq!(error.to_string(), format!("connection {} can't be steered: no path from leaf0", flow()));
        assert_eq!(error.code(), Code::SYSTEM_ERROR);
        assert_eq!(script.held(), 0);

        let mut connecting = begin(&script, LENIENT, now);
        let Progress::Ready(connected) = connecting.poll(now, LENIENT, || Ok(COMM)).unwrap() else {
            panic!("the inner connect was done");
        };
        assert!(connected.path.is_none());
        assert_eq!(script.held(), 0, "what failed is not kept");
    }

    #[test]
    fn a_steering_that_never_answers_is_not_waited_for() {
        let script = Script::new(Status::Pending);
        let start = Instant::now();
        let before = start + LENIENT.patience - Duration::from_millis(1);
        let after = start + LENIENT.patience;
        let mut lenient = begin(&script, LENIENT, start);
        assert!(matches!(lenient.poll(before, LENIENT, never), Ok(Progress::Pending)));
        assert!(matches!(lenient.poll(after, LENIENT, || Ok(COMM)), Ok(Progress::Ready(_))));
        let mut strict = begin(&script, STRICT, start);
        assert!(matches!(strict.poll(after, STRICT, never), Err(Error::Unsteered { .. })));
    }

    #[test]
    fn the_inner_error_passes_through_and_withdraws_the_path() {
        let script = Script::new(steered());
        let now = Instant::now();
        let mut connecting = begin(&script, LENIENT, now);
        let error = connecting.poll(now, LENIENT, || Err(Code::UNHANDLED_CUDA_ERROR)).unwrap_err();
        assert_eq!(error.code(), Code::UNHANDLED_CUDA_ERROR);
        drop(connecting);
        assert_eq!(script.held(), 0);
    }

    #[test]
    fn an_unknown_address_is_an_error_only_if_strict() {
        let script = Script::new(Status::Pending);
        let now = Instant::now();
        let way = Way::Unknown("the peer's address is not in the handle".to_owned());
        assert!(matches!(
            Connecting::begin(way.clone(), &script, STRICT, now),
            Err(Error::Unsteerable { reason }) if reason.contains("not in the handle")
        ));
        let mut connecting = Connecting::begin(way, &script, LENIENT, now).unwrap();
        assert!(matches!(connecting.poll(now, LENIENT, || Ok(COMM)), Ok(Progress::Ready(_))));
    }

    #[test]
    fn a_local_peer_needs_no_path_even_if_strict() {
        let script = Script::new(Status::Failed("must not be asked".into()));
        let now = Instant::now();
        let way = Way::Local("127.0.0.1".parse().unwrap());
        let mut connecting = Connecting::begin(way, &script, STRICT, now).unwrap();
        assert!(matches!(connecting.poll(now, STRICT, || Ok(COMM)), Ok(Progress::Ready(_))));
        assert!(script.0.lock().requests.is_empty());
    }
}
