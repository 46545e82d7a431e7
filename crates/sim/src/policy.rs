//! How connections get their paths, by name.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Most paths of one connection.
const MOST_PATHS: usize = 256;

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Each socket of each connection is hashed, at the NIC over the planes and at every switch over the live ways on.
    /// The paths of a connection are its sockets (or queue pairs), and may coincide.
    Ecmp,
    /// [`srv6_fabric::spread`]; with several paths per connection, the k-th lies k/K of the way round all paths.
    Spread,
    /// A rule as stateless as spread that counts round in each tier on its own, plane, spine, core, and over dead parts
    /// too: only who meets one looks for another.
    Tiers,
    /// As [`Rule::Tiers`], but each connection of a pair starts where the one before ended. It takes routes per connection;
    /// all other stateless rules of ours give all connections of a pair the same paths.
    Turns,
    /// One pair of hosts after the other takes the path whose links carry least together, as the path API's
    /// `/load` does with its own accounting.
    Load,
    /// Distinct paths at random, in each plane as many.
    Random,
    /// Every path carries the same share.
    All,
}

impl Rule {
    const NAMES: [(&'static str, Self); 7] = [
        ("ecmp", Self::Ecmp),
        ("spread", Self::Spread),
        ("tiers", Self::Tiers),
        ("turns", Self::Turns),
        ("load", Self::Load),
        ("random", Self::Random),
        ("all", Self::All),
    ];
}

/// A rule, and how many paths each connection has if that is said: `ecmp`, `spread:8`, `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// What decides.
    pub rule: Rule,
    /// Paths of each connection, 1 to 256. Each carries the same share of the connection's bytes; none where the
    /// simulation's default counts.
    pub paths: Option<usize>,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Rule::NAMES.iter().find(|(_, rule)| *rule == self.rule).map_or("", |(name, _)| name);
        f.write_str(name)?;
        self.paths.map_or(Ok(()), |paths| write!(f, ":{paths}"))
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = || Error::Policy { given: text.to_owned() };
        let (name, paths) = match text.split_once(':') {
            Some((name, paths)) => (name, Some(paths.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let rule = Rule::NAMES.iter().find(|(n, _)| *n == name).map(|&(_, rule)| rule).ok_or_else(error)?;
        let fits = match paths {
            Some(paths) => rule != Rule::All && (1..=MOST_PATHS).contains(&paths),
            None => true,
        };
        if fits { Ok(Self { rule, paths }) } else { Err(error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["ecmp", "ecmp:4", "spread", "tiers:8", "turns:2", "load:2", "random:256", "all"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["", "hops", "all:2", "random:0", "random:257", "ecmp:", "spread:x", "Spread"] {
            let error = text.parse::<Policy>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("policy {text:?}: want ecmp, spread, tiers")), "{error}");
        }
    }
}
