//! Subflows that belong together: those with the same connection id. No sockets here.

use std::time::{Duration, Instant};

use crate::hello::{Hello, Objection};

/// Connections of which some subflows, or all, have arrived; oldest first.
#[derive(Debug)]
pub(super) struct Groups<S>(Vec<Group<S>>);

#[derive(Debug)]
struct Group<S> {
    connection: u64,
    since: Instant,
    subflows: Vec<Option<S>>,
}

/// A connection of which enough subflows have arrived, by index; the missing ones may come later.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived<S> {
    pub(super) connection: u64,
    pub(super) subflows: Vec<Option<S>>,
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
    pub(super) fn place(&mut self, hello: &Hello, subflow: S, now: Instant) -> Result<(), (Objection, S)> {
        let (connection, paths) = (hello.identity.connection, hello.identity.terms.paths);
        let at = match self.0.iter().position(|group| group.connection == connection) {
            Some(at) => at,
            None => {
                if self.0.len() >= MOST {
                    let partial = self.0.iter().position(|group| !group.is_complete());
                    self.0.remove(partial.unwrap_or(0));
                }
                let subflows = (0..paths).map(|_| None).collect();
                self.0.push(Group { connection, since: now, subflows });
                self.0.len() - 1
            }
        };
        let Some(group) = self.0.get_mut(at) else {
            return Err((Objection::Unknown, subflow));
        };
        if group.subflows.len() != usize::from(paths) {
            return Err((Objection::Paths, subflow));
        }
        match group.subflows.get_mut(usize::from(hello.index)) {
            Some(place @ None) => {
                *place = Some(subflow);
                Ok(())
            }
            _ => Err((Objection::Duplicate, subflow)),
        }
    }

    /// What a connection has in this place.
    pub(super) fn get(&self, connection: u64, index: u8) -> Option<&S> {
        let group = self.0.iter().find(|group| group.connection == connection)?;
        group.subflows.get(usize::from(index))?.as_ref()
    }

    /// Removes and gives the oldest connection that is complete, or has been incomplete for `patience`.
    pub(super) fn complete(&mut self, now: Instant, patience: Duration) -> Option<Arrived<S>> {
        let waited = |group: &Group<S>| now.duration_since(group.since) >= patience;
        let at = self.0.iter().position(|group| group.is_complete() || waited(group))?;
        let Group { connection, subflows, .. } = self.0.remove(at);
        Some(Arrived { connection, subflows })
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
    use crate::hello::{Identity, Terms, VERSION};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn hello(connection: u64, index: u8, paths: u8) -> Hello {
        let terms = Terms { version: VERSION, paths };
        Hello { identity: Identity { terms, connection, path: "".into() }, index, incarnation: 0 }
    }

    fn arrived<S>(connection: u64, subflows: Vec<Option<S>>) -> Option<Arrived<S>> {
        Some(Arrived { connection, subflows })
    }

    #[test]
    fn subflows_meet_in_any_order() {
        let now = Instant::now();
        let mut groups = Groups::default();
        for (connection, index) in [(7, 2), (8, 1), (7, 0), (8, 0)] {
            assert!(groups.complete(now, PATIENCE).is_none());
            let hello = hello(connection, index, if connection == 7 { 3 } else { 2 });
            groups.place(&hello, (connection, index), now).unwrap();
        }
        assert_eq!(groups.complete(now, PATIENCE), arrived(8, vec![Some((8, 0)), Some((8, 1))]));
        assert_eq!((groups.get(7, 2), groups.get(7, 1), groups.get(8, 0)), (Some(&(7, 2)), None, None));
        groups.place(&hello(7, 1, 3), (7, 1), now).unwrap();
        assert_eq!(
            groups.complete(now, PATIENCE),
            arrived(7, vec![Some((7, 0)), Some((7, 1)), Some((7, 2))])
        );
    }

    #[test]
    fn a_subflow_that_contradicts_its_connection_is_given_back() {
        let now = Instant::now();
        let mut groups = Groups::default();
        groups.place(&hello(7, 0, 2), 'a', now).unwrap();
        assert_eq!(groups.place(&hello(7, 0, 2), 'b', now), Err((Objection::Duplicate, 'b')));
        assert_eq!(groups.place(&hello(7, 1, 3), 'c', now), Err((Objection::Paths, 'c')));
        groups.place(&hello(7, 1, 2), 'd', now).unwrap();
        assert_eq!(groups.complete(now, PATIENCE), arrived(7, vec![Some('a'), Some('d')]));
    }

    #[test]
    fn an_incomplete_connection_begins_after_its_time() {
        let now = Instant::now();
        let mut groups = Groups::default();
        groups.place(&hello(7, 1, 3), 'a', now).unwrap();
        assert_eq!(groups.complete(now + PATIENCE / 2, PATIENCE), None);
        assert_eq!(groups.complete(now + PATIENCE, PATIENCE), arrived(7, vec![None, Some('a'), None]));
    }

    #[test]
    fn the_oldest_incomplete_goes_when_there_are_too_many() {
        let now = Instant::now();
        let mut groups = Groups::default();
        groups.place(&hello(0, 0, 1), 0, now).unwrap();
        for connection in 1..=MOST as u64 {
            groups.place(&hello(connection, 0, 2), connection, now).unwrap();
        }
        assert_eq!(groups.0.len(), MOST);
        assert!(groups.0.iter().any(|group| group.connection == 0), "whole");
        assert!(groups.0.iter().all(|group| group.connection != 1), "oldest");
        assert_eq!(groups.complete(now, PATIENCE), arrived(0, vec![Some(0)]));
    }
}
