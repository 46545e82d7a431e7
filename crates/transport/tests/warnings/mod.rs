//! What the connections of a test program warn of.

use std::sync::{Mutex, Once, PoisonError};

struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// From now on warnings are kept.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&KEPT).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// The kept warnings about this connection.
pub(crate) fn about(connection: u64) -> Vec<String> {
    let lines = KEPT.0.lock().unwrap_or_else(PoisonError::into_inner);
    let conn = format!("conn={connection:016x} ");
    lines.iter().filter(|line| line.contains(&conn)).cloned().collect()
}

/// Those that one end of it is slow.
pub(crate) fn slow(connection: u64) -> Vec<String> {
    about(connection).into_iter().filter(|line| line.contains(" is slow: ")).collect()
}
