//! Ranks of one process that exchange their handles.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

use std::sync::{Barrier, Mutex};

use srv6_netdrive::Exchange;

/// The ranks of one process.
pub(crate) struct Local {
    barrier: Barrier,
    slots: Mutex<Vec<Vec<u8>>>,
}

/// One of them.
pub(crate) struct LocalRank<'a>(pub(crate) &'a Local, pub(crate) usize);

impl Local {
    pub(crate) fn new(world: usize) -> Self {
        Self { barrier: Barrier::new(world), slots: Mutex::new(vec![Vec::new(); world]) }
    }
}

impl Exchange for LocalRank<'_> {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.slots.lock().unwrap()[self.1] = mine.to_vec();
        self.0.barrier.wait();
        let all = self.0.slots.lock().unwrap().clone();
        self.0.barrier.wait();
        Ok(all)
    }
}
