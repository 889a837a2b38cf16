//! Signals while we lead: whom those that come in are for, and what is reported of those that go out.

use nix::{libc, unistd::getppid};

use super::Leadership;
use crate::{
    event::{Details, Event},
    guard::{Guard, Order, Recipient, Sender, Signaled, asks_to_end},
    report::Report,
    sys::signal::signal_name,
    systemd,
};

impl<G: Guard> Leadership<'_, G> {
    /// Passes a signal on to whom it would have reached without us.
    pub(super) fn pass_on(&mut self, signal: Signaled) {
        report_received(signal, &self.settings.report);
        let to = match signal.number {
            _ if signal.by_terminal() && self.guard.has_terminal() => self.recipient_of_terminal(signal),
            number if asks_to_end(number) => Recipient::Group,
            _ => Recipient::Command,
        };
        self.told_to_end |= asks_to_end(signal.number) && self.stopping.is_none();
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

    /// Reports that the command was asked to stop, or what it has left behind.
    pub(super) fn reports_stop(&self) {
        let (signal, command) = (self.settings.signal.as_str(), self.command());
        let left = if self.ending.is_some() { "what is left of " } else { "" };
        let message = format_args!("sent {signal} to {left}{command}");
        self.settings.report.info_with(Event::SignalSent, &Details::of_signal(signal), message);
    }

    /// Reports that the command is being killed, or what it has left behind.
    pub(super) fn reports_kill(&self) {
        let details = Details::of_signal("SIGKILL");
        let message = format_args!("sent SIGKILL to {} and all it started", self.command());
        self.settings.report.info_with(Event::Killed, &details, message);
    }
}

/// Reports a signal that has come in: with `--verbose` if it may end a process, and otherwise with the rounds.
pub(crate) fn report_received(signal: Signaled, report: &Report) {
    let name = signal_name(signal.number);
    let details = Details::of_signal(&*name);
    let from = match signal {
        _ if signal.by_terminal() => "the terminal".to_owned(),
        Signaled { by_kernel: true, .. } => "the kernel".to_owned(),
        Signaled { sender, .. } => format!("process {sender}"),
    };
    let message = format_args!("got {name} from {from}");
    if signal.ends_a_process() {
        report.info_with(Event::SignalReceived, &details, message);
    } else {
        report.debug(Event::SignalReceived, message);
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
