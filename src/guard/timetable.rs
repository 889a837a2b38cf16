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

/// How often a tree is counted again, and how many times as long as the count the pause is.
const COUNT_AGAIN: Duration = Duration::from_millis(20);
const COUNT_SHARE: u32 = 4;

/// How long processes are looked for at most that are to get a signal.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// The times of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timetable {
    /// The deadlines of the lease; `None` for a lease that doesn't expire.
    deadlines: Option<Deadlines>,
    /// When the tree is killed, once it has been asked to stop.
    kill_at: Option<Moment>,
    /// How much earlier than the lease asks for it the killing begins, since the tree is large.
    earlier: Duration,
    /// When half of the time until the deadline was over: the next extension should have come by then. A large tree is
    /// killed from then on, but not before.
    half: Option<Moment>,
    /// When the tree is counted next: it may grow.
    count_at: Option<Moment>,
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
    pub(super) fn keep(&mut self, deadlines: Option<Deadlines>, now: Moment) {
        self.deadlines = deadlines;
        self.half = deadlines.map(|deadlines| now + deadlines.kill_at.since(now) / 2);
        (self.earlier, self.count_at) = (Duration::ZERO, self.half);
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

    /// Returns whether the tree is to be counted now.
    pub(super) fn is_time_to_count(&self, now: Moment) -> bool {
        !self.killing && self.count_at.is_some_and(|at| now >= at)
    }

    /// Has the killing begin early enough for a tree of this size, which has been counted from `began` to `now`.
    pub(super) fn allow_for_killing(&mut self, size: TreeSize, began: Moment, now: Moment) {
        self.earlier = time_to_kill(size);
        let pause = (now.since(began) * COUNT_SHARE).max(COUNT_AGAIN);
        self.count_at = self.deadlines.map(|_| now + pause);
    }

    /// Returns whether a tree of this size, or a larger one, must be killed now to be dead in time. Without a deadline it
    /// needn't be counted either.
    pub(super) fn leaves_no_time(&self, size: TreeSize) -> bool {
        self.deadlines.is_none_or(|deadlines| Moment::now() + time_to_kill(size) >= deadlines.kill_at)
    }

    /// Returns until when processes may be looked for that are to get a signal: two such looks leave half of the time
    /// until the killing.
    pub(super) fn look_until(&self, now: Moment) -> Moment {
        let left = self.deadlines.map(|deadlines| deadlines.kill_at.since(now) / 4);
        now + left.unwrap_or(LONGEST_LOOK).min(LONGEST_LOOK)
    }

    /// Starts the killing, whatever the deadlines are. Returns whether it had not started before.
    pub(super) fn start_killing(&mut self) -> bool {
        !std::mem::replace(&mut self.killing, true)
    }

    /// Starts the killing. Returns whether the command has not been asked to stop before: no time was left for that.
    pub(super) fn kill_without_stop(&mut self, now: Moment) -> bool {
        let is_unasked = self.start_killing() && !self.is_stopping();
        if is_unasked {
            self.kill_at(now);
        }
        is_unasked
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
        let lease = self.deadlines.map(|deadlines| {
            let last = self.last(deadlines);
            if self.is_stopping() { last } else { last.min(deadlines.stop_at) }
        });
        [self.kill_at, lease, self.count_at].into_iter().flatten().min()
    }

    /// Returns what it is time for now.
    pub(super) fn due(&self, now: Moment) -> Option<Due> {
        // `tests/campaign --broken deadline` must detect a guard that keeps no deadline.
        let deadlines = self.deadlines.filter(|_| !broken!("deadline"));
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
        let early = deadlines.kill_at - self.earlier;
        self.half.map_or(early, |half| early.max(half))
    }
}

fn time_to_kill(size: TreeSize) -> Duration {
    let times = |number: usize, one: Duration| one.saturating_mul(number.try_into().unwrap_or(u32::MAX));
    times(size.processes, KILL_ONE).saturating_add(times(size.levels, KILL_LEVEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(start: Moment) -> (Timetable, Deadlines) {
        let deadlines = Deadlines { stop_at: start + Duration::from_secs(3), kill_at: start + Duration::from_secs(5) };
        let mut times = Timetable::default();
        times.keep(Some(deadlines), start);
        (times, deadlines)
    }

    #[test]
    fn a_lease_that_is_not_extended_stops_the_command_and_then_kills_it() {
        let start = Moment::now();
        let (times, Deadlines { stop_at, kill_at }) = lease(start);
        let half = start + Duration::from_millis(2500);
        assert_eq!((times.next(start), times.due(start)), (Some(half), None));
        assert!(!times.is_time_to_count(start) && times.is_time_to_count(half));
        assert_eq!((times.due(half), times.due(stop_at)), (None, Some(Due::Stop)));
        assert_eq!(times.due(kill_at), Some(Due::Kill));
    }

    #[test]
    fn the_killing_of_a_large_tree_begins_earlier() {
        let start = Moment::now();
        let (mut times, Deadlines { kill_at, .. }) = lease(start);
        let counted = kill_at - Duration::from_millis(400);
        times.kill_at(kill_at + Duration::from_secs(1));
        times.allow_for_killing(TreeSize { processes: 3000, levels: 2 }, counted, counted);
        let (again, earlier) = (counted + COUNT_AGAIN, kill_at - Duration::from_millis(301));
        assert_eq!((times.next(counted), times.due(counted)), (Some(again), Some(Due::Stop)));
        assert_eq!(times.due(earlier), Some(Due::Kill));
    }

    #[test]
    fn a_large_tree_is_killed_before_the_time_to_stop_but_not_while_an_extension_may_come() {
        let start = Moment::now();
        let (mut times, Deadlines { kill_at, .. }) = lease(start);
        times.allow_for_killing(TreeSize { processes: 1_000_000, levels: 1 }, start, start);
        let half = start + kill_at.since(start) / 2;
        assert_eq!((times.due(start), times.due(half)), (None, Some(Due::Kill)));
        times.keep(Some(Deadlines { stop_at: kill_at, kill_at: kill_at + Duration::from_secs(5) }), half);
        assert_eq!(times.due(half), None);
    }

    #[test]
    fn what_was_asked_to_stop_is_killed_by_the_earliest_of_its_times() {
        let start = Moment::now();
        let (mut times, deadlines) = lease(start);
        times.kill_at(start + Duration::from_secs(9));
        assert_eq!(times.next(start), Some(start + deadlines.kill_at.since(start) / 2));
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
