//! What an instance knows of several slots.

use std::time::Duration;

/// What is known of several slots.
pub(crate) struct Outlook {
    /// The slot to campaign for without a look, by its index: one that was released, or any at first.
    pub next: Option<usize>,
    /// The time until each slot could be free, as far as is known.
    pub free_in: Vec<Option<Duration>>,
}

impl Outlook {
    /// Returns what is known before the first look. At random, so that instances that start together seldom meet.
    pub(crate) fn of(slots: usize) -> Self {
        Outlook { next: (slots > 1).then(|| fastrand::usize(..slots)), free_in: vec![None; slots] }
    }
}
