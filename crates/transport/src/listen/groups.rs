//! Subflows that belong together: those with the same connection id. No sockets here.

use std::time::{Duration, Instant};

use crate::hello::{Hello, Unwelcome};

/// Connections of which some subflows, or all, have arrived; oldest first.
#[derive(Debug)]
pub(super) struct Groups<S>(Vec<Group<S>>);

#[derive(Debug)]
struct Group<S> {
    connection: u64,
    since: Instant,
    subflows: Vec<Option<S>>,
}

impl<S> Default for Groups<S> {
    fn default() -> Groups<S> {
        Groups(Vec::new())
    }
}

impl<S> Groups<S> {
    /// Puts a subflow into its place, or gives it back with the reason why it has none.
    ///
    /// A new connection beyond the limit pushes out the oldest that is incomplete.
    pub(super) fn place(&mut self, hello: &Hello, subflow: S, now: Instant) -> Result<(), (Unwelcome, S)> {
        let same = |group: &Group<S>| group.connection == hello.connection;
        let at = match self.0.iter().position(same) {
            Some(at) => at,
            None => {
                if self.0.len() >= MOST {
                    let partial = self.0.iter().position(|group| !group.is_complete());
                    self.0.remove(partial.unwrap_or(0));
                }
                self.0.push(Group {
                    connection: hello.connection,
                    since: now,
                    subflows: (0..hello.terms.paths).map(|_| None).collect(),
                });
                self.0.len() - 1
            }
        };
        let Some(group) = self.0.get_mut(at) else {
            return Err((Unwelcome::Foreign, subflow));
        };
        let others = group.subflows.len();
        if others != usize::from(hello.terms.paths) {
            let unwelcome = Unwelcome::Paths {
                paths: hello.terms.paths,
                others: u8::try_from(others).unwrap_or(u8::MAX),
            };
            return Err((unwelcome, subflow));
        }
        match group.subflows.get_mut(usize::from(hello.index)) {
            Some(place @ None) => {
                *place = Some(subflow);
                Ok(())
            }
            _ => Err((Unwelcome::Duplicate { index: hello.index }, subflow)),
        }
    }

    /// Removes and gives the oldest connection that is complete: its id, its subflows by index.
    pub(super) fn complete(&mut self) -> Option<(u64, Vec<S>)> {
        let at = self.0.iter().position(Group::is_complete)?;
        let group = self.0.remove(at);
        let subflows = group.subflows.into_iter().flatten().collect();
        Some((group.connection, subflows))
    }

    /// Drops connections that have been incomplete for `patience`, and says how many.
    pub(super) fn expire(&mut self, now: Instant, patience: Duration) -> usize {
        let before = self.0.len();
        self.0.retain(|group| group.is_complete() || now.duration_since(group.since) < patience);
        before - self.0.len()
    }
}

impl<S> Group<S> {
    fn is_complete(&self) -> bool {
        self.subflows.iter().all(Option::is_some)
    }
}

/// Connections that may be waiting at a time.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{Terms, VERSION};

    fn hello(connection: u64, index: u8, paths: u8) -> Hello {
        Hello { terms: Terms { version: VERSION, paths }, index, connection }
    }

    #[test]
    fn subflows_meet_in_any_order() {
        let now = Instant::now();
        let mut groups = Groups::default();
        for (connection, index) in [(7, 2), (8, 1), (7, 0), (8, 0)] {
            assert!(groups.complete().is_none());
            let hello = hello(connection, index, if connection == 7 { 3 } else { 2 });
            groups.place(&hello, (connection, index), now).unwrap();
        }
        assert_eq!(groups.complete(), Some((8, vec![(8, 0), (8, 1)])));
        groups.place(&hello(7, 1, 3), (7, 1), now).unwrap();
        assert_eq!(groups.complete(), Some((7, vec![(7, 0), (7, 1), (7, 2)])));
    }

    #[test]
    fn a_subflow_that_contradicts_its_connection_is_given_back() {
        let now = Instant::now();
        let mut groups = Groups::default();
        groups.place(&hello(7, 0, 2), 'a', now).unwrap();
        assert_eq!(groups.place(&hello(7, 0, 2), 'b', now), Err((Unwelcome::Duplicate { index: 0 }, 'b')));
        let paths = Unwelcome::Paths { paths: 3, others: 2 };
        assert_eq!(groups.place(&hello(7, 1, 3), 'c', now), Err((paths, 'c')));
        groups.place(&hello(7, 1, 2), 'd', now).unwrap();
        assert_eq!(groups.complete(), Some((7, vec!['a', 'd'])));
    }

    #[test]
    fn incomplete_connections_go_after_their_time_or_when_there_are_too_many() {
        let now = Instant::now();
        let patience = Duration::from_secs(5);
        let mut groups = Groups::default();
        groups.place(&hello(0, 0, 1), 0, now).unwrap();
        for connection in 1..=MOST as u64 {
            groups.place(&hello(connection, 0, 2), connection, now).unwrap();
        }
        assert_eq!(groups.0.len(), MOST);
        assert!(groups.0.iter().any(|group| group.connection == 0), "whole");
        assert!(groups.0.iter().all(|group| group.connection != 1), "oldest");
        assert_eq!(groups.expire(now + patience / 2, patience), 0);
        assert_eq!(groups.expire(now + patience, patience), MOST - 1);
        assert_eq!(groups.complete(), Some((0, vec![0])));
    }
}
