//! What is called, once, with an answer of the background thread.

use std::fmt;
use std::sync::Arc;

/// Takes an answer, or why there is none.
pub(crate) struct Notice<T, E>(Box<dyn FnOnce(Result<Arc<T>, E>) + Send>);

impl<T, E> Notice<T, E> {
    pub(crate) fn new(done: impl FnOnce(Result<Arc<T>, E>) + Send + 'static) -> Self {
        Self(Box::new(done))
    }

    pub(crate) fn give(self, answer: Result<Arc<T>, E>) {
        (self.0)(answer);
    }
}

/// Calls something once, when it is dropped.
pub(crate) struct AtEnd(Option<Box<dyn FnOnce() + Send>>);

impl AtEnd {
    pub(crate) fn new(over: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(over)))
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(over) = self.0.take() {
            over();
        }
    }
}

impl fmt::Debug for AtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtEnd")
    }
}

impl<T, E> fmt::Debug for Notice<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}
