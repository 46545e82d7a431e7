//! What is known of a process that holds a route.

use std::time::Duration;

use serde::Serialize;

/// One process with a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// The kernel's name of its program, 15 bytes at most.
    pub(crate) command: String,
    /// Since it began, in seconds; `null` if it has just ended.
    pub(crate) running_s: Option<u64>,
}

impl Holder {
    /// Reads `/proc`.
    pub(crate) fn of(pid: u32) -> Self {
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let running_s = running(&stat, &uptime, rustix::param::clock_ticks_per_second()).map(|d| d.as_secs());
        Self { pid, command: command.trim().to_owned(), running_s }
    }
}

/// How long a process has run: its start in clock ticks after boot is field 22 of `/proc/PID/stat` (proc(5)).
fn running(stat: &str, uptime: &str, ticks: u64) -> Option<Duration> {
    // The second field is the program's name, which may hold anything, brackets and blanks too.
    let (_, rest) = stat.rsplit_once(')')?;
    let start: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let since_boot = Duration::try_from_secs_f64(uptime).ok()?;
    Some(since_boot.saturating_sub(Duration::from_millis(start * 1000 / ticks.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_name_and_an_age() {
        let own = Holder::of(std::process::id());
        assert!(!own.command.is_empty() && own.running_s.unwrap() < 3600, "{own:?}");
    }

    #[test]
    fn the_age_of_a_process_is_read_past_its_name() {
        let stat = format!("77 (a) b (c) S {}500 0", "0 ".repeat(18));
        assert_eq!(running(&stat, "65.00 1.0", 100), Some(Duration::from_secs(60)));
        assert_eq!(running("", "65.00", 100), None);
    }
}
