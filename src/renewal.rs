//! A lease in time: when it is to be extended, and until when the command may run. Pure: no I/O and no clock of its own.

use std::time::Duration;

use crate::{
    clock::Moment,
    lease::{Deadlines, Times},
};

#[derive(Clone, Copy, Debug)]
pub struct RenewalSchedule {
    times: Times,
    /// `None` for a lease that doesn't run out.
    deadlines: Option<Deadlines>,
    next_extension: Moment,
}

impl RenewalSchedule {
    /// Of a lease whose round was sent at `sent`.
    pub fn new(times: Times, sent: Option<Moment>, now: Moment) -> Self {
        RenewalSchedule {
            times,
            deadlines: sent.map(|sent| times.deadlines(sent)),
            next_extension: now + times.extend_every(),
        }
    }

    pub fn deadlines(&self) -> Option<Deadlines> {
        self.deadlines
    }

    pub fn next_extension(&self) -> Moment {
        self.next_extension
    }

    /// How late the next extension is.
    pub fn overdue(&self, now: Moment) -> Duration {
        now.since(self.next_extension)
    }

    /// The deadline has passed: nothing of the command may be left.
    pub fn is_over(&self, now: Moment) -> bool {
        self.deadlines.is_some_and(|deadlines| now >= deadlines.kill_at)
    }

    /// An extension has succeeded. Gives the deadlines that the command has from now on, unless it came after the deadline: what
    /// has been given up is not taken up again.
    pub fn extended(&mut self, deadlines: Option<Deadlines>, now: Moment) -> Option<Deadlines> {
        self.next_extension = now + self.times.extend_every();
        let longer = deadlines.filter(|_| self.deadlines.is_some_and(|old| now < old.kill_at))?;
        self.deadlines = Some(longer);
        Some(longer)
    }

    /// An extension has failed; it is tried again. `chance`: a random number, at least 0 and below 1.
    pub fn failed(&mut self, now: Moment, chance: f64) {
        self.next_extension = now + self.times.retry_after().mul_f64(0.5 + chance);
    }
}
