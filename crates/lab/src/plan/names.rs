//! Interface names: the kernel takes 15 bytes.

/// Longest name without the terminating zero (IFNAMSIZ 16).
const LONGEST: usize = 15;

/// Names that a switch or host has for something else.
const TAKEN: [&str; 8] = ["lo", "sr0", "sr0-peer", "br0", "mgmt0", "all", "default", "mgmt"];

/// Interface towards a neighbour: its name, or for long and unusual ones a recognisable start and a hash of
/// the whole.
pub(super) fn towards(neighbour: &str) -> String {
    if is_valid(neighbour) {
        return neighbour.to_owned();
    }
    let mut start: String = neighbour.chars().filter(char::is_ascii_alphanumeric).take(LONGEST - 7).collect();
    if start.is_empty() {
        start.push('n');
    }
    format!("{start}-{:06x}", hash(neighbour) & 0xff_ffff)
}

/// The `n`th data interface of a host (from 0) whose first is called `first`: eth1, eth2, …
pub(super) fn numbered(first: &str, n: usize) -> String {
    if n == 0 {
        return first.to_owned();
    }
    let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = first.get(stem.len()..).unwrap_or_default();
    let number: usize = digits.parse().unwrap_or(0);
    format!("{stem}{}", number + n)
}

/// Whether an interface of the lab may be called so.
pub(super) fn is_valid(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && !TAKEN.contains(&name)
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// FNV-1a, which unlike the standard library's hash is the same in every build.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_and_long_ones_stay_apart() {
        assert_eq!(towards("leaf00"), "leaf00");
        assert_eq!(towards("srv6-pytorch-0"), "srv6-pytorch-0");
        let (a, b) = (towards("gpu-worker-rack17-00"), towards("gpu-worker-rack17-01"));
        assert!(a.starts_with("gpuworke-") && a.len() == LONGEST, "{a}");
        assert_ne!(a, b);
        assert!(is_valid(&towards("lo")) && is_valid(&towards("a b/c")) && is_valid(&towards("")));
    }

    #[test]
    fn further_interfaces_count_up() {
        assert_eq!(numbered("eth1", 0), "eth1");
        assert_eq!(numbered("eth1", 1), "eth2");
        assert_eq!(numbered("net9", 2), "net11");
        assert_eq!(numbered("fabric", 1), "fabric1");
    }
}
