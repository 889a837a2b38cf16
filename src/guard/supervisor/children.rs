//! What becomes of the guard's children: suspended, continued, ended, reaped, until none is left.

use nix::libc::{SIGCONT, SIGKILL};

use super::Supervisor;
use crate::{
    clock::Moment,
    guard::{
        protocol::{GuardMessage, Recipient},
        timetable::Due,
        tree::Members,
    },
    sys::wait::{self, ChildStatus, Ending},
};

/// How many changes of children are taken in one turn: processes that fork and exit fast mustn't keep us from all else.
const CHANGES_A_TURN: usize = 256;

impl Supervisor {
    /// Takes what has changed, and reaps what has ended.
    pub(super) fn reap(&mut self) {
        self.changes_left = false;
        for _ in 0..CHANGES_A_TURN {
            match self.next_change() {
                ChildStatus::Suspended(pid, signal) if self.command.is(pid) => {
                    self.suspensions.begin(signal);
                    self.tell_suspension();
                }
                // SIGSTOP is sent to the elector's group, as by a shell that stops a job. The elector can't pass it on.
                ChildStatus::Suspended(pid, signal) if self.delivery.bystander().is_some_and(|its| its.is(pid)) => {
                    self.pass_on(signal, Recipient::GroupApart);
                }
                ChildStatus::Continued(pid) if self.command.is(pid) => self.continued(),
                ChildStatus::Ended => self.killing.count_reaped(),
                ChildStatus::Suspended(..) | ChildStatus::Continued(_) => {}
                ChildStatus::Quiet if self.is_all_dead() => return self.leave_zombies(),
                ChildStatus::Quiet => return self.leave_nothing_behind(),
                ChildStatus::Empty => return self.tree_is_empty(),
            }
        }
        self.changes_left = true;
    }

    /// Takes the next change of a child. While the main process exists, each end is looked at before it is reaped: it may
    /// come at any moment, and is reported first. If we are killed in between, the elector can still see how it ended.
    fn next_change(&mut self) -> ChildStatus {
        if !self.command.is_running() {
            return wait::next_change();
        }
        let Some(ended) = wait::first_ended() else { return wait::next_suspension() };
        if self.command.is(ended)
            && let Some(ending) = self.command.ending()
        {
            self.main_ended(ending);
        }
        if let Some(bystander) = self.delivery.bystander() {
            bystander.forget(ended);
        }
        let _ = wait::reap(ended);
        ChildStatus::Ended
    }

    /// Returns whether all that is left are zombies, which a debugger keeps from us.
    fn is_all_dead(&self) -> bool {
        let may_be = !self.command.is_running() || self.times.is_killing();
        self.occupied && may_be && self.tree.is_dead_but_for(&[])
    }

    /// Leaves the zombies of the tree to a debugger. How the main process has ended, it alone can see, if that is one.
    fn leave_zombies(&mut self) {
        if self.command.is_running() {
            self.main_ended(Ending::Signal(SIGKILL));
        }
        self.tree_is_empty();
    }

    /// Tells the elector that the command is suspended: under a terminal, it stops itself as well.
    pub(super) fn tell_suspension(&mut self) {
        if self.delivery.has_terminal()
            && let Some((suspension, signal)) = self.suspensions.next_to_tell()
        {
            self.elector.send(&GuardMessage::Suspended { suspension, signal });
        }
    }

    fn continued(&mut self) {
        self.suspensions.end(Moment::now());
        self.continue_elector();
    }

    /// Continues the elector as well, if that has stopped itself: others may continue the command alone.
    pub(super) fn continue_elector(&mut self) {
        if self.suspensions.is_time_to_remind(Moment::now()) {
            self.elector.continue_elector();
        }
    }

    fn main_ended(&mut self, ending: Ending) {
        // The result of its exec is there by now; it comes first.
        self.take_start_result();
        if !self.times.is_stopping() && !self.times.is_killing() && self.times.due(Moment::now()) == Some(Due::Kill) {
            // The guard was stopped itself, and the command ran on: its end comes after that of its leadership.
            self.times.kill_at(Moment::now());
            self.elector.send(&GuardMessage::Signalled);
        }
        let group = self.command.group();
        if self.command.forget() {
            self.leftovers.main_ended(group, ending, Moment::now());
            self.delivery.end();
            let is_killed = self.times.is_killing() && ending == Ending::Signal(SIGKILL);
            if let Some(lease) = &mut self.lease {
                lease.ending = Some(ending).filter(|_| !is_killed && !self.times.is_stopping());
            }
            self.elector.send(&GuardMessage::Exited { ending });
        }
    }

    /// Asks what the main process has left behind to stop, once that is gone.
    pub(super) fn leave_nothing_behind(&mut self) {
        if self.has_leftovers()
            && let Some(members) = self.leftovers.take_due(Moment::now())
        {
            self.clear_up(members);
        }
    }

    /// Returns whether there may be something to be asked to stop.
    pub(super) fn has_leftovers(&self) -> bool {
        self.occupied && !self.times.is_killing()
    }

    fn tree_is_empty(&mut self) {
        if self.occupied {
            self.occupied = false;
            self.elector.send(&GuardMessage::Empty { at: Moment::now() });
        }
    }

    /// A stop that is under way has its own time.
    fn clear_up(&mut self, members: Members) {
        if !self.times.is_stopping() {
            self.times.kill_at(Moment::now() + self.stop_timeout);
        }
        for (signal, members) in [(self.stop_signal, members), (SIGCONT, Members::All)] {
            let _ = self.tree.signal(signal, members, self.times.look_until(Moment::now()));
        }
        self.elector.send(&GuardMessage::AskedToStop);
        self.allow_for_killing();
    }
}
