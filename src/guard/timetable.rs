//! When the command is asked to stop and when it is killed. Pure: no I/O and no clock of its own.

use std::time::Duration;

use super::tree::TreeSize;
use crate::{clock::Moment, lease::Deadlines};

/// The time that it takes to kill a process and reap it on a busy host: about twice what `tests/campaign trees` shows.
const KILL_ONE: Duration = Duration::from_micros(100);

/// The same for each level of a tree: what is below may be found only when what is above is dead.
const KILL_LEVEL: Duration = Duration::from_micros(500);

/// How often a tree that is being killed is looked through again: a process may fork while its parent dies slowly.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The times of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timetable {
    /// The deadlines of the lease; `None` for a lease that doesn't expire.
    deadlines: Option<Deadlines>,
    /// When the tree is killed, once it has been asked to stop.
    kill_at: Option<Moment>,
    /// How much earlier than the lease asks for it the killing begins, since the tree is large.
    earlier: Duration,
    killing: bool,
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Stop,
    Kill,
}

impl Timetable {
    /// Sets the deadlines of the lease.
    pub(super) fn keep(&mut self, deadlines: Option<Deadlines>) {
        self.deadlines = deadlines;
    }

    /// Returns the moment at which the lease asks for a stop.
    pub(super) fn stop_at(&self) -> Option<Moment> {
        self.deadlines.map(|deadlines| deadlines.stop_at)
    }

    /// Returns whether the command has been asked to stop, or its time to stop was over at once.
    pub(super) fn is_stopping(&self) -> bool {
        self.kill_at.is_some()
    }

    /// Sets the moment at which what has been asked to stop is killed, unless an earlier one is set.
    pub(super) fn kill_at(&mut self, at: Moment) {
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Has the killing begin early enough for a tree of this size.
    pub(super) fn allow_for_killing(&mut self, size: TreeSize) {
        let times = |number: usize, one: Duration| one.saturating_mul(number.try_into().unwrap_or(u32::MAX));
        self.earlier = times(size.processes, KILL_ONE).saturating_add(times(size.levels, KILL_LEVEL));
    }

    /// Starts the killing, whatever the deadlines are. Returns whether it had not started before.
    pub(super) fn start_killing(&mut self) -> bool {
        !std::mem::replace(&mut self.killing, true)
    }

    /// Returns whether the killing has started.
    pub(super) fn is_killing(&self) -> bool {
        self.killing
    }

    /// Returns when there is something to do next.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        if self.killing {
            return Some(now + LOOK_AGAIN);
        }
        let lease =
            self.deadlines.map(|deadlines| if self.is_stopping() { self.last(deadlines) } else { deadlines.stop_at });
        [self.kill_at, lease].into_iter().flatten().min()
    }

    /// Returns what it is time for now.
    pub(super) fn due(&self, now: Moment) -> Option<Due> {
        // `tests/campaign --broken deadline` must detect a guard that keeps no deadline.
        let deadlines = self.deadlines.filter(|_| !cfg!(broken = "deadline"));
        if self.killing
            || self.kill_at.is_some_and(|at| now >= at)
            || deadlines.is_some_and(|deadlines| now >= self.last(deadlines))
        {
            Some(Due::Kill)
        } else if deadlines.is_some_and(|deadlines| now >= deadlines.stop_at) {
            Some(Due::Stop)
        } else {
            None
        }
    }

    /// Returns when the killing begins under these deadlines.
    fn last(&self, deadlines: Deadlines) -> Moment {
        deadlines.kill_at - self.earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(start: Moment) -> (Timetable, Deadlines) {
        let deadlines = Deadlines { stop_at: start + Duration::from_secs(3), kill_at: start + Duration::from_secs(5) };
        let mut times = Timetable::default();
        times.keep(Some(deadlines));
        (times, deadlines)
    }

    #[test]
    fn a_lease_that_is_not_extended_stops_the_command_and_then_kills_it() {
        let start = Moment::now();
        let (times, Deadlines { stop_at, kill_at }) = lease(start);
        assert_eq!((times.next(start), times.due(start)), (Some(stop_at), None));
        assert_eq!(times.due(stop_at), Some(Due::Stop));
        assert_eq!(times.due(kill_at), Some(Due::Kill));
    }

    #[test]
    fn the_killing_of_a_large_tree_begins_earlier() {
        let start = Moment::now();
        let (mut times, Deadlines { kill_at, .. }) = lease(start);
        times.kill_at(kill_at + Duration::from_secs(1));
        times.allow_for_killing(TreeSize { processes: 3000, levels: 2 });
        let earlier = kill_at - Duration::from_millis(301);
        assert_eq!((times.next(start), times.due(start)), (Some(earlier), None));
        assert_eq!(times.due(earlier), Some(Due::Kill));
    }

    #[test]
    fn what_was_asked_to_stop_is_killed_by_the_earliest_of_its_times() {
        let start = Moment::now();
        let (mut times, deadlines) = lease(start);
        times.kill_at(start + Duration::from_secs(9));
        assert_eq!(times.next(start), Some(deadlines.kill_at));
        times.kill_at(start + Duration::from_secs(1));
        times.kill_at(start + Duration::from_secs(2));
        assert_eq!(times.next(start), Some(start + Duration::from_secs(1)));
        assert_eq!(times.due(start + Duration::from_secs(1)), Some(Due::Kill));
    }

    #[test]
    fn a_tree_that_is_being_killed_is_looked_through_until_it_is_empty() {
        let start = Moment::now();
        let (mut times, _) = lease(start);
        assert!(times.start_killing());
        assert!(!times.start_killing());
        assert_eq!((times.next(start), times.due(start)), (Some(start + LOOK_AGAIN), Some(Due::Kill)));
    }

    #[test]
    fn without_a_lease_that_runs_out_nothing_is_due_until_somebody_asks() {
        let start = Moment::now();
        let mut times = Timetable::default();
        assert_eq!((times.next(start), times.due(start + Duration::from_secs(1 << 30))), (None, None));
        times.kill_at(start);
        assert_eq!(times.due(start), Some(Due::Kill));
    }
}
