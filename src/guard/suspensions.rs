//! When a signal has suspended the command. The elector learns of it, stops itself, and continues the command when a
//! shell has continued it. It is told of one suspension at a time: while it is stopped, it reads nothing. Pure.

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
}

impl Suspensions {
    /// This signal has suspended the command.
    pub(super) fn begin(&mut self, signal: i32) {
        self.latest = self.latest.wrapping_add(1);
        self.signal = signal;
        self.is_suspended = true;
    }

    /// The command has been continued.
    pub(super) fn end(&mut self) {
        self.is_suspended = false;
    }

    /// The elector goes on: it can be told of the next one.
    pub(super) fn answered(&mut self) {
        self.unanswered = false;
    }

    /// Returns whether the elector, told of one, may have stopped itself.
    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered
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
        for _ in 0..300 {
            suspensions.end();
            suspensions.begin(19);
            assert_eq!(suspensions.next_to_tell(), None);
        }
        assert!(!suspensions.lasts(1) && suspensions.lasts(301));
        suspensions.answered();
        assert_eq!((suspensions.next_to_tell(), suspensions.next_to_tell()), (Some((301, 19)), None));
    }

    #[test]
    fn one_that_is_over_is_not_told() {
        let mut suspensions = Suspensions::default();
        suspensions.begin(19);
        suspensions.end();
        assert_eq!((suspensions.next_to_tell(), suspensions.lasts(1)), (None, false));
    }
}
