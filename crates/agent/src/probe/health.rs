//! What probes say about one way through the fabric. Pure.

use std::time::Duration;

/// Probes lost in a row after which a way is assumed not to work.
const BAD_AFTER: u32 = 3;

/// Probes answered in a row after which it is trusted again. More than it takes to lose trust: a link that comes and goes is worse
/// than one that is gone.
const GOOD_AFTER: u32 = 5;

/// How far a way is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Not enough is known.
    #[default]
    Unknown,
    /// It works.
    Good,
    /// It is assumed not to.
    AssumedBad,
}

impl Trust {
    /// Its name in listings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::AssumedBad => "assumed-bad",
        }
    }
}

/// One way's record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// How far it is trusted.
    pub trust: Trust,
    /// Whether any probe ever came back.
    pub ever_good: bool,
    /// Probes that were sent and judged.
    pub sent: u64,
    /// Probes of those that didn't come back in time.
    pub lost: u64,
    /// How long the last one that came back took.
    pub round_trip: Duration,
    in_a_row: u32,
}

impl Health {
    /// A probe came back.
    pub(crate) fn answered(&mut self, round_trip: Duration) {
        self.sent += 1;
        self.round_trip = round_trip;
        self.ever_good = true;
        match self.trust {
            Trust::Good => self.in_a_row = 0,
            Trust::Unknown => self.trust_as(Trust::Good),
            Trust::AssumedBad => {
                self.in_a_row += 1;
                if self.in_a_row >= GOOD_AFTER {
                    self.trust_as(Trust::Good);
                }
            }
        }
    }

    /// A probe didn't come back in time.
    pub(crate) fn lost(&mut self) {
        self.sent += 1;
        self.lost += 1;
        match self.trust {
            Trust::AssumedBad => self.in_a_row = 0,
            Trust::Good | Trust::Unknown => {
                self.in_a_row += 1;
                if self.in_a_row >= BAD_AFTER {
                    self.trust_as(Trust::AssumedBad);
                }
            }
        }
    }

    fn trust_as(&mut self, trust: Trust) {
        self.trust = trust;
        self.in_a_row = 0;
    }
}

/// Probes of all ways over a link, those that are probed no more included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probed {
    /// Probes that were sent and judged.
    pub sent: u64,
    /// Probes of those that didn't come back in time.
    pub lost: u64,
}

impl Probed {
    pub(crate) fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.lost += more.lost;
    }
}

impl From<&Health> for Probed {
    fn from(health: &Health) -> Self {
        Self { sent: health.sent, lost: health.lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trust after each of these probes: `o` came back, `x` did not.
    fn after(probes: &str) -> String {
        let mut health = Health::default();
        let letter = |probe| {
            match probe {
                'o' => health.answered(Duration::from_millis(1)),
                _ => health.lost(),
            }
            match health.trust {
                Trust::Unknown => '?',
                Trust::Good => 'g',
                Trust::AssumedBad => 'b',
            }
        };
        probes.chars().map(letter).collect()
    }

    #[test]
    fn three_lost_in_a_row_demote_and_five_answered_in_a_row_restore() {
        assert_eq!(after("oxxoxxoxxx"), "gggggggggb");
        assert_eq!(after("xxxoooooo"), "??bbbbbgg");
        assert_eq!(after("xxxooooxooooo"), "??bbbbbbbbbbg");
        assert_eq!(after("xxo"), "??g");
    }

    #[test]
    fn counts_are_of_all_probes() {
        let mut health = Health::default();
        health.lost();
        health.answered(Duration::from_millis(3));
        health.lost();
        assert_eq!((health.sent, health.lost, health.ever_good), (3, 2, true));
        assert_eq!(health.round_trip, Duration::from_millis(3));
    }
}
