//! Who gets a signal: the command alone, or its process group with it, whatever group that is.

use nix::{
    libc::{SIGCONT, SIGSTOP, c_int},
    unistd::Pid,
};

use super::{
    bystander::Bystander,
    command::Command,
    copies::Copies,
    protocol::Recipient,
    session,
    signals::{Signaled, stops_by_default},
    terminal::Terminal,
    tree::{Members, Tree},
    wakeups::Wakeups,
};
use crate::clock::Moment;

/// Delivers signals to the command, and knows which it has already.
pub(super) struct Delivery {
    terminal: Option<Terminal>,
    /// Whether a shell could continue our process group.
    job_control: bool,
    /// Tells what is sent to the group that the command shares with the elector; `None` if it shares none, or no process
    /// could be forked for it.
    bystander: Option<Bystander>,
    copies: Copies,
    /// Signals of the terminal that came before the command was started.
    early: Vec<Signaled>,
}

impl Delivery {
    pub(super) fn new(terminal: Option<Terminal>, job_control: bool) -> Self {
        Delivery { terminal, job_control, bystander: None, copies: Copies::default(), early: Vec::new() }
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Restores the terminal's settings, which a killed command may have left changed.
    pub(super) fn put_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.put_back();
        }
    }

    /// Takes note of signals that the guard has got itself.
    pub(super) fn take_note(&mut self, signals: Vec<Signaled>, is_started: bool) {
        let now = Moment::now();
        for signal in signals {
            if signal.by_terminal() && signal.ends_a_process() && !is_started {
                self.early.push(signal);
            } else if !signal.by_kernel {
                self.copies.hear(signal.number, signal.sender.as_raw(), now);
                if let Some(bystander) = &mut self.bystander {
                    bystander.hear_in_guard(signal);
                }
            }
        }
    }

    /// Prepares for the command, which is about to be forked, and may send signals to its group at once.
    pub(super) fn begin(&mut self) {
        if self.has_terminal() {
            self.bystander = Bystander::fork().ok();
        }
    }

    /// Leaves the process group of the command, which has just been forked, and the shell's job, before either can be
    /// stopped: the guard never is. Returns whether children have changed.
    pub(super) fn leave_group(&mut self, command: &Command, wakeups: &Wakeups) -> bool {
        session::leave_group();
        let late = wakeups.take_signals();
        // What was sent to the group may have come before the command was in it. Sent once more, it is the same signal for as
        // long as the command hasn't taken it. What processes have sent, the elector passes on, unless a bystander has it.
        let has_bystander = self.bystander.is_some();
        let signals = std::mem::take(&mut self.early).into_iter().chain(late.signals);
        let is_lost = |signal: &Signaled| {
            signal.by_terminal() || has_bystander && !signal.by_kernel && !command.was_there_before(signal.sender)
        };
        for signal in signals.filter(|signal| signal.ends_a_process() && is_lost(signal)) {
            command.signal(signal.number);
        }
        late.children
    }

    /// Returns the process that tells what was sent to the group which the command shares with the elector.
    pub(super) fn bystander(&mut self) -> Option<&mut Bystander> {
        self.bystander.as_mut()
    }

    /// Has nothing more to deliver, since the main process is gone. All children are the command's from now on.
    pub(super) fn end(&mut self) {
        self.bystander = None;
    }

    /// Delivers a signal of a service manager in a moment, unless the command has got it from the manager.
    pub(super) fn hold(&mut self, signal: c_int, to: Recipient, manager: i32) {
        self.copies.hold(signal, to, manager, Moment::now());
    }

    /// Returns when a signal that is held is to be delivered.
    pub(super) fn next(&self) -> Option<Moment> {
        self.copies.next()
    }

    /// Returns the next signal that has been held for long enough.
    pub(super) fn next_held(&mut self) -> Option<(c_int, Recipient)> {
        self.copies.due(Moment::now())
    }

    /// Delivers a signal; in a group that isn't the command's alone, as far as its processes are found until this moment.
    /// Does nothing if the main process is gone.
    pub(super) fn deliver(&self, signal: c_int, to: Recipient, command: &Command, tree: &Tree, until: Moment) {
        let Some(group) = command.group() else { return };
        let is_ours = self.terminal.as_ref().is_some_and(|terminal| terminal.group == group);
        match to {
            // What stopped a group apart was passed on to all of it.
            Recipient::Command if signal == SIGCONT && self.has_terminal() && !is_ours => {
                deliver_to_group(signal, group, command, tree, until);
            }
            Recipient::Command => command.signal(signal),
            Recipient::Group => deliver_to_group(signal, group, command, tree, until),
            Recipient::GroupApart if is_ours => {}
            Recipient::GroupApart => deliver_to_group(self.effective(signal, command), group, command, tree, until),
        }
    }

    /// Returns the signal that does what this one would do without us: nobody but we could continue a group apart, so the
    /// kernel doesn't stop it for a terminal's signal.
    fn effective(&self, signal: c_int, command: &Command) -> c_int {
        let stops = self.job_control && stops_by_default(signal) && command.takes_default_action(signal);
        if stops { SIGSTOP } else { signal }
    }
}

/// Others may belong to a group that the command has only joined, or that is ours.
fn deliver_to_group(signal: c_int, group: Pid, command: &Command, tree: &Tree, until: Moment) {
    if command.owns(group) {
        command.signal_group(signal);
    } else {
        let _ = tree.signal(signal, Members::Group(group), until);
    }
}
