//! The guard's loop: orders, signals and time come in; the command's tree is started, signalled and killed.

mod children;

use std::{io, os::fd::OwnedFd, time::Duration};

use nix::{
    errno::Errno,
    libc::{SIGCONT, c_int},
    sys::signal::Signal,
    unistd::Pid,
};

use super::{
    command::{Command, StartResult},
    delivery::Delivery,
    elector_link::{ElectorLink, ReceivedOrder},
    killing::Killing,
    leftovers::Leftovers,
    orphaned::{GuardEnd, OrphanedLease},
    protocol::{GuardMessage, Order, Recipient, Sender},
    spawn::CommandSpec,
    suspensions::Suspensions,
    timetable::{Due, Timetable},
    tree::{Spared, Tree},
    wakeups::{Wakeup, Wakeups},
};
use crate::{
    clock::Moment,
    event::Event,
    lease::{Deadlines, FencingToken},
    lock::{ReleaseKey, Slot},
    report::Report,
    sys::descriptors,
};

/// What the guard starts with. The elector's orders bring the rest.
pub(super) struct GuardConfig {
    pub elector: ElectorLink,
    pub spec: CommandSpec,
    pub delivery: Delivery,
    pub tree: Tree,
    pub wakeups: Wakeups,
    /// The signal that asks the command to stop, and the time that the command then has if the lease can't be kept.
    pub signal: Signal,
    pub kill_after: Duration,
    /// The time that it has if the lease isn't lost, and that what it leaves behind has.
    pub stop_timeout: Duration,
    pub report: Report,
    /// The command's name, for messages.
    pub command: String,
}

struct Supervisor {
    elector: ElectorLink,
    command: Command,
    delivery: Delivery,
    tree: Tree,
    killing: Killing,
    times: Timetable,
    wakeups: Wakeups,
    stop_signal: c_int,
    kill_after: Duration,
    stop_timeout: Duration,
    report: Report,
    command_name: String,
    lease: Option<OrphanedLease>,
    /// The lock's descriptors, held for as long as we live: the lock is free when elector and guard are both gone.
    lock: Vec<OwnedFd>,
    /// More children may have changed than one turn could take.
    changes_left: bool,
    suspensions: Suspensions,
    kill_reported: bool,
    unkillable_reported: bool,
    leftovers: Leftovers,
    /// Something was started and we have not seen the tree empty since.
    occupied: bool,
}

/// Runs until there is nothing left to guard.
pub(super) fn run(config: GuardConfig) -> GuardEnd {
    let mut guard = Supervisor {
        wakeups: config.wakeups,
        elector: config.elector,
        command: Command::new(config.spec),
        delivery: config.delivery,
        tree: config.tree,
        killing: Killing::default(),
        times: Timetable::default(),
        stop_signal: config.signal as c_int,
        kill_after: config.kill_after,
        stop_timeout: config.stop_timeout,
        report: config.report,
        command_name: config.command,
        lease: None,
        lock: Vec::new(),
        changes_left: false,
        suspensions: Suspensions::default(),
        kill_reported: false,
        unkillable_reported: false,
        leftovers: Leftovers::default(),
        occupied: false,
    };
    loop {
        if let Some(end) = guard.turn() {
            return end;
        }
    }
}

impl Supervisor {
    /// Waits for something to happen and handles it.
    fn turn(&mut self) -> Option<GuardEnd> {
        self.set_timer();
        let ready = self.wakeups.wait().unwrap_or_else(|e| {
            self.lose_timer(&e);
            Wakeup::default()
        });
        self.delivery.take_note(ready.signals, self.lease.is_some());
        if ready.orders && self.take_orders() {
            return Some(GuardEnd::Done);
        }
        if ready.exec {
            self.take_start_result();
        }
        if ready.children || self.changes_left {
            self.reap();
        }
        self.keep_time();
        self.end()
    }

    /// Sets the timer to the next moment.
    fn set_timer(&mut self) {
        let now = Moment::now();
        let due = self.times.next(now).filter(|_| self.occupied);
        let at_once = Some(now).filter(|_| self.changes_left);
        let leftovers = self.leftovers.next().filter(|_| self.has_leftovers());
        let others = [self.delivery.next(), self.suspensions.next_reminder(), leftovers];
        let next = others.into_iter().chain([due, at_once]).flatten().min();
        if let Err(e) = self.wakeups.at(next.map(|next| next.max(now))) {
            self.lose_timer(&e);
        }
    }

    /// Kills the command: without a timer, or if it can't be waited for, no deadline can be kept.
    fn lose_timer(&mut self, error: &io::Error) {
        if self.times.start_killing() {
            self.elector.send(&GuardMessage::NoTimer { errno: number(error) });
        }
    }

    /// Obeys the pending orders. Returns whether the last one was to end.
    fn take_orders(&mut self) -> bool {
        while let Some(ReceivedOrder { order, lock }) = self.elector.next_order() {
            if matches!(order, Order::End) {
                return true;
            }
            self.lock.extend(lock);
            self.obey(order);
        }
        self.tell_suspension();
        false
    }

    fn obey(&mut self, order: Order) {
        if matches!(order, Order::Signal { .. } | Order::Stop { .. }) {
            // A command that has ended by now has ended without us. What others have sent it, its group has, too.
            self.reap();
        }
        if let Order::Signal { signal, to: Recipient::Group | Recipient::GroupApart, .. } = order {
            self.leftovers.group_gets(signal, self.command.group());
        }
        match order {
            Order::Start { slot, token, deadlines, release_key } => self.lead(slot, token, deadlines, release_key),
            Order::Extend { deadlines, release_key } => self.extend(deadlines, release_key),
            Order::Stop { kill_after } => self.stop(kill_after),
            Order::Signal { signal, from: Sender::Process(sender) | Sender::Manager(sender), .. }
                if self.is_for_group(signal, sender) =>
            {
                self.pass_on(signal, Recipient::GroupApart);
            }
            Order::Signal { signal, to, from: Sender::Manager(sender) } => self.delivery.hold(signal, to, sender),
            Order::Signal { signal, to, .. } => self.pass_on(signal, to),
            Order::Told { suspension } => self.suspensions.answered(suspension),
            Order::Continue { suspension } => self.go_on(suspension),
            Order::End => {}
        }
    }

    /// Continues the command, unless this suspension is over. One that follows it is somebody's new wish.
    fn go_on(&mut self, suspension: u32) {
        self.reap();
        if self.suspensions.lasts(suspension) {
            self.pass_on(SIGCONT, Recipient::Group);
        }
    }

    /// Takes over a lease that has been won, and starts the command.
    fn lead(&mut self, slot: Slot, token: FencingToken, deadlines: Option<Deadlines>, release_key: ReleaseKey) {
        self.times.keep(deadlines, Moment::now());
        self.lease = Some(OrphanedLease { slot, release_key, token, began: Moment::now(), ending: None });
        self.report.leads_with(slot, token);
        self.delivery.begin();
        let by = self.times.stop_at();
        let started = self.command.start(slot, token, by).or_else(|_| {
            // The bystander may have taken the last process or descriptor.
            self.delivery.end();
            self.command.start(slot, token, by)
        });
        match started {
            Ok(()) => {
                self.changes_left |= self.delivery.leave_group(&self.command, &self.wakeups);
                self.occupied = true;
                if let Err(e) = self.command.pending_exec().map_or(Ok(()), |exec| self.wakeups.watch_exec(exec)) {
                    self.lose_timer(&e);
                }
            }
            Err(errno) => {
                self.elector.send(&GuardMessage::NotForked { errno });
                self.elector.send(&GuardMessage::Empty { at: Moment::now() });
            }
        }
    }

    fn extend(&mut self, deadlines: Option<Deadlines>, release_key: ReleaseKey) {
        self.times.keep(deadlines, Moment::now());
        if let Some(lease) = &mut self.lease {
            lease.release_key = release_key;
        }
        self.elector.send(&GuardMessage::Extended { deadlines });
    }

    fn take_start_result(&mut self) {
        match self.command.start_result() {
            Some(StartResult::Started(pid)) => {
                self.elector.send(&GuardMessage::Started { pid });
                descriptors::let_go();
            }
            // All that is left is to stop it.
            Some(StartResult::TooLate) => self.stop(self.kill_after),
            Some(StartResult::Failed(errno)) => self.elector.send(&GuardMessage::NotStarted { errno }),
            None => {}
        }
        if !self.command.is_running() {
            self.delivery.end();
        }
    }

    /// Returns whether a process has sent a signal to the group that the command shares with the elector.
    fn is_for_group(&mut self, signal: c_int, sender: i32) -> bool {
        let (sender, until) = (Pid::from_raw(sender), self.times.look_until(Moment::now()));
        if !self.delivery.bystander().is_some_and(|bystander| bystander.has_got(signal, sender, until)) {
            return false;
        }
        // What was sent to all processes of our name has reached us before the bystander, which is younger.
        let late = self.wakeups.take_signals();
        self.changes_left |= late.children;
        self.delivery.take_note(late.signals, true);
        self.delivery.bystander().is_some_and(|bystander| !bystander.guard_has_got(signal, sender))
    }

    fn pass_on(&self, signal: c_int, to: Recipient) {
        let until = self.times.look_until(Moment::now());
        self.delivery.deliver(signal, to, &self.command, &self.tree, until);
    }

    /// Asks the command to stop, once, and has it killed after this time, or earlier.
    fn stop(&mut self, kill_after: Duration) {
        let is_stopping = self.times.is_stopping();
        self.times.kill_at(Moment::now() + kill_after);
        if is_stopping {
            return;
        }
        if let Some(group) = self.command.group() {
            self.leftovers.group_is_asked(group);
        }
        self.pass_on(self.stop_signal, Recipient::Group);
        self.pass_on(SIGCONT, Recipient::Group);
        self.allow_for_killing();
        self.elector.send(&GuardMessage::Signalled);
        self.elector.send(&GuardMessage::AskedToStop);
    }

    /// Has the killing begin early enough for the tree as it is now.
    fn allow_for_killing(&mut self) {
        let began = Moment::now();
        let size = self.tree.size(|size| self.times.leaves_no_time(size));
        self.times.allow_for_killing(size, began, Moment::now());
    }

    fn keep_time(&mut self) {
        self.continue_elector();
        self.leave_nothing_behind();
        while let Some((signal, to)) = self.delivery.next_held() {
            self.pass_on(signal, to);
        }
        if !self.occupied {
            return;
        }
        if self.elector.end().is_some() {
            self.times.start_killing();
        }
        if self.times.is_time_to_count(Moment::now()) {
            self.allow_for_killing();
        }
        match self.times.due(Moment::now()) {
            Some(Due::Kill) => self.kill(),
            Some(Due::Stop) => self.stop(self.kill_after),
            None => {}
        }
    }

    /// Kills the tree as it is now, and reaps it. What survives is looked for again.
    fn kill(&mut self) {
        if self.times.kill_without_stop(Moment::now()) {
            self.elector.send(&GuardMessage::Signalled);
        }
        if !std::mem::replace(&mut self.kill_reported, true) {
            self.elector.send(&GuardMessage::Killing);
        }
        self.command.kill();
        // Children that can't be listed now are looked for again.
        let group = self.command.made_group();
        let spared = self.killing.go_on(&self.tree, &[], group).unwrap_or_default();
        self.reap();
        if let Some(spared) = spared.filter(|_| self.occupied && !self.unkillable_reported) {
            self.unkillable_reported = true;
            self.report_unkillable(spared);
        }
    }

    /// Reports a process that can't be killed: to the elector or, if that is gone, on stderr.
    fn report_unkillable(&mut self, Spared { pid, errno }: Spared) {
        self.elector.send(&GuardMessage::Unkillable { pid, errno });
        if self.elector.end().is_some() {
            let (errno, command) = (errno.desc(), &self.command_name);
            let message = format_args!(
                "process {pid} of {command} can't be killed: {errno}; the lease is kept until it runs out"
            );
            self.report.error(Event::Failed, message);
        }
    }

    /// Returns how the guard's work ended, once the elector is gone and the tree is dead.
    fn end(&mut self) -> Option<GuardEnd> {
        let end = self.elector.end().filter(|_| !self.occupied)?;
        let Some(lease) = self.lease.take() else { return Some(GuardEnd::Done) };
        self.delivery.put_terminal_back();
        Some(GuardEnd::LeaseLeft(lease, end))
    }
}

fn number(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}
