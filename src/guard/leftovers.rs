//! What the main process leaves behind: when it is asked to stop, and who of it has been asked already. Pure.

use std::time::Duration;

use nix::{libc, unistd::Pid};

use super::{signals::asks_to_end, tree::Members};
use crate::{clock::Moment, sys::wait::Ending};

/// How long an order may take that tells why the main process has ended: a process may have sent its signal to the command and
/// to the elector.
const ORDER_COMES_WITHIN: Duration = Duration::from_millis(200);

/// The processes of a command without those that have got its last signal.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// The main process's last group.
    group: Option<Pid>,
    /// That group has been asked to stop.
    is_group_asked: bool,
    /// When what is left is asked, since the main process has ended.
    due: Option<Moment>,
}

impl Leftovers {
    /// Takes note of a signal that the main process's group has got. `group`: that group, while the main process exists.
    pub(super) fn group_gets(&mut self, signal: libc::c_int, group: Option<Pid>) {
        if asks_to_end(signal)
            && let Some(group) = group.or(self.group)
        {
            self.group_is_asked(group);
        }
    }

    /// Takes note that the main process's group has been asked to stop.
    pub(super) fn group_is_asked(&mut self, group: Pid) {
        (self.group, self.is_group_asked) = (Some(group), true);
    }

    /// Takes note of the main process's end. `group`: the one in which it was.
    pub(super) fn main_ended(&mut self, group: Option<Pid>, ending: Ending, now: Moment) {
        self.group = group.or(self.group);
        let may_be_told = matches!(ending, Ending::Signal(signal) if asks_to_end(signal));
        self.due = Some(if may_be_told { now + ORDER_COMES_WITHIN } else { now });
    }

    /// Returns when what is left is to be asked to stop, as far as is known.
    pub(super) fn next(&self) -> Option<Moment> {
        self.due
    }

    /// Returns who is to be asked to stop now, once.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<Members> {
        self.due.take_if(|due| now >= *due || self.is_group_asked)?;
        Some(match self.group.filter(|_| self.is_group_asked) {
            Some(group) => Members::AllBut(group),
            None => Members::All,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Pid = Pid::from_raw(7);

    #[test]
    fn what_a_main_process_leaves_that_ends_by_itself_is_asked_at_once_and_only_once() {
        let (now, mut left) = (Moment::now(), Leftovers::default());
        assert_eq!(left.take_due(now), None);
        left.main_ended(Some(GROUP), Ending::Code(0), now);
        assert_eq!((left.next(), left.take_due(now), left.take_due(now)), (Some(now), Some(Members::All), None));
    }

    #[test]
    fn a_group_that_has_got_the_signal_is_not_asked_again() {
        let (now, mut left) = (Moment::now(), Leftovers::default());
        left.group_gets(libc::SIGUSR1, Some(GROUP));
        left.group_gets(libc::SIGTERM, Some(GROUP));
        left.main_ended(None, Ending::Signal(libc::SIGTERM), now);
        assert_eq!(left.take_due(now), Some(Members::AllBut(GROUP)));
    }

    #[test]
    fn an_order_that_comes_after_the_end_still_counts() {
        let (now, mut left) = (Moment::now(), Leftovers::default());
        left.main_ended(Some(GROUP), Ending::Signal(libc::SIGTERM), now);
        assert_eq!(left.take_due(now), None);
        left.group_gets(libc::SIGTERM, None);
        assert_eq!(left.take_due(now), Some(Members::AllBut(GROUP)));

        left.main_ended(Some(GROUP), Ending::Signal(libc::SIGTERM), now);
        assert!(left.next().is_some_and(|at| Leftovers::default().next().is_none() && at > now));
    }
}
