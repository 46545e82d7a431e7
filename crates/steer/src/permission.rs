//! Whether this process may install routes.

use std::fs;

/// Whether this thread has CAP_NET_ADMIN (bit 12 of the effective set, `linux/capability.h`).
///
/// The background thread that installs routes inherits it.
pub fn may_change_routes() -> bool {
    const CAP_NET_ADMIN: u32 = 12;
    fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| has_capability(&status, CAP_NET_ADMIN))
}

fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status =
            |set: &str| format!("Name:\tpython\nCapInh:\tffffffffffffffff\nCapEff:\t{set}\nCapBnd:\t0\n");
        assert!(has_capability(&status("0000000000001000"), 12));
        assert!(has_capability(&status("000001ffffffffff"), 12));
        assert!(!has_capability(&status("0000000000000fff"), 12));
        assert!(!has_capability(&status("0000000000000000"), 12));
        assert!(!has_capability("", 12));
    }

    #[test]
    fn tests_run_as_root_of_a_namespace() {
        assert!(may_change_routes());
    }
}
