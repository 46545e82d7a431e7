//! Which tables a run makes: one per type, reduction and root.

use std::fmt;
use std::str::FromStr;

use srv6_netdrive::{DataType, Reduction};

use super::collective::Test;

/// The types asked for (`-d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Types {
    All,
    One(DataType),
}

/// The reductions asked for (`-o`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operations {
    All,
    One(Redop),
}

/// The roots asked for (`-r`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    All,
    Rank(usize),
}

/// A reduction by the name that nccl-tests has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redop {
    Sum,
    Prod,
    Max,
    Min,
    Avg,
    MulSum,
}

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) data_type: DataType,
    pub(super) redop: Redop,
    pub(super) root: usize,
}

/// What `-d all` runs first, and so on.
const REDOPS: [(Redop, &str); 6] = [
    (Redop::Sum, "sum"),
    (Redop::Prod, "prod"),
    (Redop::Max, "max"),
    (Redop::Min, "min"),
    (Redop::Avg, "avg"),
    (Redop::MulSum, "mulsum"),
];

impl Redop {
    pub(super) fn name(self) -> &'static str {
        REDOPS.iter().find(|(redop, _)| *redop == self).map_or("", |(_, name)| name)
    }

    /// With a rank's own factor, where there is one.
    pub(super) const fn reduction(self, factor: u8) -> Reduction {
        match self {
            Self::Sum => Reduction::Sum,
            Self::Prod => Reduction::Prod,
            Self::Max => Reduction::Max,
            Self::Min => Reduction::Min,
            Self::Avg => Reduction::Avg,
            Self::MulSum => Reduction::PreMulSum { factor },
        }
    }
}

/// The tables of a test, in nccl-tests' order.
///
/// # Errors
/// If there is no such root.
pub(super) fn tables(
    test: Test,
    types: Types,
    operations: Operations,
    root: Root,
    world: usize,
) -> anyhow::Result<Vec<Table>> {
    let types = match types {
        Types::All => DataType::ALL.to_vec(),
        Types::One(one) => vec![one],
    };
    let redops = match operations {
        Operations::All if test.has_reductions() => REDOPS.map(|(redop, _)| redop).to_vec(),
        Operations::One(one) if test.has_reductions() => vec![one],
        _ => vec![Redop::Sum],
    };
    let roots: Vec<usize> = match root {
        _ if !test.has_root() => vec![0],
        Root::All => (0..world).collect(),
        Root::Rank(rank) => {
            anyhow::ensure!(
                rank < world,
                "root {rank} of {world} ranks: wanted 0 to {}, -1 or all",
                world - 1
            );
            vec![rank]
        }
    };
    let mut tables = Vec::new();
    for data_type in types {
        for &redop in &redops {
            tables.extend(roots.iter().map(|&root| Table { data_type, redop, root }));
        }
    }
    Ok(tables)
}

impl FromStr for Types {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        DataType::ALL.into_iter().find(|one| one.name() == text).map(Self::One).ok_or_else(|| {
            let names = DataType::ALL.map(DataType::name).join(", ");
            format!("wanted {names} or all (8-bit floats are for GPUs only)")
        })
    }
}

impl FromStr for Operations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let found = REDOPS.iter().find(|(_, name)| *name == text);
        found
            .map(|(redop, _)| Self::One(*redop))
            .ok_or_else(|| "wanted sum, prod, min, max, avg, mulsum or all".to_owned())
    }
}

impl FromStr for Root {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" | "-1" => Ok(Self::All),
            _ => text.parse().map(Self::Rank).map_err(|_| "wanted a rank, or -1 or all".to_owned()),
        }
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::One(one) => one.name(),
        })
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::One(one) => one.name(),
        })
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Rank(rank) => write!(f, "{rank}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_types_reductions_and_roots_make_a_table_each() {
        let count = |test, operations, root| tables(test, Types::All, operations, root, 3).unwrap().len();
        assert_eq!(count(Test::AllReduce, Operations::All, Root::All), 60);
        assert_eq!(count(Test::Reduce, Operations::All, Root::All), 180);
        assert_eq!(count(Test::Broadcast, Operations::All, Root::All), 30);
        assert_eq!(count(Test::AllGather, Operations::All, Root::Rank(7)), 10);
        assert_eq!(count(Test::SendRecv, Operations::All, Root::Rank(0)), 60);
        let error = tables(Test::Broadcast, Types::All, Operations::All, Root::Rank(3), 3).unwrap_err();
        assert_eq!(error.to_string(), "root 3 of 3 ranks: wanted 0 to 2, -1 or all");
        let first = tables(Test::Reduce, Types::All, Operations::All, Root::All, 2).unwrap();
        assert_eq!(first[1], Table { data_type: DataType::Int8, redop: Redop::Sum, root: 1 });
        assert_eq!(first[2], Table { data_type: DataType::Int8, redop: Redop::Prod, root: 0 });
    }

    #[test]
    fn what_is_parsed_is_shown_again() {
        for text in ["all", "int8", "bfloat16"] {
            assert_eq!(text.parse::<Types>().unwrap().to_string(), text);
        }
        for text in ["all", "sum", "mulsum"] {
            assert_eq!(text.parse::<Operations>().unwrap().to_string(), text);
        }
        assert_eq!("-1".parse::<Root>().unwrap().to_string(), "all");
        assert_eq!("12".parse::<Root>().unwrap().to_string(), "12");
        assert_eq!(Redop::MulSum.reduction(2), Reduction::PreMulSum { factor: 2 });
    }
}
