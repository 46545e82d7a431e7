//! Settings of the transport; the caller reads them from wherever settings come from.

use std::time::Duration;

use crate::congestion::Congestion;
use crate::error::{Error, Result};

/// Most subflows that one connection can have.
pub const MAX_PATHS: usize = 8;

/// Settings of listeners and connectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Subflows per connection.
    ///
    /// 1..=[`MAX_PATHS`] · default 4. Where two sides differ the smaller number is used. Higher: more
    /// paths at once. Lower: fewer sockets, and fewer system calls per message.
    pub paths: usize,
    /// Bytes that the kernel takes from us beyond what the congestion window lets out
    /// (`TCP_NOTSENT_LOWAT`, `tcp(7)`).
    ///
    /// Bytes · 16 KiB..=64 MiB · default 256 KiB. Higher: fewer idle moments when `test` is called
    /// rarely. Lower: less data queued on a path that has become slow.
    pub unsent: u32,
    /// How long a connector keeps trying.
    ///
    /// 1 ms.. · default 60 s. Higher: survives a peer that starts late. Lower: a dead peer is
    /// reported sooner.
    pub connect_timeout: Duration,
    /// How long a connection waits for its other subflows once it has one; then it begins without them.
    ///
    /// 1 ms.. · default 2 s. Higher: slow paths are there from the beginning. Lower: a dead path delays
    /// the job's start less.
    pub partial_after: Duration,
    /// How long an accepted socket may be silent before it is dropped as a stray.
    ///
    /// 1 ms.. · default 5 s. Higher: tolerates worse networks. Lower: strays go sooner.
    pub handshake_timeout: Duration,
    /// How long all paths may carry nothing before the connection has failed.
    ///
    /// 1 s.. · default 10 s. Higher: survives longer outages. Lower: a dead peer is reported sooner.
    pub dead_after: Duration,
    /// TCP's congestion control of all sockets.
    ///
    /// Default: none, which leaves it to the host (`net.ipv4.tcp_congestion_control`, or the route's).
    pub congestion: Option<Congestion>,
    /// Whether long payload goes to the kernel without a copy, where it can.
    ///
    /// Default: yes. A message is done then when the receiver has it, not its kernel.
    pub zero_copy: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            paths: 4,
            unsent: 256 << 10,
            connect_timeout: Duration::from_secs(60),
            partial_after: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(5),
            dead_after: Duration::from_secs(10),
            congestion: None,
            zero_copy: true,
        }
    }
}

impl Config {
    /// Says whether every setting is within its range.
    ///
    /// Listeners and connectors ask this themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for the first setting that isn't.
    pub fn check(&self) -> Result<()> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let settings = [
            ("paths", self.paths as u64, 1, MAX_PATHS as u64),
            ("unsent", u64::from(self.unsent), 16 << 10, 64 << 20),
            ("connect_timeout", millis(self.connect_timeout), 1, u64::MAX),
            ("partial_after", millis(self.partial_after), 1, u64::MAX),
            ("handshake_timeout", millis(self.handshake_timeout), 1, u64::MAX),
            ("dead_after", millis(self.dead_after), 1000, u64::MAX),
        ];
        for (name, value, min, max) in settings {
            if !(min..=max).contains(&value) {
                return Err(Error::Setting { name, value, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        Config::default().check().unwrap();
    }

    #[test]
    fn every_setting_out_of_range_is_named() {
        let good = Config::default();
        let bad = [
            ("paths", Config { paths: 0, ..good }),
            ("paths", Config { paths: 9, ..good }),
            ("unsent", Config { unsent: 0, ..good }),
            ("connect_timeout", Config { connect_timeout: Duration::ZERO, ..good }),
            ("partial_after", Config { partial_after: Duration::ZERO, ..good }),
            ("handshake_timeout", Config { handshake_timeout: Duration::from_micros(9), ..good }),
            ("dead_after", Config { dead_after: Duration::from_millis(999), ..good }),
        ];
        for (wanted, config) in bad {
            match config.check() {
                Err(Error::Setting { name, .. }) => assert_eq!(name, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
    }
}
