//! Leading: the lease is extended while the command runs, until the command has ended or the lease can't be kept.

use std::{future::Future, pin::Pin, time::Duration};

use nix::{errno::Errno, libc, unistd::Pid};
use tokio::time::sleep;

use crate::{
    backend::Backend,
    clock::{Moment, reach},
    event::Event,
    exit::Exit,
    guard::{self, Ending, GuardEvent, GuardHandle, GuardMessage, Order, Recipient, Signaled},
    lease::Deadlines,
    lock::{Extension, Lease},
    once_per::Failures,
    renewal::RenewalSchedule,
    settings::Settings,
};

/// How often the tree of a dead guard is looked through until nothing is left.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

struct Leadership<'a> {
    backend: &'a Backend,
    settings: &'a Settings,
    guard: &'a mut GuardHandle,
    renewal: RenewalSchedule,
    /// The last deadlines that the guard has confirmed to keep: a guard that is alive acts on it in time, or has a longer one.
    kept_deadlines: Option<Deadlines>,
    extension: Option<Pin<Box<dyn Future<Output = Extension> + 'a>>>,
    /// How long after its time the extension began that is under way.
    late: Duration,
    /// Why the last extension failed.
    last_failure: Option<String>,
    /// The command's process, once it runs.
    pid: Option<Pid>,
    /// The command's own exit, or that it could not be started.
    command_exit: Option<Exit>,
    /// The lease can't be kept: the command has been signalled, and nothing is extended any more.
    lost: bool,
    /// We were asked to step down: the command has been signalled, and the lease is extended until it has ended.
    stepping_down: bool,
    guard_dead: bool,
}

/// A leadership that is over.
#[derive(Clone, Copy, Debug)]
pub struct LeadershipEnd {
    pub exit: Exit,
    /// Others are to lead now.
    pub stepped_down: bool,
    pub token: u64,
    /// When the command was started.
    pub began: Moment,
    /// Before that, how often the command had failed in this period.
    pub failures: Failures,
    /// Nobody else can lead before; `None` where the lease doesn't run out.
    pub alone_until: Option<Moment>,
}

/// Starts the command and leads until nothing of it is left, so that the lease can be released.
pub async fn run(lease: Lease, backend: &Backend, guard: &mut GuardHandle, settings: &Settings) -> LeadershipEnd {
    let began = Moment::now();
    let renewal = RenewalSchedule::new(settings.times, lease.sent, began);
    let deadlines = renewal.deadlines();
    let order = Order::Start { token: lease.token, deadlines, release_key: lease.release_key };
    let started = guard.order(&order, lease.descriptor);
    let mut leadership = Leadership {
        backend,
        settings,
        guard,
        renewal,
        kept_deadlines: deadlines,
        extension: None,
        late: Duration::ZERO,
        last_failure: None,
        pid: None,
        command_exit: None,
        lost: false,
        stepping_down: false,
        guard_dead: false,
    };
    if started.is_err() {
        leadership.guard_died();
    }
    let exit = leadership.lead().await;
    let alone_until = leadership.renewal.deadlines().map(|deadlines| deadlines.kill_at);
    LeadershipEnd {
        exit,
        stepped_down: leadership.stepping_down,
        token: lease.token,
        began,
        failures: lease.failures,
        alone_until,
    }
}

impl Leadership<'_> {
    async fn lead(&mut self) -> Exit {
        loop {
            if self.guard_dead && self.clear_after_guard() {
                return self.exit();
            }
            let watch_guard =
                self.kept_deadlines.filter(|_| !self.guard_dead).map(|deadlines| self.guard_overdue(deadlines));
            tokio::select! {
                replies = self.guard.hear() => {
                    if self.take(replies) {
                        return self.exit();
                    }
                }
                extension = in_flight(&mut self.extension) => {
                    self.extension = None;
                    self.take_extension(extension);
                }
                () = reach(Some(self.renewal.next_extension())), if self.extension.is_none() && !self.lost => {
                    self.late = self.renewal.overdue(Moment::now());
                    self.extension = Some(Box::pin(self.backend.extend(None)));
                }
                () = reach(watch_guard) => self.end_frozen_guard(),
                () = sleep(LOOK_AGAIN), if self.guard_dead => {}
            }
        }
    }

    /// Deals with what the guard says and with signals. True when nothing of the command is left.
    fn take(&mut self, replies: GuardEvent) -> bool {
        match replies {
            GuardEvent::Message(GuardMessage::Empty) => return true,
            GuardEvent::Message(event) => self.take_event(event),
            GuardEvent::Signal(signal) => self.pass_on(signal),
            GuardEvent::GuardDied => self.guard_died(),
            GuardEvent::Child => {}
        }
        false
    }

    fn take_event(&mut self, event: GuardMessage) {
        let report = &self.settings.report;
        match event {
            GuardMessage::Started { pid } => {
                self.pid = Some(pid);
                if !self.settings.rejoin {
                    guard::let_go();
                }
                report.info(Event::Started, format_args!("started {}", self.command()));
            }
            GuardMessage::NotStarted { errno } => {
                report.error(
                    Event::Failed,
                    format_args!("{} can't be run: {}", self.settings.program.name(), errno.desc()),
                );
                self.command_exit = Some(if errno == Errno::ENOENT { Exit::NotFound } else { Exit::CannotRun });
            }
            GuardMessage::Extended { deadlines } => self.kept_deadlines = Some(deadlines),
            GuardMessage::Signalled if self.stepping_down => {}
            GuardMessage::Signalled => self.lose(None),
            GuardMessage::NotForked { errno } => {
                let (command, why) = (self.settings.program.name(), errno.desc());
                report.error(Event::Failed, format_args!("there is no process to be had for {command}: {why}"));
                self.command_exit = Some(Exit::Failure);
            }
            GuardMessage::NoTimer { errno } => {
                let (command, why) = (self.command(), errno.desc());
                let told = format_args!("leaderrun's guard can't set its timer: {why}; killing {command}");
                report.error(Event::Failed, told);
                self.command_exit = Some(Exit::Failure);
            }
            GuardMessage::Suspended => self.suspend(),
            GuardMessage::Exited { ending } => {
                self.command_exit.get_or_insert(match ending {
                    Ending::Code(code) => Exit::Command(code as u8),
                    Ending::Signal(signal) => Exit::Signal(signal),
                });
            }
            GuardMessage::Unkillable { pid, errno } => {
                let why = errno.desc();
                let command = self.settings.program.name();
                report.error(Event::Failed, format_args!("process {pid} of {command} can't be killed: {why}"));
            }
            GuardMessage::Empty => {}
        }
    }

    fn take_extension(&mut self, extension: Extension) {
        match extension {
            Extension::Extended { deadlines, release_key, step_down } => {
                self.last_failure = None;
                if step_down && !self.stepping_down {
                    self.stepping_down = true;
                    let command = self.command();
                    let told = format_args!("asked to step down; stopping {command}");
                    self.settings.report.error(Event::StepsDown, told);
                    let _ = self.guard.order(&Order::Stop, None);
                }
                if let Some(deadlines) = self.renewal.extended(deadlines, Moment::now()) {
                    let _ = self.guard.order(&Order::Extend { deadlines, release_key }, None);
                }
            }
            Extension::Failed { story } => {
                let told = format_args!("an extension failed: {story}; trying again");
                self.settings.report.info(Event::ExtensionFailed, told);
                self.last_failure = Some(story);
                self.renewal.failed(Moment::now(), fastrand::f64());
            }
            Extension::Lost { story } => {
                let _ = self.guard.order(&Order::Stop, None);
                self.lose(Some(story));
            }
        }
    }

    /// The command is being stopped; the reason is told once.
    fn lose(&mut self, why: Option<String>) {
        if !self.lost {
            self.lost = true;
            let why = why.or(self.last_failure.take()).unwrap_or_else(|| self.why_late());
            let command = self.command();
            self.settings.report.error(Event::Lost, format_args!("lost the lease: {why}; stopping {command}"));
        }
    }

    /// No extension has failed, and yet there was none in time.
    fn why_late(&self) -> String {
        let late = if self.extension.is_some() { self.late } else { self.renewal.overdue(Moment::now()) };
        if late > self.settings.times.retry_after() {
            let late = Duration::from_millis(late.as_millis() as u64);
            format!("leaderrun did not run for {} (suspended, stopped or starved)", humantime::format_duration(late))
        } else {
            "it could not be extended in time".to_owned()
        }
    }

    fn command(&self) -> String {
        let name = self.settings.program.name();
        self.pid.map_or(name.clone(), |pid| format!("{name} (pid {pid})"))
    }

    fn pass_on(&self, signal: Signaled) {
        let to = match signal.number {
            libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT => Recipient::Group,
            _ => Recipient::Command,
        };
        let order = match signal.number {
            // The kernel sends a terminal's signals to the whole process group, the command included.
            _ if signal.by_kernel && self.guard.shares_group() => return,
            libc::SIGCONT if self.guard.shares_group() => Order::Continue,
            signal => Order::Signal { signal, to },
        };
        let _ = self.guard.order(&order, None);
    }

    /// Under a shell with job control we stop with the command, and are continued with it. The guard isn't stopped: whoever
    /// stays away for longer than the lease finds the command killed.
    fn suspend(&self) {
        if self.guard.shares_group() {
            guard::stop_self();
            let _ = self.guard.order(&Order::Continue, None);
        }
    }

    fn guard_died(&mut self) {
        self.without_guard("died");
    }

    fn without_guard(&mut self, why: &str) {
        if !self.guard_dead {
            self.guard_dead = true;
            let command = self.command();
            let told = format_args!("leaderrun's guard {why}; killing {command} and all it started");
            self.settings.report.error(Event::ProcessDied, told);
        }
    }

    /// Kills what a dead guard has left to us. True once nothing is left. A command that had ended before its guard could say
    /// so has ended as if it had been said.
    fn clear_after_guard(&mut self) -> bool {
        let empty = self.guard.clear_after_death();
        if let Some(ending) = self.guard.ending_left() {
            self.take_event(GuardMessage::Exited { ending });
        }
        empty
    }

    /// Half a margin after the deadline that it knows of, a guard that does its work has reported the tree empty.
    fn guard_overdue(&self, deadlines: Deadlines) -> Moment {
        deadlines.kill_at + self.settings.times.margin() / 2
    }

    fn end_frozen_guard(&mut self) {
        if self.renewal.is_over(Moment::now()) {
            self.lose(None);
        }
        self.guard.kill();
        self.without_guard("was stopped");
    }

    fn exit(&self) -> Exit {
        match self.command_exit {
            _ if self.lost || self.stepping_down => Exit::LeadershipLost,
            Some(exit) => exit,
            None => Exit::Failure,
        }
    }
}

async fn in_flight(extension: &mut Option<Pin<Box<dyn Future<Output = Extension> + '_>>>) -> Extension {
    match extension {
        Some(extension) => extension.await,
        None => std::future::pending().await,
    }
}
