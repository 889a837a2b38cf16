//! The suspensions of the command by a signal. The elector learns of one, stops itself, and continues the command once a shell
//! has continued the elector. It learns of only one at a time, since it reads nothing while it is stopped. Pure.

use std::time::Duration;

use crate::clock::Moment;

/// How often, and for how long, the elector is continued until it answers: it may be about to stop itself.
const REMIND_AGAIN: Duration = Duration::from_millis(10);
const REMIND_FOR: Duration = Duration::from_secs(1);

/// The suspensions of a command, numbered from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspensions {
    latest: u32,
    /// What has caused it.
    signal: i32,
    is_suspended: bool,
    told: u32,
    /// The elector has not shown yet that it goes on.
    unanswered: bool,
    /// When to continue it next, and until when.
    remind: Option<(Moment, Moment)>,
}

impl Suspensions {
    /// This signal has suspended the command.
    pub(super) fn begin(&mut self, signal: i32) {
        self.latest = self.latest.wrapping_add(1);
        self.signal = signal;
        self.is_suspended = true;
        self.remind = None;
    }

    /// The command has been continued.
    pub(super) fn end(&mut self, now: Moment) {
        self.is_suspended = false;
        self.remind = self.unanswered.then(|| (now, now + REMIND_FOR));
    }

    /// The elector goes on after this one: it can be told of the next.
    pub(super) fn answered(&mut self, number: u32) {
        if self.told == number {
            self.unanswered = false;
            self.remind = None;
        }
    }

    /// Returns when the elector, which was told of a suspension that is over, is to be continued.
    pub(super) fn next_reminder(&self) -> Option<Moment> {
        self.remind.map(|(next, _)| next)
    }

    /// Returns whether that is to be done now, and schedules the next time.
    pub(super) fn is_time_to_remind(&mut self, now: Moment) -> bool {
        let Some((_, until)) = self.remind.filter(|&(next, _)| now >= next) else { return false };
        self.remind = Some((now + REMIND_AGAIN, until)).filter(|&(next, until)| next < until);
        true
    }

    /// Returns whether this one lasts.
    pub(super) fn lasts(&self, number: u32) -> bool {
        self.is_suspended && self.latest == number
    }

    /// Returns the one that the elector is to be told of now, once, and its signal.
    pub(super) fn next_to_tell(&mut self) -> Option<(u32, i32)> {
        if !self.is_suspended || self.unanswered || self.told == self.latest {
            return None;
        }
        self.unanswered = true;
        self.told = self.latest;
        Some((self.latest, self.signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_the_next_one_only_after_an_answer() {
        let mut suspensions = Suspensions::default();
        assert_eq!(suspensions.next_to_tell(), None);
        suspensions.begin(19);
        assert_eq!((suspensions.next_to_tell(), suspensions.next_to_tell()), (Some((1, 19)), None));
        let now = Moment::now();
        for _ in 0..300 {
            suspensions.end(now);
            suspensions.begin(19);
            assert_eq!(suspensions.next_to_tell(), None);
        }
        assert!(!suspensions.lasts(1) && suspensions.lasts(301));
        suspensions.answered(1);
        assert_eq!((suspensions.next_to_tell(), suspensions.next_to_tell()), (Some((301, 19)), None));
    }

    #[test]
    fn one_that_is_over_is_not_told() {
        let mut suspensions = Suspensions::default();
        suspensions.begin(19);
        suspensions.end(Moment::now());
        assert_eq!((suspensions.next_to_tell(), suspensions.lasts(1)), (None, false));
        assert_eq!(suspensions.next_reminder(), None);
    }

    #[test]
    fn an_elector_that_was_told_is_continued_until_it_answers() {
        let (mut suspensions, now) = (Suspensions::default(), Moment::now());
        suspensions.begin(19);
        suspensions.next_to_tell();
        suspensions.end(now);
        assert!(suspensions.is_time_to_remind(now) && !suspensions.is_time_to_remind(now));
        assert!(suspensions.is_time_to_remind(now + REMIND_AGAIN));
        assert!(suspensions.is_time_to_remind(now + REMIND_FOR));
        assert_eq!(suspensions.next_reminder(), None);
        suspensions.end(now);
        suspensions.answered(0);
        assert!(suspensions.next_reminder().is_some());
        suspensions.answered(1);
        assert_eq!(suspensions.next_reminder(), None);
    }
}
