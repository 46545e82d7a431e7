//! How fast a subflow delivers, and how evenly.

use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::flight::Flight;

/// Time a chunk should take on its subflow.
///
/// Long enough that a system call per chunk is nothing, short enough that a message does not wait long
/// for the last chunk of the slowest.
const CHUNK: Duration = Duration::from_millis(2);

/// Longest chunk, bytes. Up to 4 MiB a longer one gains: a tenth of the throughput from 1 MiB on, over veth.
const LONGEST: u64 = 4 << 20;

/// Time that the frames on their way may take beyond a round trip.
///
/// An acknowledgement waits a millisecond for more, longer only while it is about little, and a
/// receiver that shares its core with others for a few. A multiple of that would let a slow path hold the window of requests.
const AHEAD: Duration = Duration::from_millis(5);

/// Bytes that may be on their way on one path, however slow it is.
///
/// On a link that others fill too, acknowledgements are late because of the others' queue. A limit by time alone would take
/// that for a slow path: less is sent, so less is delivered, so still less is sent.
const LEAST_AHEAD: u64 = 64 << 10;

/// What a subflow was seen to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Length of a chunk, however slow it is; and while nothing is known.
    least: u64,
    first: u64,
    /// Bytes per second; 0: not known.
    rate: u64,
    /// The best in the last seconds.
    peak: u64,
    peak_at: Instant,
    /// Time from a frame's first byte to its acknowledgement, smoothed.
    ack_time: Duration,
    /// Round-trip time, smoothed by the kernel, and about the smallest seen.
    rtt: Option<Duration>,
    least_rtt: Duration,
    /// The smallest of the last minutes, which queues don't lengthen.
    empty_rtt: Duration,
    /// Longest time without progress lately.
    gap: Duration,
    gap_at: Instant,
    /// Bytes acknowledged, and when the last were.
    delivered: u64,
    delivered_at: Instant,
    /// Flights begun before this many bytes are delivered don't show what the path can do.
    limited_until: u64,
}

impl Pace {
    pub(super) fn new(allowance: &Allowance, now: Instant) -> Pace {
        Pace {
            least: allowance.chunk(),
            first: allowance.first_chunk(),
            rate: 0,
            peak: 0,
            peak_at: now,
            ack_time: Duration::ZERO,
            rtt: None,
            least_rtt: Duration::ZERO,
            empty_rtt: Duration::ZERO,
            gap: Duration::ZERO,
            gap_at: now,
            delivered: 0,
            delivered_at: now,
            limited_until: 0,
        }
    }

    /// Its connection has another part of what this process may have on its way.
    pub(super) fn allow(&mut self, allowance: &Allowance) {
        (self.least, self.first) = (allowance.chunk(), allowance.first_chunk());
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    pub(super) fn ack_time(&self) -> Duration {
        self.ack_time
    }

    /// The kernel's round-trip time, for comparing paths.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// When it last had something to deliver, or had delivered it.
    pub(super) fn used(&self) -> Instant {
        self.delivered_at
    }

    /// Length of a chunk for this subflow, bytes.
    pub(super) fn chunk(&self) -> u64 {
        match self.rate {
            0 => self.first,
            rate => bytes(rate, CHUNK).clamp(self.least, LONGEST),
        }
    }

    /// Bytes that may be on their way: two chunks at least, so that one is in the socket while the other is acknowledged.
    pub(super) fn limit(&self) -> u64 {
        (2 * self.chunk()).max(LEAST_AHEAD).max(bytes(self.rate, AHEAD + self.least_rtt))
    }

    /// What it delivers in the time that its frames may be on their way, with nothing in any queue.
    pub(super) fn carries(&self) -> u64 {
        bytes(self.rate, AHEAD + self.empty_rtt)
    }

    /// How long a frame is expected to take that is the last of `ahead` bytes.
    pub(super) fn expect(&self, ahead: u64) -> Duration {
        let way = self.least_rtt;
        match self.rate {
            0 => self.ack_time.max(way),
            rate => way + Duration::from_nanos(ahead.saturating_mul(1_000_000_000) / rate),
        }
    }

    /// Silence after which a path is suspect.
    ///
    /// Three times what a frame takes here, with all that is queued before it and the receiver's wait: TCP's
    /// own acknowledgements come many times in between.
    pub(super) fn patience(&self) -> Duration {
        (self.ack_time * 3).max(self.gap * 2).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    /// Says whether the subflow has come down far from what it did lately.
    pub(super) fn is_broken(&self) -> bool {
        self.rate < self.peak / 4
    }

    /// What a flight that begins now is to remember: bytes delivered, since when, and whether it
    /// shows too little.
    pub(super) fn begin(&mut self, idle: bool, now: Instant) -> (u64, Instant, bool) {
        if idle {
            self.delivered_at = now;
        }
        (self.delivered, self.delivered_at, self.delivered < self.limited_until)
    }

    /// There was nothing to send, with `in_flight` bytes on their way.
    pub(super) fn starved(&mut self, in_flight: u64) {
        self.limited_until = self.delivered + in_flight.max(1);
    }

    /// A flight of so many bytes was acknowledged.
    pub(super) fn acked(&mut self, flight: &Flight, bytes: u64, now: Instant) {
        self.delivered += bytes;
        self.delivered_at = now;
        if !flight.limited || self.ack_time.is_zero() {
            let took = now.saturating_duration_since(flight.begun);
            self.ack_time = if self.ack_time.is_zero() { took } else { (self.ack_time * 7 + took) / 8 };
        }
    }

    /// `flight` was the last of those that were acknowledged together.
    pub(super) fn sample(&mut self, flight: &Flight, now: Instant) {
        let nanos = now.saturating_duration_since(flight.delivered_at).as_nanos();
        let bytes = u128::from(self.delivered - flight.delivered);
        let Ok(seen) = u64::try_from(bytes * 1_000_000_000 / nanos.max(1000)) else { return };
        self.rate = match self.rate {
            0 => seen,
            // It could have been faster: a little of the doubt is enough.
            rate if flight.limited => seen.max(rate - rate / 64),
            rate => rate - rate / 4 + seen / 4,
        };
        if now.saturating_duration_since(self.peak_at) >= PEAK {
            self.peak /= 2;
            self.peak_at = now;
        }
        if self.rate >= self.peak {
            self.peak = self.rate;
            self.peak_at = now;
        }
    }

    /// Something was acknowledged after this long without.
    pub(super) fn gap(&mut self, gap: Duration, now: Instant) {
        if now.saturating_duration_since(self.gap_at) >= GAP {
            self.gap /= 2;
            self.gap_at = now;
        }
        if gap >= self.gap {
            self.gap = gap;
            self.gap_at = now;
        }
    }

    pub(super) fn round_trip(&mut self, rtt: Duration, least: Duration) {
        self.empty_rtt = least.min(rtt);
        self.least_rtt = match self.rtt {
            None => rtt,
            // A path that has become longer is believed in slowly: queues look the same.
            Some(_) if rtt > self.least_rtt => self.least_rtt + (rtt - self.least_rtt) / 64,
            Some(_) => rtt,
        };
        self.rtt = Some(rtt);
    }
}

/// Bounds of [`Pace::patience`]: below 15 ms the scheduler of a busy host looks like a dead
/// path.
const LEAST_PATIENCE: Duration = Duration::from_millis(15);
const MOST_PATIENCE: Duration = Duration::from_millis(100);

/// How long the longest gap, and the best rate, count in full.
const GAP: Duration = Duration::from_millis(500);
const PEAK: Duration = Duration::from_secs(10);

/// Bytes that come at a rate in a time.
fn bytes(rate: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    rate.saturating_mul(micros) / 1_000_000
}
