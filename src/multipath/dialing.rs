//! A connect of the multipath transport: lanes first, then one subflow over each.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use srv6_fabric::{Family, Flow};
use srv6_steer::LanesWanted;
use srv6_transport::{Config, Connector, Lane, ListenAddress, SendComm, Shares};

use super::code;
use super::hints::Follower;
use super::lanes::{Asking, Connected, HeldLanes, Keeper, LaneSource, Pinned, Terms};
use crate::connect::Progress;
use crate::device::Addresses;
use crate::error::Error;

/// What every connect of this process shares.
pub(super) struct Way<'a> {
    pub(super) config: &'a Config,
    pub(super) shares: &'a Arc<Shares>,
    /// Who knows each flow's own shares.
    pub(super) follower: Option<&'a Follower>,
    pub(super) source: Option<&'a dyn LaneSource>,
    pub(super) terms: Terms,
}

/// One connect under way.
#[derive(Debug)]
pub(super) struct Dialing {
    to: ListenAddress,
    /// Subflows are bound to it, so that a change of routes can't move them; `None` where the family is another.
    from: Option<IpAddr>,
    stage: Stage,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per connect under way")]
enum Stage {
    Asking(Asking),
    Connecting { connector: Connector, held: Option<Arc<dyn HeldLanes>> },
}

impl Dialing {
    /// Begins: asks for lanes, unless the peer is on this host or nobody steers.
    ///
    /// # Errors
    /// What the transport says; strict, and it isn't known where from.
    pub(super) fn begin(to: ListenAddress, ours: IpAddr, way: &Way<'_>, now: Instant) -> Result<Self, Error> {
        let dst = to.socket().ip();
        let from = Some(ours).filter(|ours| Family::of(*ours) == Family::of(dst));
        let stage = match (way.source, from) {
            (Some(source), Some(src)) if !is_on_this_host(dst) => {
                // The listener's number is known already: lanes that it doesn't take needn't be made.
                let count = way.config.paths.min(to.paths());
                let wanted = LanesWanted { count, pinning: way.terms.pinning, along: Vec::new() };
                Stage::Asking(Asking::begin(source, Flow { src, dst }, wanted, now))
            }
            (Some(_), None) if way.terms.strict => {
                let reason = format!("this rank's device has the address {ours}, the peer listens at {dst}");
                return Err(Error::Unsteerable { reason });
            }
            _ => {
                let lanes = Lane::unpinned(way.config.paths);
                Stage::Connecting { connector: connector(to, from, lanes, way)?, held: None }
            }
        };
        Ok(Self { to, from, stage })
    }

    /// One call of NCCL's.
    ///
    /// # Errors
    /// Strict and without lanes; else what the transport says.
    pub(super) fn poll(
        &mut self,
        way: &Way<'_>,
        now: Instant,
    ) -> Result<Progress<Connected<SendComm>>, Error> {
        if let Stage::Asking(asking) = &self.stage {
            self.stage = match asking.poll(now, way.terms) {
                Ok(Progress::Pending) => return Ok(Progress::Pending),
                Ok(Progress::Ready(Pinned { held, lanes })) => {
                    let keeper = Arc::new(Keeper::new(&held, way.terms));
                    let connector = connector(self.to, self.from, lanes, way)?.keeper(keeper);
                    Stage::Connecting { connector, held: Some(held) }
                }
                Err(error) if way.terms.strict => return Err(error),
                Err(error) => {
                    log::warn!("goes unsteered: {}", error.chain());
                    let (lanes, held) = (Lane::unpinned(way.config.paths), asking.whole());
                    Stage::Connecting { connector: connector(self.to, self.from, lanes, way)?, held }
                }
            };
        }
        let Stage::Connecting { connector, held } = &mut self.stage else { return Ok(Progress::Pending) };
        match connector.poll() {
            Ok(None) => Ok(Progress::Pending),
            Ok(Some(comm)) => Ok(Progress::Ready(Connected { comm, held: held.take() })),
            // Nobody can know beforehand whether the far side takes routing headers, so their silence is an answer.
            Err(error) if !way.terms.strict && error.is_unanswered_header() => {
                log::warn!("goes unsteered: {error}");
                let lanes = Lane::unpinned(way.config.paths);
                self.stage = Stage::Connecting {
                    connector: self::connector(self.to, self.from, lanes, way)?,
                    held: None,
                };
                Ok(Progress::Pending)
            }
            Err(error) => Err(Error::Inner { call: "connect", code: code(&error) }),
        }
    }
}

fn connector(
    to: ListenAddress,
    from: Option<IpAddr>,
    lanes: Vec<Lane>,
    way: &Way<'_>,
) -> Result<Connector, Error> {
    let flow = from.map(|src| Flow { src: src.to_canonical(), dst: to.socket().ip().to_canonical() });
    let shares = match way.follower.zip(flow) {
        Some((follower, flow)) => follower.shares(flow),
        None => Arc::clone(way.shares),
    };
    Connector::new(to, from, lanes, way.config)
        .map(|connector| connector.shares(shares))
        .map_err(|error| Error::Inner { call: "connect", code: code(&error) })
}

/// Whether packets to `address` never leave this host. If the kernel can't be asked they count as leaving: a lane to oneself
/// fails with a reason.
pub(super) fn is_on_this_host(address: IpAddr) -> bool {
    Addresses::read().is_ok_and(|addresses| addresses.is_ours(address))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use srv6_transport::Listener;

    use super::*;

    struct Never;

    impl LaneSource for Never {
        fn request(&self, flow: Flow, _wanted: LanesWanted) -> Arc<dyn HeldLanes> {
            panic!("asked for lanes of {flow}");
        }

        fn settle(&self, _patience: Duration) {}
    }

    #[test]
    fn a_peer_on_this_host_is_connected_without_lanes_even_if_strict() {
        let config = Config { paths: 2, ..Config::default() };
        let shares = Arc::new(Shares::new());
        let terms = Terms { strict: true, patience: Duration::from_secs(1), pinning: None, dry_run: false };
        let way = Way { config: &config, shares: &shares, follower: None, source: Some(&Never), terms };
        let ours: IpAddr = [127, 0, 0, 1].into();
        let mut listener = Listener::bind(ours, None, &config).unwrap();
        let now = Instant::now();
        let mut dialing = Dialing::begin(listener.address(), ours, &way, now).unwrap();
        let (mut made, mut accepted) = (None, None);
        while made.is_none() || accepted.is_none() {
            assert!(now.elapsed() < Duration::from_secs(10), "made: {made:?}, accepted: {accepted:?}");
            if made.is_none()
                && let Progress::Ready(connected) = dialing.poll(&way, Instant::now()).unwrap()
            {
                made = Some(connected);
            }
            accepted = accepted.or_else(|| listener.accept().unwrap());
        }
        assert!(made.unwrap().held.is_none());
    }

    #[test]
    fn a_peer_of_another_family_has_no_lanes() {
        let config = Config::default();
        let shares = Arc::new(Shares::new());
        let terms = Terms { strict: true, patience: Duration::from_secs(1), pinning: None, dry_run: false };
        let way = Way { config: &config, shares: &shares, follower: None, source: Some(&Never), terms };
        let to = ListenAddress::new("[2001:db8::7]:4000".parse().unwrap(), 4);
        let ours: IpAddr = [192, 0, 2, 1].into();
        let error = Dialing::begin(to, ours, &way, Instant::now()).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
        assert!(error.to_string().contains("2001:db8::7"), "{error}");
        let lenient = Way { terms: Terms { strict: false, ..terms }, ..way };
        assert!(Dialing::begin(to, ours, &lenient, Instant::now()).is_ok());
    }
}
