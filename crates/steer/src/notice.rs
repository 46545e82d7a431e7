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

impl<T, E> fmt::Debug for Notice<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}
