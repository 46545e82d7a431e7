//! A value that readers get without a lock.

use std::sync::atomic::{AtomicPtr, Ordering};

/// A value that may be replaced while others read it.
///
/// What was published stays in memory for ever: a lock, or a count of readers, could be left taken in a forked child. So it
/// is for values that change seldom.
#[derive(Debug)]
pub(crate) struct Published<T: 'static>(AtomicPtr<T>);

impl<T> Published<T> {
    /// Nothing yet.
    pub(crate) const fn nothing() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The latest.
    pub(crate) fn get(&self) -> Option<&'static T> {
        let latest = self.0.load(Ordering::Acquire);
        // SAFETY: NULL, or what `publish` leaked: valid, shared and never changed from then on.
        unsafe { latest.as_ref() }
    }

    /// Replaces it.
    pub(crate) fn publish(&self, value: T) {
        self.0.store(Box::leak(Box::new(value)), Ordering::Release);
    }
}
