//! Signs of life for people: on a terminal only, on standard error, and gone when the work is done.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that shows that something goes on; nothing where nobody watches a terminal.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg} ({elapsed})"));
    ticking(bar, what)
}

/// A bar of `steps` steps.
pub(crate) fn bar(what: &str, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps).with_style(style("{msg} [{bar:40}] {pos}/{len} ({eta} left)"));
    ticking(bar, what)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn ticking(bar: ProgressBar, what: &str) -> ProgressBar {
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
