//! The schedule of a lease: when it is extended, and until when the command may run. Pure: no I/O and no clock of its
//! own.

use std::time::Duration;

use crate::{
    clock::Moment,
    lease::{Deadlines, Times},
};

/// When a lease is extended next, and what its command's deadlines are until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RenewalSchedule {
    times: Times,
    /// `None` for a lease that doesn't run out.
    deadlines: Option<Deadlines>,
    next_extension: Moment,
}

impl RenewalSchedule {
    /// Starts the schedule of a lease whose round was sent at `sent`; `None` for a lease that doesn't expire.
    pub(crate) fn new(times: Times, sent: Option<Moment>, now: Moment) -> Self {
        RenewalSchedule {
            times,
            deadlines: sent.map(|sent| times.deadlines(sent)),
            next_extension: now + times.extend_every(),
        }
    }

    /// Returns the command's deadlines.
    pub(crate) fn deadlines(&self) -> Option<Deadlines> {
        self.deadlines
    }

    /// Returns when the next extension is due.
    pub(crate) fn next_extension(&self) -> Moment {
        self.next_extension
    }

    /// Returns how late the next extension is.
    pub(crate) fn overdue(&self, now: Moment) -> Duration {
        now.since(self.next_extension)
    }

    /// Returns whether the deadline has passed, after which nothing of the command may be left.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        self.deadlines.is_some_and(|deadlines| now >= deadlines.kill_at)
    }

    /// Records a successful extension. Returns the command's new deadlines; `None` if the old deadline has passed,
    /// since a lease that was given up is not resumed.
    pub(crate) fn extended(&mut self, deadlines: Option<Deadlines>, now: Moment) -> Option<Deadlines> {
        self.next_extension = now + self.times.extend_every();
        let longer = deadlines.filter(|_| self.deadlines.is_some_and(|old| now < old.kill_at))?;
        self.deadlines = Some(longer);
        Some(longer)
    }

    /// Records a failed extension and schedules a retry. `chance`: a random number, at least 0 and below 1.
    pub(crate) fn failed(&mut self, now: Moment, chance: f64) {
        self.next_extension = now + self.times.retry_after().mul_f64(0.5 + chance);
    }
}
