//! Signals that we get while the command runs: to whom they are passed on.

use nix::{libc, unistd::getppid};

use super::Leadership;
use crate::{
    guard::{Guard, Order, Recipient, Sender, Signaled},
    systemd,
};

impl<G: Guard> Leadership<'_, G> {
    /// Passes a signal on to whom it would have reached without us.
    pub(super) fn pass_on(&mut self, signal: Signaled) {
        let to = match signal.number {
            _ if signal.by_terminal() && self.guard.has_terminal() => self.recipient_of_terminal(signal),
            libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT => Recipient::Group,
            _ => Recipient::Command,
        };
        let ends = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT].contains(&signal.number);
        self.told_to_end |= ends && self.stopping.is_none();
        let under_terminal = self.guard.has_terminal();
        self.stop_passed_on |= signal.stops_a_process() && !signal.by_terminal();
        let order = match signal.number {
            libc::SIGCONT if under_terminal && !std::mem::take(&mut self.stop_passed_on) => {
                Order::Continue { suspension: self.suspension }
            }
            signal_number => Order::Signal { signal: signal_number, to, from: sender_of(signal) },
        };
        self.guard.pass_on(&order);
    }

    /// The kernel sends a terminal's signals to our whole process group, but a hang-up to the session's leader alone.
    fn recipient_of_terminal(&self, signal: Signaled) -> Recipient {
        let for_leader = signal.number == libc::SIGHUP && self.guard.leads_session();
        if for_leader { Recipient::Command } else { Recipient::GroupApart }
    }
}

/// Returns who has sent a signal.
fn sender_of(signal: Signaled) -> Sender {
    let sender = signal.sender.as_raw();
    let is_manager = || (sender == 1 || signal.sender == getppid()) && systemd::has_unit();
    match signal.by_kernel {
        true => Sender::Kernel,
        false if is_manager() => Sender::Manager(sender),
        false => Sender::Process(sender),
    }
}
