//! Who gets a signal: the command alone, or its process group with it, whatever group that is.

use nix::libc::c_int;

use super::{
    command::Command,
    copies::Copies,
    protocol::Recipient,
    session,
    signals::Signaled,
    terminal::Terminal,
    tree::{Members, Tree},
    wakeups::{Wakeup, Wakeups},
};
use crate::clock::Moment;

/// Delivers signals to the command, and knows which it has already.
pub(super) struct Delivery {
    terminal: Option<Terminal>,
    /// Whether a shell could continue our process group.
    job_control: bool,
    copies: Copies,
    /// Signals of the terminal that came before the command was started.
    early: Vec<Signaled>,
}

impl Delivery {
    pub(super) fn new(terminal: Option<Terminal>, job_control: bool) -> Self {
        Delivery { terminal, job_control, copies: Copies::default(), early: Vec::new() }
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
            }
        }
    }

    /// Leaves the process group of the command, which has just been forked, and the shell's job, before either can be
    /// stopped: the guard never is. Returns whether children have changed.
    pub(super) fn leave_group(&mut self, command: &Command, wakeups: &Wakeups) -> bool {
        session::leave_group(self.job_control);
        let mut late = Wakeup::default();
        wakeups.take_signals(&mut late);
        // What the terminal has sent to the group may have come before the command was in it. Sent once more, it is the
        // same signal for as long as the command hasn't taken it.
        let signals = std::mem::take(&mut self.early).into_iter().chain(late.signals);
        for signal in signals.filter(|signal| signal.by_terminal() && signal.ends_a_process()) {
            command.signal(signal.number);
        }
        late.children
    }

    /// Delivers a signal of a service manager in a moment, unless the command has got it from the manager.
    pub(super) fn hold(&mut self, signal: c_int, to: Recipient, manager: i32) {
        self.copies.hold(signal, to, manager, Moment::now());
    }

    /// Returns when a signal that is held is to be delivered.
    pub(super) fn next(&self) -> Option<Moment> {
        self.copies.next()
    }

    /// Delivers the signals that have been held for long enough.
    pub(super) fn deliver_held(&mut self, command: &Command, tree: &Tree) {
        while let Some((signal, to)) = self.copies.due(Moment::now()) {
            self.deliver(signal, to, command, tree);
        }
    }

    /// Delivers a signal. Does nothing if the main process is gone.
    pub(super) fn deliver(&self, signal: c_int, to: Recipient, command: &Command, tree: &Tree) {
        let Some(group) = command.group() else { return };
        // Not all of our group is the command's.
        let ours = self.terminal.as_ref().is_some_and(|terminal| terminal.group == group);
        match to {
            Recipient::Command => command.signal(signal),
            Recipient::Group if ours => drop(tree.signal(signal, Members::Group(group))),
            Recipient::GroupApart if ours => {}
            Recipient::Group | Recipient::GroupApart => command.signal_group(signal),
        }
    }
}
