//! One connection to VPP, what is known of it, and the sending of what has to change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use super::VppConfig;
use super::client::Client;
use super::dialect::{Dialect, retvals};
use super::error::VppError;
use super::inventory::Inventory;
use super::message::{AddPolicy, DeletePolicy, Message, ModifyPolicy, SetEncapSource, Steer, SteeringDump};
use super::model::{Known, Policy, State, Steps};
use crate::RouteKey;

/// How often a plan is made anew because VPP turned out to be otherwise.
const ROUNDS: usize = 8;

/// Return values that are no failure where they are told apart (VPP's `sr_policy_rewrite.c`, `sr_steering.c`).
const BSID_IN_USE: i32 = -12;
const NO_SUCH_POLICY: i32 = -2;
const NOT_STEERED: i32 = -4;
const NO_POLICY_TO_DELETE: i32 = -1;

/// A connection and what was learned over it. Gone with the connection: after a restart VPP knows nothing of it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) dialect: Dialect,
    pub(super) state: State,
    pub(super) inventory: Inventory,
    /// Policies that lost a flow of ours, and may have no other.
    idle: BTreeSet<Ipv6Addr>,
    /// The one source address for all policies, once it was set.
    source: Option<Ipv6Addr>,
}

/// Why a plan has to be made anew.
#[derive(Debug, Default)]
struct Surprise {
    /// Binding SIDs that VPP has something for already.
    in_use: BTreeSet<Ipv6Addr>,
    /// Whether a policy was gone.
    gone: bool,
}

/// What could not be done, by key.
pub(super) type Failures = BTreeMap<RouteKey, VppError>;

impl Session {
    /// Connects, and looks what is there.
    pub(super) fn open(config: &VppConfig) -> Result<Self, VppError> {
        let mut client = Client::connect(&config.socket, config.timeout)?;
        let dialect = Dialect::of(&client)?;
        if client.offers::<super::message::ShowVersion>().is_ok() {
            log::info!("VPP {} at {}", client.version()?, config.socket.display());
        }
        let mut session = Self {
            client,
            dialect,
            state: State::default(),
            inventory: Inventory::default(),
            idle: BTreeSet::new(),
            source: None,
        };
        session.look(config)?;
        Ok(session)
    }

    /// Reads everything anew.
    pub(super) fn look(&mut self, config: &VppConfig) -> Result<(), VppError> {
        let policies = self.dialect.policies(&mut self.client)?;
        let steering = self.client.dump(&SteeringDump)?;
        let taken = std::mem::take(&mut self.state.taken);
        self.state = State::read(config.range, policies, steering, taken);
        Ok(())
    }

    /// Sets the source address of policies that have none of their own, once per connection.
    pub(super) fn share_source(&mut self, source: Ipv6Addr) -> Result<(), VppError> {
        if self.source.is_some() {
            return Ok(());
        }
        let code = retvals(&mut self.client, &[SetEncapSource(source)])?.pop().unwrap_or_default();
        refused::<SetEncapSource>(code, || source.to_string())?;
        self.source = Some(source);
        Ok(())
    }

    /// Sees to it that these keys are steered so, and those not at all. What can't be done doesn't stop the rest.
    ///
    /// # Errors
    /// The connection fails; how far things are isn't known then.
    pub(super) fn carry_out(
        &mut self,
        config: &VppConfig,
        set: &[(RouteKey, Policy)],
        remove: &[RouteKey],
        known: Known,
    ) -> Result<Failures, VppError> {
        let mut failures = Failures::new();
        let mut known = known;
        for round in 0..ROUNDS {
            if known == Known::Fresh {
                self.look(config)?;
            }
            let wanted = self.permitted(config, set, &mut failures);
            let steps = match self.state.steps(config.range, &wanted, remove, known) {
                Ok(steps) => steps,
                Err(error) => {
                    failures.extend(wanted.iter().map(|(key, _)| (*key, error.clone())));
                    return Ok(failures);
                }
            };
            let unsteered: BTreeSet<Ipv6Addr> = self.left(&steps);
            let Surprise { in_use, gone } = self.send(&steps, &mut failures)?;
            match known {
                Known::Fresh => self.idle.clear(),
                Known::Remembered => self.idle.extend(unsteered),
            }
            if in_use.is_empty() && !gone {
                break;
            }
            known = Known::Fresh;
            self.look(config)?;
            // Refused, and yet no policy: it is a route of somebody else's.
            let taken = in_use.into_iter().filter(|bsid| !self.state.policies.contains_key(bsid));
            self.state.taken.extend(taken);
            if round + 1 == ROUNDS {
                let error = VppError::BsidTaken { bsid: config.first_bsid(), tried: ROUNDS };
                failures.extend(wanted.iter().map(|(key, _)| (*key, error.clone())));
            }
        }
        if self.idle.len() * 8 > self.state.steering.len() {
            // Under the same lock, so nobody else has begun to use them.
            self.collect(config)?;
        }
        Ok(failures)
    }

    /// Deletes policies of our range that nothing is steered into.
    fn collect(&mut self, config: &VppConfig) -> Result<(), VppError> {
        self.look(config)?;
        if let Ok(steps) = self.state.steps(config.range, &[], &[], Known::Fresh) {
            self.send(&steps, &mut Failures::new())?;
        }
        self.idle.clear();
        Ok(())
    }

    /// What is wanted, without what others steer.
    fn permitted(
        &self,
        config: &VppConfig,
        set: &[(RouteKey, Policy)],
        failures: &mut Failures,
    ) -> Vec<(RouteKey, Policy)> {
        let mut wanted = Vec::with_capacity(set.len());
        for (key, policy) in set {
            match self.state.steering.get(key).filter(|bsid| !config.range.contains((**bsid).into())) {
                Some(&bsid) => {
                    let RouteKey { table, destination } = *key;
                    let range = config.range;
                    failures.insert(*key, VppError::Occupied { destination, table, bsid, range });
                }
                None => wanted.push((*key, policy.clone())),
            }
        }
        wanted
    }

    /// Policies that lose a flow.
    fn left(&self, steps: &Steps) -> BTreeSet<Ipv6Addr> {
        let moved = steps.steer.iter().filter_map(|(key, _)| self.state.steering.get(key)).copied();
        moved.chain(steps.unsteer.iter().map(|(_, bsid)| *bsid)).collect()
    }

    /// Sends everything in order, and tells what needs a new look.
    fn send(&mut self, steps: &Steps, failures: &mut Failures) -> Result<Surprise, VppError> {
        let Surprise { mut in_use, mut gone } = Surprise::default();
        let mut bad: BTreeMap<Ipv6Addr, VppError> = BTreeMap::new();
        let (adding, modifying) = self.dialect.names();

        let policies = steps.add.iter().filter_map(|(bsid, policy)| {
            let list = policy.lists.first()?.clone();
            Some(AddPolicy { bsid: *bsid, list, source: policy.source })
        });
        let codes = self.dialect.add(&mut self.client, policies.collect())?;
        for ((bsid, policy), code) in steps.add.iter().zip(codes) {
            match code {
                0 => self.state.added(*bsid, policy),
                BSID_IN_USE => {
                    in_use.insert(*bsid);
                }
                code => {
                    let subject = format!("the policy {bsid}");
                    bad.insert(*bsid, VppError::Refused { message: adding, subject, code });
                }
            }
        }

        let widen: Vec<ModifyPolicy> = steps
            .widen
            .iter()
            .filter(|c| !in_use.contains(&c.bsid) && !bad.contains_key(&c.bsid))
            .cloned()
            .collect();
        let bsids: Vec<Ipv6Addr> = widen.iter().map(|change| change.bsid).collect();
        for (bsid, code) in bsids.into_iter().zip(self.dialect.modify(&mut self.client, widen)?) {
            if code != 0 {
                let subject = format!("the policy {bsid}");
                bad.insert(bsid, VppError::Refused { message: modifying, subject, code });
            }
        }
        for (key, bsid) in &self.state.steering {
            if let Some(error) = bad.get(bsid) {
                failures.insert(*key, error.clone());
            }
        }

        let mut steer = Vec::new();
        for (key, bsid) in &steps.steer {
            match bad.get(bsid) {
                Some(error) => {
                    failures.insert(*key, error.clone());
                }
                None if in_use.contains(bsid) => {}
                None => steer.push((*key, *bsid)),
            }
        }
        let codes =
            retvals(&mut self.client, &steer.iter().map(|pair| request(pair, false)).collect::<Vec<_>>())?;
        for ((key, bsid), code) in steer.into_iter().zip(codes) {
            match code {
                0 => self.state.steered(key, Some(bsid)),
                NO_SUCH_POLICY => {
                    self.state.deleted(bsid);
                    gone = true;
                }
                code => {
                    refused::<Steer>(code, || key.destination.to_string())
                        .map_or_else(|error| failures.insert(key, error), |()| None);
                }
            }
        }

        let requests: Vec<Steer> = steps.unsteer.iter().map(|pair| request(pair, true)).collect();
        for ((key, _), code) in steps.unsteer.iter().zip(retvals(&mut self.client, &requests)?) {
            match code {
                0 | NOT_STEERED => self.state.steered(*key, None),
                code => {
                    refused::<Steer>(code, || key.destination.to_string())
                        .map_or_else(|error| failures.insert(*key, error), |()| None);
                }
            }
        }

        // A flow that could not be moved keeps its policy.
        let used: BTreeSet<Ipv6Addr> = self.state.steering.values().copied().collect();
        let delete: Vec<Ipv6Addr> =
            steps.delete.iter().filter(|bsid| !used.contains(*bsid)).copied().collect();
        let requests: Vec<DeletePolicy> = delete.iter().copied().map(DeletePolicy).collect();
        for (bsid, code) in delete.into_iter().zip(retvals(&mut self.client, &requests)?) {
            match code {
                0 | NO_POLICY_TO_DELETE => self.state.deleted(bsid),
                code => log::warn!("the policy {bsid} stays: VPP says {code}"),
            }
        }
        Ok(Surprise { in_use, gone })
    }
}

fn request(&(key, bsid): &(RouteKey, Ipv6Addr), delete: bool) -> Steer {
    Steer { delete, bsid, table: key.table, prefix: key.destination }
}

/// VPP's refusal as an error.
fn refused<M: Message>(code: i32, subject: impl Fn() -> String) -> Result<(), VppError> {
    if code == 0 { Ok(()) } else { Err(VppError::Refused { message: M::NAME, subject: subject(), code }) }
}
