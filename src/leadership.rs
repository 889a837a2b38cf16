//! Leading: extends the lease while the command runs, until the command has ended or the lease is lost.

mod end;
mod loss;
mod signals;

use std::{fmt, future::Future, pin::Pin, time::Duration};

use humantime::format_duration;
use nix::{errno::Errno, unistd::Pid};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::loss::Loss;
pub(crate) use self::{
    end::{LeadershipEnd, LeadershipOutcome},
    signals::report_received,
};
use crate::{
    backend::Backend,
    clock::{Moment, reach},
    event::{Details, Event},
    guard::{Ending, Guard, GuardEvent, GuardMessage, Order},
    lease::{Deadlines, Times},
    limits::advice,
    lock::{BackendFailure, ExtendOutcome, Lease},
    renewal::RenewalSchedule,
    settings::Settings,
};

/// How often to search the tree of a dead guard until nothing is left.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long messages of a guard that seems to be frozen are looked for: a tick of the timer, within which what has come
/// in is seen.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// A leadership that is under way.
struct Leadership<'a, G> {
    backend: &'a Backend,
    settings: &'a Settings,
    guard: &'a mut G,
    renewal: RenewalSchedule,
    /// The last deadlines that the guard has confirmed. A live guard acts on them in time, or has later ones.
    kept_deadlines: Option<Deadlines>,
    /// Since when the guard owes a confirmation: for a lease without deadlines, all that shows that it works.
    unconfirmed: Option<Instant>,
    extension: Option<Pin<Box<dyn Future<Output = ExtendOutcome> + 'a>>>,
    /// How late the present extension began.
    late: Duration,
    /// Why the last extension failed.
    last_failure: Option<BackendFailure>,
    /// The command's process, once it runs.
    pid: Option<Pid>,
    /// How the command's main process ended.
    ending: Option<Ending>,
    /// How the command ended, why it wasn't started, or why we have stopped it: what came first.
    command_end: Option<LeadershipOutcome>,
    /// When the command will have run for as long as it may.
    run_until: Option<Moment>,
    /// The lease is lost: the command has been signalled, and nothing is extended any more.
    lost: bool,
    /// Why we have ordered the command to stop, if not for the lease: that is extended until the command has ended.
    stopping: Option<LeadershipOutcome>,
    /// We have passed on a signal that ends a process: what the command does then is not its own doing.
    told_to_end: bool,
    guard_dead: bool,
    /// The guard has begun to kill what is left of the tree.
    killing: bool,
    /// When the guard has seen that nothing of the command is left.
    empty_since: Option<Moment>,
    /// The number of the command's last suspension that we know of.
    suspension: u32,
    /// We have passed on a signal that stops it, so its continuation is passed on as well.
    stop_passed_on: bool,
}

/// Starts the command and leads until nothing of it is left, so that the lease can be released.
pub(crate) async fn run<G: Guard>(
    lease: Lease,
    backend: &Backend,
    guard: &mut G,
    settings: &Settings,
) -> LeadershipEnd {
    let began = Moment::now();
    let renewal = RenewalSchedule::new(settings.times, lease.sent, began);
    let deadlines = renewal.deadlines();
    let order = Order::Start { slot: lease.slot, token: lease.token, deadlines, release_key: lease.release_key };
    let started = guard.order(&order, &lease.descriptors);
    let mut leadership = Leadership {
        backend,
        settings,
        guard,
        renewal,
        kept_deadlines: deadlines,
        unconfirmed: None,
        extension: None,
        late: Duration::ZERO,
        last_failure: None,
        pid: None,
        ending: None,
        command_end: None,
        run_until: settings.max_run.map(|max_run| began + max_run),
        lost: false,
        stopping: None,
        told_to_end: false,
        guard_dead: false,
        killing: false,
        empty_since: None,
        suspension: 0,
        stop_passed_on: false,
    };
    if started.is_err() {
        leadership.guard_died();
    }
    let outcome = leadership.lead().await;
    let alone_until = leadership.renewal.deadlines().map(|deadlines| deadlines.kill_at);
    LeadershipEnd {
        slot: lease.slot,
        outcome,
        ending: leadership.ending,
        token: lease.token,
        began,
        failures: lease.failures,
        told_to_end: leadership.told_to_end,
        alone_until,
        ended: leadership.empty_since.unwrap_or_else(Moment::now),
        is_end_seen: leadership.empty_since.is_some(),
    }
}

impl<G: Guard> Leadership<'_, G> {
    async fn lead(&mut self) -> LeadershipOutcome {
        loop {
            if self.guard_dead && self.clear_after_guard() {
                return self.outcome();
            }
            let watch_guard = guard_overdue(self.kept_deadlines, self.unconfirmed, self.settings.times);
            tokio::select! {
                biased;
                event = self.guard.hear() => {
                    if self.take(event) {
                        return self.outcome();
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
                () = self.backend.doubt(), if self.extension.is_none() && !self.lost => {
                    self.extension = Some(Box::pin(self.backend.extend(None)));
                }
                () = reach(self.run_until), if self.command_end.is_none() && self.may_stop() => self.time_out(),
                // We may have been stopped or starved ourselves, with its messages unread.
                () = watch_guard, if !self.guard_dead => match timeout(LAST_LOOK, self.guard.hear()).await {
                    Ok(event) => {
                        if self.take(event) {
                            return self.outcome();
                        }
                    }
                    Err(_) => self.end_frozen_guard(),
                },
                () = sleep(LOOK_AGAIN), if self.guard_dead => {}
            }
        }
    }

    /// Handles the guard's messages and signals. Returns true once nothing of the command is left.
    fn take(&mut self, event: GuardEvent) -> bool {
        match event {
            GuardEvent::Message(GuardMessage::Empty { at }) => {
                self.empty_since = Some(at);
                return true;
            }
            GuardEvent::Message(message) => self.take_message(message),
            GuardEvent::Signal(signal) => self.pass_on(signal),
            GuardEvent::GuardDied => self.guard_died(),
            GuardEvent::Child => {}
        }
        false
    }

    fn take_message(&mut self, message: GuardMessage) {
        match message {
            GuardMessage::Started { pid } => self.command_started(pid),
            GuardMessage::NotStarted { errno } => self.command_not_started(errno),
            GuardMessage::Extended { deadlines } => (self.kept_deadlines, self.unconfirmed) = (deadlines, None),
            GuardMessage::Signalled => match self.stopping {
                Some(outcome) => _ = self.command_end.get_or_insert(outcome),
                None => self.lose(None),
            },
            GuardMessage::AskedToStop => self.reports_stop(),
            GuardMessage::Killing => {
                self.killing = true;
                self.reports_kill();
            }
            GuardMessage::NotForked { errno } => {
                self.fails(format_args!("cannot fork to run {}: {}{}", self.name(), errno.desc(), advice(errno)));
                self.command_end = Some(LeadershipOutcome::NotForked);
            }
            GuardMessage::NoTimer { errno } => {
                let command = self.command();
                let why = errno.desc();
                self.fails(format_args!("leaderrun's guard can't set its timer: {why}; killing {command}"));
                self.command_end = Some(LeadershipOutcome::NoTimer);
            }
            GuardMessage::Suspended { suspension, signal } => self.suspend(suspension, signal),
            GuardMessage::Exited { ending } => {
                self.ending = Some(ending);
                self.command_end.get_or_insert(LeadershipOutcome::Exited(ending));
            }
            GuardMessage::Unkillable { pid, errno } => {
                self.fails(format_args!("process {pid} of {} can't be killed: {}", self.name(), errno.desc()));
            }
            GuardMessage::Empty { .. } => {}
        }
    }

    fn command_started(&mut self, pid: Pid) {
        self.pid = Some(pid);
        if !self.settings.rejoin {
            self.guard.let_go();
        }
        self.settings.report.info(Event::Started, format_args!("started {}", self.command()));
    }

    fn command_not_started(&mut self, errno: Errno) {
        let not_found = errno == Errno::ENOENT;
        let end = if not_found { LeadershipOutcome::NotFound } else { LeadershipOutcome::CannotRun };
        let message = format_args!("{} can't be run: {}", self.name(), self.settings.program.why_not_run(errno));
        self.settings.report.error_with(Event::Failed, &Details::of_reason(end.word()), message);
        self.command_end = Some(end);
    }

    fn fails(&self, message: fmt::Arguments) {
        self.settings.report.error(Event::Failed, message);
    }

    fn take_extension(&mut self, extension: ExtendOutcome) {
        match extension {
            ExtendOutcome::Extended { deadlines, release_key, step_down } => {
                self.last_failure = None;
                if step_down {
                    self.step_down();
                }
                let longer = self.renewal.extended(deadlines, Moment::now());
                if longer.is_some() || deadlines.is_none() {
                    let _ = self.guard.order(&Order::Extend { deadlines: longer, release_key }, &[]);
                    self.unconfirmed.get_or_insert_with(Instant::now);
                }
            }
            ExtendOutcome::Failed(why) => {
                let message = format_args!("an extension failed: {why}; trying again");
                self.settings.report.info(Event::ExtensionFailed, message);
                self.last_failure = Some(why);
                self.renewal.failed(Moment::now(), fastrand::f64());
            }
            ExtendOutcome::Lost(why) => {
                let kill_after = self.settings.times.kill_after();
                let _ = self.guard.order(&Order::Stop { kill_after }, &[]);
                self.lose(Some(why));
            }
        }
    }

    /// Stops the command for another leader, once.
    fn step_down(&mut self) {
        // A guard that can't take the order now gets it with the next extension.
        if self.may_stop() && self.stop_for(LeadershipOutcome::SteppedDown) {
            let message = format_args!("asked to step down; stopping {}", self.command());
            self.settings.report.warning(Event::StepsDown, message);
        }
    }

    /// Stops the command, which has run for as long as it may.
    fn time_out(&mut self) {
        if self.stop_for(LeadershipOutcome::TimedOut) {
            let ran = format_duration(self.settings.max_run.unwrap_or_default());
            let message = format_args!("{} has run for {ran} (--max-run); stopping it", self.command());
            self.settings.report.error(Event::TimedOut, message);
        } else {
            self.run_until = Some(Moment::now() + LOOK_AGAIN);
        }
    }

    /// Returns whether the command has not been ordered to stop yet, and there is a guard to do that.
    fn may_stop(&self) -> bool {
        self.stopping.is_none() && !self.lost && !self.guard_dead
    }

    /// Orders the command to stop although the lease is ours. Returns whether the guard has taken the order.
    fn stop_for(&mut self, outcome: LeadershipOutcome) -> bool {
        let kill_after = self.settings.stop_timeout;
        let is_ordered = self.guard.order(&Order::Stop { kill_after }, &[]).is_ok();
        self.stopping = self.stopping.or(is_ordered.then_some(outcome));
        is_ordered
    }

    /// Records that the command is being stopped, and reports why, once.
    fn lose(&mut self, why: Option<BackendFailure>) {
        if !self.lost {
            self.lost = true;
            let why = why.or(self.last_failure.take()).map_or_else(|| self.why_late(), Loss::NotExtended);
            let command = self.command();
            let message = format_args!("lost the lease: {why}; stopping {command}");
            self.settings.report.error_with(Event::Lost, &Details::of_reason(why.word()), message);
        }
    }

    /// Returns why no extension was in time although none has failed.
    fn why_late(&self) -> Loss {
        let late = if self.extension.is_some() { self.late } else { self.renewal.overdue(Moment::now()) };
        if late > self.settings.times.retry_after() { Loss::DidNotRun(late) } else { Loss::NotInTime }
    }

    fn name(&self) -> String {
        self.settings.program.name()
    }

    fn command(&self) -> String {
        match self.pid {
            Some(pid) => format!("{} (pid {pid})", self.name()),
            None => self.name(),
        }
    }

    /// Stops this process together with the command, under a shell with job control, until both are continued. The
    /// guard isn't stopped: it kills the command if the stop outlasts the lease.
    fn suspend(&mut self, suspension: u32, signal: i32) {
        self.suspension = suspension;
        self.guard.stop_self_by(signal);
        let _ = self.guard.order(&Order::Told { suspension }, &[]);
    }

    fn guard_died(&mut self) {
        self.without_guard("died");
    }

    fn without_guard(&mut self, why: &str) {
        if !self.guard_dead {
            self.guard_dead = true;
            let command = self.command();
            let message = format_args!("leaderrun's guard {why}; killing {command} and all it started");
            self.settings.report.error(Event::ProcessDied, message);
        }
    }

    /// Kills what a dead guard has left to us. Returns true once nothing is left. The command's own end counts, even if
    /// its guard could no longer report it.
    fn clear_after_guard(&mut self) -> bool {
        let empty = self.guard.clear_after_death();
        if let Some(ending) = self.guard.ending_left() {
            self.take_message(GuardMessage::Exited { ending });
        }
        empty
    }

    fn end_frozen_guard(&mut self) {
        if self.renewal.is_over(Moment::now()) {
            self.lose(None);
        }
        let why = match self.killing {
            true => "could not kill everything in time",
            false if self.guard.is_stopped() => "was stopped",
            false => "did not act in time (stuck or starved)",
        };
        self.guard.kill();
        self.without_guard(why);
    }

    fn outcome(&self) -> LeadershipOutcome {
        match self.command_end {
            _ if self.lost => LeadershipOutcome::LeaseLost,
            Some(end) if !(broken!("early_success") && self.stopping.is_some()) => end,
            _ => self.stopping.unwrap_or(LeadershipOutcome::GuardDied),
        }
    }
}

/// Waits until a working guard would have reported the tree empty: half a margin after the last deadline that it has
/// confirmed; or, without deadlines, until it has owed a confirmation for a ttl.
async fn guard_overdue(kept: Option<Deadlines>, unconfirmed: Option<Instant>, times: Times) {
    match (kept, unconfirmed) {
        (Some(deadlines), _) => reach(Some(deadlines.kill_at + times.margin() / 2)).await,
        (None, Some(since)) => sleep_until(since + times.ttl()).await,
        (None, None) => std::future::pending().await,
    }
}

async fn in_flight(extension: &mut Option<Pin<Box<dyn Future<Output = ExtendOutcome> + '_>>>) -> ExtendOutcome {
    match extension {
        Some(extension) => extension.await,
        None => std::future::pending().await,
    }
}
