//! State that a forked child doesn't share with its parent.

use std::sync::OnceLock;

/// One value per process: a child of fork gets a fresh one and can still reach its parent's copy.
///
/// Looking takes no lock that the parent could have held when it forked.
#[derive(Debug)]
pub struct PerProcess<T> {
    id: OnceLock<u32>,
    value: OnceLock<T>,
    child: OnceLock<Box<Self>>,
}

impl<T: Default> PerProcess<T> {
    /// For a `static`; no value is made yet.
    pub const fn new() -> Self {
        Self { id: OnceLock::new(), value: OnceLock::new(), child: OnceLock::new() }
    }

    /// That of this very process.
    pub fn get(&'static self) -> &'static T {
        let id = std::process::id();
        let mut process = self;
        while *process.id.get_or_init(|| id) != id {
            process = process.child.get_or_init(|| Box::new(Self::new()));
        }
        process.value.get_or_init(T::default)
    }

    /// That of the last process in the line that has one. In a child, before it asks for its own: its copy of the parent's.
    pub fn last(&'static self) -> Option<&'static T> {
        let mut process = self;
        while let Some(child) = process.child.get() {
            process = child;
        }
        process.value.get()
    }
}

impl<T: Default> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}
