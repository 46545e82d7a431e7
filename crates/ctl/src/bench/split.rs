//! Ranks in groups of their own: nccl-tests' `NCCL_TESTS_SPLIT` and `NCCL_TESTS_SPLIT_MASK`.

use anyhow::{Context, ensure};
use srv6_netdrive::Exchange;

use crate::config::Environment;

/// How a rank's group follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    And(u64),
    Or(u64),
    Modulo(u64),
    Divide(u64),
}

/// A rank's group: those that run a collective together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) color: u64,
    /// Which rank of the job each of the group is, in order.
    pub(super) members: Vec<usize>,
    /// This rank's place among them.
    pub(super) rank: usize,
}

/// What the ranks of one group tell each other, by way of all ranks.
#[derive(Debug)]
pub(super) struct Among<'a, T: ?Sized>(pub(super) &'a T, pub(super) &'a Group);

impl Split {
    /// What the environment asks for.
    ///
    /// # Errors
    /// If it isn't what nccl-tests reads.
    pub(super) fn from_environment(environment: &Environment) -> anyhow::Result<Option<Self>> {
        if let Some(text) = environment.get("NCCL_TESTS_SPLIT_MASK") {
            let digits = text.trim_start_matches("0x").trim_start_matches("0X");
            let mask = u64::from_str_radix(digits, 16).ok();
            let mask = mask
                .with_context(|| format!("NCCL_TESTS_SPLIT_MASK is {text:?}: wanted a hexadecimal number"))?;
            return Ok(Some(Self::And(mask)));
        }
        let Some(text) = environment.get("NCCL_TESTS_SPLIT") else { return Ok(None) };
        parse(text)
            .with_context(|| {
                format!("NCCL_TESTS_SPLIT is {text:?}: wanted AND, OR, MOD or DIV (or & | % /) and a number")
            })
            .map(Some)
    }

    const fn color(self, rank: u64) -> u64 {
        match self {
            Self::And(number) => rank & number,
            Self::Or(number) => rank | number,
            Self::Modulo(number) => rank % number,
            Self::Divide(number) => rank / number,
        }
    }
}

fn parse(text: &str) -> Option<Split> {
    type Kind = fn(u64) -> Split;
    const KINDS: [(&str, Kind); 8] = [
        ("AND", Split::And),
        ("&", Split::And),
        ("OR", Split::Or),
        ("|", Split::Or),
        ("MOD", Split::Modulo),
        ("%", Split::Modulo),
        ("DIV", Split::Divide),
        ("/", Split::Divide),
    ];
    let (kind, number) = KINDS.iter().find_map(|(name, kind)| {
        let (head, rest) = text.split_at_checked(name.len())?;
        head.eq_ignore_ascii_case(name).then_some((kind, rest.trim()))
    })?;
    let number = match number.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => u64::from_str_radix(number.get(2..)?, 16).ok()?,
        Some("0b") => u64::from_str_radix(number.get(2..)?, 2).ok()?,
        _ => number.parse().ok()?,
    };
    let split = kind(number);
    (number > 0 || matches!(split, Split::And(_) | Split::Or(_))).then_some(split)
}

impl Group {
    /// The group of a rank among `world`; all ranks if they aren't split.
    pub(super) fn of(rank: usize, world: usize, split: Option<Split>) -> Self {
        let color = |rank: usize| split.map_or(0, |split| split.color(rank as u64));
        let members: Vec<usize> = (0..world).filter(|&other| color(other) == color(rank)).collect();
        let place = members.iter().position(|&other| other == rank).unwrap_or(0);
        Self { color: color(rank), members, rank: place }
    }

    /// How many ranks it has.
    pub(super) fn world(&self) -> usize {
        self.members.len()
    }
}

/// Whether all groups have as many ranks: else one table can't show them all.
///
/// # Errors
/// If they don't.
pub(super) fn check(world: usize, split: Option<Split>) -> anyhow::Result<()> {
    let first = Group::of(0, world, split).world();
    for rank in 1..world {
        let group = Group::of(rank, world, split);
        ensure!(
            group.world() == first,
            "NCCL_TESTS_SPLIT makes a group of {first} ranks and one of {}: wanted groups of one size",
            group.world()
        );
    }
    Ok(())
}

impl<T: Exchange + ?Sized> Exchange for Among<'_, T> {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        let mut all = self.0.all_gather(mine)?;
        Ok(self.1.members.iter().filter_map(|&rank| all.get_mut(rank).map(std::mem::take)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, text: &str) -> anyhow::Result<Option<Split>> {
        Split::from_environment(&[(name, text)].into())
    }

    #[test]
    fn every_way_to_split() {
        for (text, wanted) in [
            ("MOD 2", Split::Modulo(2)),
            ("%4", Split::Modulo(4)),
            ("div 0x4", Split::Divide(4)),
            ("/3", Split::Divide(3)),
            ("AND0b101", Split::And(5)),
            ("& 0", Split::And(0)),
            ("|7", Split::Or(7)),
        ] {
            assert_eq!(split("NCCL_TESTS_SPLIT", text).unwrap(), Some(wanted), "{text}");
        }
        assert_eq!(split("NCCL_TESTS_SPLIT_MASK", "0x6").unwrap(), Some(Split::And(6)));
        for text in ["MOD", "MOD 0", "/0", "XOR 1", "2"] {
            let error = split("NCCL_TESTS_SPLIT", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("NCCL_TESTS_SPLIT is {text:?}: wanted ")), "{error}");
        }
        assert!(split("NCCL_TESTS_SPLIT_MASK", "g").is_err());
        assert_eq!(Split::from_environment(&[].into()).unwrap(), None);
    }

    #[test]
    fn groups_by_hand() {
        let group = Group::of(5, 8, Some(Split::Modulo(4)));
        assert_eq!(group, Group { color: 1, members: vec![1, 5], rank: 1 });
        let group = Group::of(5, 8, Some(Split::Divide(4)));
        assert_eq!(group, Group { color: 1, members: vec![4, 5, 6, 7], rank: 1 });
        assert_eq!(Group::of(2, 3, None), Group { color: 0, members: vec![0, 1, 2], rank: 2 });
        assert!(check(8, Some(Split::Divide(4))).is_ok());
        let error = check(8, Some(Split::Divide(3))).unwrap_err().to_string();
        assert!(error.contains("a group of 3 ranks and one of 2"), "{error}");
    }

    #[test]
    fn a_group_hears_its_own_only() {
        struct All;
        impl Exchange for All {
            fn all_gather(&self, _: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
                Ok((0..4).map(|rank| vec![rank]).collect())
            }
        }
        let group = Group::of(3, 4, Some(Split::Modulo(2)));
        assert_eq!(Among(&All, &group).all_gather(&[]).unwrap(), [[1], [3]]);
    }
}
