//! The guard's loop: orders, signals and time come in; the command's tree is started, signalled, killed and reaped.

use std::{io, os::fd::OwnedFd, time::Duration};

use anyhow::Result;
use nix::{
    errno::Errno,
    libc,
    sys::signal::Signal,
    unistd::{Pid, setpgid},
};

use super::{
    descriptors,
    protocol::{Channel, Ending, GuardMessage, Order, Received, Recipient},
    spawn::{CommandSpec, exec_error},
    terminal::Terminal,
    tree::{self, ChildStatus, Members, Tree},
    wakeups::Wakeups,
};
use crate::{clock::Moment, event::Event, lease::Deadlines, lock::ReleaseKey, report::Report};

/// How often a tree that is being killed is looked through again: a process may fork while its parent dies slowly.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the guard is made with; the rest it is told.
pub struct GuardConfig {
    pub channel: Channel,
    pub spec: CommandSpec,
    pub terminal: Option<Terminal>,
    pub tree: Tree,
    /// The signal that asks the command to stop, and the time it then has.
    pub signal: Signal,
    pub kill_after: Duration,
    pub report: Report,
    pub command: String,
}

/// How the guard's work ended.
#[derive(Debug)]
pub enum GuardEnd {
    /// The elector has released, or there is nothing to release.
    Done,
    /// The elector is gone and the tree is dead: the lease is left to us.
    LeaseLeft(OrphanedLease, ElectorEnd),
}

/// What is known of a leadership.
#[derive(Debug)]
pub struct OrphanedLease {
    pub release_key: ReleaseKey,
    pub token: u64,
    /// When the command was started.
    pub began: Moment,
    /// It ended by itself, with 0.
    pub succeeded: bool,
}

struct Supervisor {
    config: GuardConfig,
    wakeups: Wakeups,
    leadership: Option<OrphanedLease>,
    deadlines: Option<Deadlines>,
    /// The lock's descriptor, held for as long as we live: the lock is free when elector and guard are both gone.
    lock: Option<OwnedFd>,
    /// Set between fork and exec.
    starting: Option<OwnedFd>,
    /// The command's main process until it is reaped.
    main: Option<Pid>,
    suspended: bool,
    /// When the tree is killed, once it has been asked to stop.
    kill_at: Option<Moment>,
    killing: bool,
    unkillable_told: bool,
    /// What the main process left behind has been asked to stop.
    cleared_up: bool,
    /// Something was started and we have not seen the tree empty since.
    occupied: bool,
    elector_end: Option<ElectorEnd>,
}

/// How we lost the elector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectorEnd {
    Died,
    /// What it orders can't be read.
    Unintelligible(Errno),
}

/// Runs until there is nothing left to guard.
///
/// # Errors
/// Only what the system refuses before the command is started.
pub fn run(config: GuardConfig) -> Result<GuardEnd> {
    let mut guard = Supervisor {
        config,
        wakeups: Wakeups::new()?,
        leadership: None,
        deadlines: None,
        lock: None,
        starting: None,
        main: None,
        suspended: false,
        kill_at: None,
        killing: false,
        unkillable_told: false,
        cleared_up: false,
        occupied: false,
        elector_end: None,
    };
    loop {
        if let Some(outcome) = guard.turn() {
            return Ok(outcome);
        }
    }
}

impl Supervisor {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> Option<GuardEnd> {
        let next = self.next_deadline();
        if let Err(e) = self.wakeups.at(next.filter(|_| self.occupied)) {
            self.lose_timer(&e);
        }
        let ready =
            self.wakeups.wait(self.elector_end.is_none().then_some(&self.config.channel), self.starting.as_ref());
        if ready.orders && self.take_orders() {
            return Some(GuardEnd::Done);
        }
        if ready.exec {
            self.take_exec_result();
        }
        if ready.children {
            self.reap();
        }
        self.keep_time();
        self.over()
    }

    fn next_deadline(&self) -> Option<Moment> {
        if self.killing {
            return Some(Moment::now() + LOOK_AGAIN);
        }
        match (self.kill_at, self.deadlines) {
            (None, deadlines) => deadlines.map(|deadlines| deadlines.stop_at),
            (Some(kill_at), deadlines) => Some(deadlines.map_or(kill_at, |deadlines| kill_at.min(deadlines.kill_at))),
        }
    }

    fn tell(&mut self, event: &GuardMessage) {
        if self.elector_end.is_none() && self.config.channel.send(event, None) == Err(Errno::EPIPE) {
            self.lose_elector(ElectorEnd::Died);
        }
    }

    /// True when there is nothing left to do.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.config.channel.receive() {
                Ok(Received::Message(Order::End, _)) => return true,
                Ok(Received::Message(order, descriptor)) => {
                    self.lock = self.lock.take().or(descriptor);
                    self.obey(order);
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return false,
                Ok(Received::End) => {
                    self.lose_elector(ElectorEnd::Died);
                    return false;
                }
                Err(errno) => {
                    self.lose_elector(ElectorEnd::Unintelligible(errno));
                    return false;
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { token, deadlines, release_key } => {
                self.deadlines = deadlines;
                self.leadership = Some(OrphanedLease { release_key, token, began: Moment::now(), succeeded: false });
                self.config.report.leads_with(token);
                self.start(token);
            }
            Order::Extend { deadlines, release_key } => {
                self.deadlines = Some(deadlines);
                if let Some(leadership) = &mut self.leadership {
                    leadership.release_key = release_key;
                }
                self.tell(&GuardMessage::Extended { deadlines });
            }
            Order::Stop => self.stop(),
            Order::Signal { signal, to } => self.pass_on(signal, to),
            Order::Continue => {
                if self.suspended {
                    self.pass_on(libc::SIGCONT, Recipient::Group);
                }
            }
            Order::End => {}
        }
    }

    fn start(&mut self, token: u64) {
        match self.config.spec.spawn(token, self.deadlines.map(|deadlines| deadlines.stop_at)) {
            Ok(spawned) => {
                self.main = Some(spawned.pid);
                // Out of the command's group, and of the shell's job, before either can be stopped: the guard never is.
                let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
                self.starting = Some(spawned.failure);
                self.occupied = true;
            }
            Err(errno) => {
                self.tell(&GuardMessage::NotForked { errno: errno as i32 });
                self.tell(&GuardMessage::Empty);
            }
        }
    }

    fn take_exec_result(&mut self) {
        let Some(failure) = self.starting.take() else { return };
        match (exec_error(&failure), self.main) {
            (Some(Errno::ETIME), _) => {
                // The lease ran out before the command was there: stopping it is all that is left.
                self.main = None;
                self.stop();
            }
            (Some(errno), _) => {
                self.main = None;
                self.tell(&GuardMessage::NotStarted { errno: errno as i32 });
            }
            (None, Some(pid)) => {
                self.tell(&GuardMessage::Started { pid: pid.as_raw() });
                descriptors::let_go();
            }
            (None, None) => {}
        }
    }

    fn pass_on(&self, signal: libc::c_int, to: Recipient) {
        // Only while the main process is unreaped is its id, and that of the group it leads, certain to be its own.
        let Some(main) = self.main else { return };
        match (to, &self.config.terminal) {
            (Recipient::Command, _) => send(main.as_raw(), signal),
            (Recipient::Group, None) => send(-main.as_raw(), signal),
            (Recipient::Group, Some(terminal)) => {
                let _ = self.config.tree.signal(signal, Members::Group(terminal.group));
            }
        }
    }

    /// The lease can't be kept: asks the command to stop, once.
    fn stop(&mut self) {
        if self.kill_at.is_some() {
            return;
        }
        self.kill_at = Some(Moment::now() + self.config.kill_after);
        self.pass_on(self.config.signal as libc::c_int, Recipient::Group);
        self.pass_on(libc::SIGCONT, Recipient::Group);
        self.tell(&GuardMessage::Signalled);
    }

    /// The main process is gone: what it left behind goes too.
    fn clear_up(&mut self) {
        self.cleared_up = true;
        let clear_by = Moment::now() + self.config.kill_after;
        self.kill_at = Some(self.kill_at.map_or(clear_by, |at| at.min(clear_by)));
        let _ = self.config.tree.signal(self.config.signal as libc::c_int, Members::All);
        let _ = self.config.tree.signal(libc::SIGCONT, Members::All);
    }

    fn keep_time(&mut self) {
        if !self.occupied {
            return;
        }
        let now = Moment::now();
        // A campaign of faults must find a guard that keeps no deadline.
        let deadlines = self.deadlines.filter(|_| !cfg!(broken = "deadline"));
        if self.killing
            || self.kill_at.is_some_and(|at| now >= at)
            || deadlines.is_some_and(|deadlines| now >= deadlines.kill_at)
        {
            self.kill();
        } else if deadlines.is_some_and(|deadlines| now >= deadlines.stop_at) {
            self.stop();
        }
    }

    fn kill(&mut self) {
        if !self.killing && self.kill_at.is_none() {
            self.kill_at = Some(Moment::now());
            self.tell(&GuardMessage::Signalled);
        }
        self.killing = true;
        if let Some(main) = self.main {
            send(main.as_raw(), libc::SIGKILL);
        }
        // Children that can't be listed now are looked for again.
        let spared = self.config.tree.signal(libc::SIGKILL, Members::All).unwrap_or_default();
        self.reap();
        if let Some(spared) = spared.filter(|_| self.occupied && !self.unkillable_told) {
            self.unkillable_told = true;
            let event = GuardMessage::Unkillable { pid: spared.pid.as_raw(), errno: spared.errno as i32 };
            self.tell(&event);
            if self.elector_end.is_some() {
                let (pid, errno, command) = (spared.pid, spared.errno.desc(), &self.config.command);
                let told = format_args!(
                    "process {pid} of {command} can't be killed: {errno}; the lease is kept until it runs out"
                );
                self.config.report.error(Event::Failed, told);
            }
        }
    }

    fn reap(&mut self) {
        // Told before it is reaped: if we are killed between the two, the elector can still see how the command ended.
        if let Some(ending) = self.main.and_then(tree::peek_at) {
            self.main_ended(ending);
        }
        loop {
            match tree::reap() {
                ChildStatus::Suspended(pid) if Some(pid) == self.main => {
                    self.suspended = true;
                    self.tell(&GuardMessage::Suspended);
                }
                ChildStatus::Continued(pid) if Some(pid) == self.main => self.suspended = false,
                ChildStatus::Ended | ChildStatus::Suspended(_) | ChildStatus::Continued(_) => {}
                ChildStatus::Quiet => {
                    if self.main.is_none() && self.occupied && !self.cleared_up {
                        self.clear_up();
                    }
                    return;
                }
                ChildStatus::Empty => {
                    if self.occupied {
                        self.occupied = false;
                        self.tell(&GuardMessage::Empty);
                    }
                    return;
                }
            }
        }
    }

    fn main_ended(&mut self, ending: Ending) {
        // The result of its exec is there by now; it comes first.
        self.take_exec_result();
        if self.main.take().is_some() {
            if let Some(leadership) = &mut self.leadership {
                leadership.succeeded = ending == Ending::Code(0) && self.kill_at.is_none();
            }
            self.tell(&GuardMessage::Exited { ending });
        }
    }

    fn lose_elector(&mut self, end: ElectorEnd) {
        // A campaign of faults must find a guard that outlives its elector.
        if cfg!(broken = "elector") {
            return;
        }
        self.elector_end.get_or_insert(end);
        if self.occupied {
            self.killing = true;
        }
    }

    /// Without a timer no deadline can be kept: the command may not run on.
    fn lose_timer(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.killing, true) {
            self.tell(&GuardMessage::NoTimer { errno: error.raw_os_error().unwrap_or_default() });
        }
    }

    fn over(&mut self) -> Option<GuardEnd> {
        let end = self.elector_end.filter(|_| !self.occupied)?;
        let Some(leadership) = self.leadership.take() else { return Some(GuardEnd::Done) };
        if let Some(terminal) = &self.config.terminal {
            terminal.put_back();
        }
        Some(GuardEnd::LeaseLeft(leadership, end))
    }
}

/// kill(2) to a child of ours that is not reaped, or to the group that it leads.
fn send(target: libc::pid_t, signal: libc::c_int) {
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(target, signal) };
}
