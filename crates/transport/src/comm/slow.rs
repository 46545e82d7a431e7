//! What either end tells about a transfer that is slow or stuck.

use std::time::{Duration, Instant};

use super::receiving::{Line, Receiving};
use super::sending::Sending;
use crate::config::MAX_PATHS;
use crate::proto::{Late, Stuck};

impl Sending {
    pub(super) fn slow(&self, message: u64, waited: Duration, stuck: Stuck) {
        let (connection, target) = (self.origin.connection, self.origin.target);
        let waited = waited.as_secs_f64();
        let (subflow, part) = match stuck {
            Stuck::OnWay { subflow, since } => {
                (subflow, format!("its oldest part over this path for {:.1} s", since.as_secs_f64()))
            }
            Stuck::Lost { subflow } => {
                (subflow, "its oldest part was lost on this path and no other takes it".to_owned())
            }
            Stuck::NoPath => {
                log::warn!(
                    "conn={connection:016x} peer={target} is slow: message {message} has been waiting for \
                     {waited:.1} s, no path works"
                );
                return;
            }
            Stuck::NoReceive { heard } => {
                log::warn!(
                    "conn={connection:016x} peer={target} is slow: message {message} has been waiting for \
                     {waited:.1} s, the receiver has posted no receive for it, as it said {:.1} s ago",
                    heard.as_secs_f64()
                );
                return;
            }
            Stuck::NotTaken { heard } => {
                log::warn!(
                    "conn={connection:016x} peer={target} is slow: message {message} has been on its way for \
                     {waited:.1} s, the receiver has a receive for it but takes nothing; it was heard {:.1} s ago",
                    heard.as_secs_f64()
                );
                return;
            }
        };
        log::warn!(
            "conn={connection:016x} peer={} subflow={subflow} path=\"{}\" is slow: message {message} has been on \
             its way for {waited:.1} s, {part}",
            self.peer(subflow),
            self.path(subflow)
        );
    }
}

impl Receiving {
    pub(super) fn slow(&self, late: &Late, now: Instant) {
        let Late { message, waited, landed, total, streams } = *late;
        let (connection, waited) = (self.connection, waited.as_secs_f64());
        let total = total.map_or_else(|| "unknown".to_owned(), |total| total.to_string());
        // Streams that were replaced are read to their end and may be the ones.
        let landing = (0..self.lines.len()).filter(|stream| streams & (1 << stream) != 0);
        let heard = |stream: &usize| self.lines.get(*stream).and_then(|line| line.heard);
        let message = format!("message {message} began to come {waited:.1} s ago, {landed} of {total} bytes");
        if let Some(stream) = landing.min_by_key(heard) {
            log::warn!(
                "conn={connection:016x} {} is slow: {message} are here, and nothing has come this way for {}",
                self.way(stream),
                silence(heard(&stream), now)
            );
            return;
        }
        let ways: Vec<String> = (0..self.paths)
            .map(|index| format!("{} for {}", self.way(index), silence(heard(&index), now)))
            .collect();
        log::warn!(
            "conn={connection:016x} is slow: {message} are here, and nothing brings more; silent are {}",
            ways.join(", ")
        );
    }

    /// A stream's peer, subflow and path.
    fn way(&self, stream: usize) -> String {
        let index = stream % MAX_PATHS;
        let place = self.published.place(index);
        let peer = self.lines.get(stream).and_then(|line: &Line| line.subflow.as_ref()).map(|it| it.peer());
        let peer = peer.or(place.as_ref().map(|place| place.peer));
        let peer = peer.map_or_else(String::new, |peer| format!("peer={peer} "));
        format!("{peer}subflow={index} path=\"{}\"", place.map_or_else(|| "".into(), |place| place.path))
    }
}

/// Time since something came.
fn silence(heard: Option<Instant>, now: Instant) -> String {
    heard.map_or_else(
        || "as long as it has been there".to_owned(),
        |heard| format!("{:.1} s", now.saturating_duration_since(heard).as_secs_f64()),
    )
}
