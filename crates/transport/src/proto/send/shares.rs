//! How much each subflow is to carry, and how much it may now.

use std::time::{Duration, Instant};

use crate::config::MAX_PATHS;

/// How much each subflow is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Relative to each other, 0 to 1000. All equal: each carries what it can. 0: only if no other can.
    pub(crate) weights: [u16; MAX_PATHS],
    /// Bytes per second at most; 0: no limit.
    pub(crate) caps: [u64; MAX_PATHS],
}

impl Default for Shares {
    fn default() -> Shares {
        Shares { weights: [1; MAX_PATHS], caps: [0; MAX_PATHS] }
    }
}

/// Accounts of what each subflow has carried against its share.
#[derive(Debug)]
pub(super) struct Budget {
    shares: Shares,
    /// The weights differ, so that they count.
    weighted: bool,
    /// Bytes carried, divided by the weight.
    carried: [u64; MAX_PATHS],
    /// Bytes that a capped subflow may begin; a chunk may overdraw it.
    tokens: [i64; MAX_PATHS],
    filled: [Instant; MAX_PATHS],
}

impl Budget {
    pub(super) fn new(now: Instant) -> Budget {
        Budget {
            shares: Shares::default(),
            weighted: false,
            carried: [0; MAX_PATHS],
            tokens: [0; MAX_PATHS],
            filled: [now; MAX_PATHS],
        }
    }

    pub(super) fn set(&mut self, shares: &Shares, paths: usize) {
        self.shares = *shares;
        let weights = shares.weights.get(..paths).unwrap_or_default();
        self.weighted = weights.windows(2).any(|pair| pair.first() != pair.last());
        self.carried = [0; MAX_PATHS];
    }

    /// Says whether weights count at all.
    pub(super) fn is_weighted(&self) -> bool {
        self.weighted
    }

    pub(super) fn weight(&self, subflow: usize) -> u16 {
        self.shares.weights.get(subflow).copied().unwrap_or_default()
    }

    pub(super) fn cap(&self, subflow: usize) -> u64 {
        self.shares.caps.get(subflow).copied().unwrap_or_default()
    }

    /// Says whether the subflow's cap lets it begin a chunk.
    pub(super) fn has_tokens(&mut self, subflow: usize, now: Instant) -> bool {
        let cap = self.cap(subflow);
        let (Some(tokens), Some(filled)) = (self.tokens.get_mut(subflow), self.filled.get_mut(subflow))
        else {
            return false;
        };
        if cap == 0 {
            return true;
        }
        let waited = now.saturating_duration_since(*filled);
        let earned = waited.as_nanos() * u128::from(cap) / SECOND;
        let most = cap / BURSTS_PER_SECOND;
        match u64::try_from(earned) {
            Ok(earned) if earned < most => {
                *tokens = tokens.saturating_add_unsigned(earned).min(most.cast_signed());
                // Only the time that the whole bytes took, or frequent calls would lose the rest.
                *filled += Duration::from_nanos_u128(u128::from(earned) * SECOND / u128::from(cap));
            }
            _ => {
                *tokens = tokens.saturating_add_unsigned(most).min(most.cast_signed());
                *filled = now;
            }
        }
        *tokens > 0
    }

    /// When the subflow may begin a chunk again, if its cap keeps it from it.
    pub(super) fn refilled(&self, subflow: usize) -> Option<Instant> {
        let cap = self.cap(subflow);
        let (tokens, filled) = (*self.tokens.get(subflow)?, *self.filled.get(subflow)?);
        if cap == 0 || tokens > 0 {
            return None;
        }
        let missing = u128::from(tokens.unsigned_abs() + 1);
        Some(filled + Duration::from_nanos_u128(missing * SECOND / u128::from(cap) + 1))
    }

    /// Says whether the subflow is ahead of another one's share by more than `slack` bytes.
    pub(super) fn is_ahead(&self, subflow: usize, other: usize, slack: u64) -> bool {
        let slack = slack * SCALE / u64::from(self.weight(subflow)).max(1);
        self.carried(subflow) > self.carried(other) + slack
    }

    pub(super) fn charge(&mut self, subflow: usize, bytes: u64) {
        let weight = u64::from(self.weight(subflow)).max(1);
        if let Some(carried) = self.carried.get_mut(subflow).filter(|_| self.weighted) {
            *carried += bytes * SCALE / weight;
        }
        if self.cap(subflow) != 0
            && let Some(tokens) = self.tokens.get_mut(subflow)
        {
            *tokens = tokens.saturating_sub_unsigned(bytes);
        }
    }

    /// The subflow takes part again: what it missed is not made up for.
    pub(super) fn rejoin(&mut self, subflow: usize, others: impl Iterator<Item = usize>) {
        let least = others.map(|other| self.carried(other)).min().unwrap_or_default();
        if let Some(carried) = self.carried.get_mut(subflow) {
            *carried = (*carried).max(least);
        }
    }

    fn carried(&self, subflow: usize) -> u64 {
        self.carried.get(subflow).copied().unwrap_or_default()
    }
}

/// Bytes carried are counted in thousandths, so that a weight of 1000 divides them well enough.
const SCALE: u64 = 1000;
const SECOND: u128 = 1_000_000_000;
/// A capped subflow may catch up on this part of a second.
const BURSTS_PER_SECOND: u64 = 200;
