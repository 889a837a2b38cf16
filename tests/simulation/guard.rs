//! A guard that obeys the same orders, keeps the same timetable and reports the same messages as the real one, and runs a
//! simulated command. It is a process of its own: it may be stopped and killed, and outlives its elector.

use std::{os::fd::RawFd, rc::Rc, time::Duration};

use nix::{errno::Errno, libc, unistd::Pid};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use super::{
    Guard, GuardEvent, GuardMessage, OrphanedLease, Signaled,
    protocol::Order,
    timetable::{Due, Timetable},
    tree::TreeSize,
};
use crate::{
    clock::Moment,
    guard::Ending,
    lease::{Deadlines, FencingToken},
    lock::{ReleaseKey, Slot},
    redlock, run,
    settings::{BackendConfig, Settings},
    simulation::{
        command::{Command, Life},
        machine::Process,
    },
};

/// How late a timer is.
const TICK: Duration = Duration::from_millis(1);

/// The elector's end.
pub(crate) struct SimulatedGuard {
    process: Rc<Process>,
    command: Rc<Command>,
    orders: UnboundedSender<Order>,
    messages: UnboundedReceiver<GuardMessage>,
    signals: UnboundedReceiver<Signaled>,
    lost: bool,
}

/// The guard's end.
pub(crate) struct Supervisor {
    settings: Rc<Settings>,
    command: Rc<Command>,
    orders: UnboundedReceiver<Order>,
    messages: UnboundedSender<GuardMessage>,
    times: Timetable,
    lease: Option<OrphanedLease>,
    /// The command runs, or may have left something.
    occupied: bool,
    /// The elector has been told of the command's end.
    is_end_told: bool,
    elector_died: bool,
}

/// Forks a guard that is to run in `process`. Signals come by `signals`.
pub(crate) fn fork(
    process: &Rc<Process>,
    command: &Rc<Command>,
    settings: &Rc<Settings>,
    signals: UnboundedReceiver<Signaled>,
) -> (SimulatedGuard, Supervisor) {
    let ((orders, ordered), (messages, told)) = (unbounded_channel(), unbounded_channel());
    let (process, command) = (process.clone(), command.clone());
    let supervisor = Supervisor {
        settings: settings.clone(),
        command: command.clone(),
        orders: ordered,
        messages,
        times: Timetable::default(),
        lease: None,
        occupied: false,
        is_end_told: false,
        elector_died: false,
    };
    (SimulatedGuard { process, command, orders, messages: told, signals, lost: false }, supervisor)
}

impl Guard for SimulatedGuard {
    fn order(&self, order: &Order, _: &[RawFd]) -> Result<(), Errno> {
        if let Order::Start { .. } = order {
            self.command.order();
        }
        self.orders.send(order.clone()).map_err(|_| Errno::EPIPE)
    }

    fn pass_on(&mut self, order: &Order) {
        let _ = self.order(order, &[]);
    }

    async fn hear(&mut self) -> GuardEvent {
        tokio::select! {
            biased;
            message = self.messages.recv(), if !self.lost => match message {
                Some(message) => GuardEvent::Message(message),
                None => {
                    self.kill();
                    GuardEvent::GuardDied
                }
            },
            Some(signal) = self.signals.recv() => GuardEvent::Signal(signal),
            else => std::future::pending().await,
        }
    }

    fn kill(&mut self) {
        self.lost = true;
        self.process.kill();
    }

    async fn end(&mut self) {
        self.kill();
    }

    fn clear_after_death(&mut self) -> bool {
        self.command.kill_late();
        !matches!(self.command.life(), Life::Runs | Life::Ended(_))
    }

    fn ending_left(&self) -> Option<Ending> {
        match self.command.life() {
            Life::Ended(ending) | Life::Over(ending) if ending != Ending::Signal(libc::SIGKILL) => Some(ending),
            _ => None,
        }
    }

    fn let_go(&self) {}

    fn has_terminal(&self) -> bool {
        false
    }

    fn leads_session(&self) -> bool {
        false
    }

    fn stop_self_by(&self, _: i32) {}

    fn put_terminal_back(&self) {}
}

impl Supervisor {
    /// Guards the command to its end.
    pub(crate) async fn run(mut self) {
        let mut life = self.command.watch();
        loop {
            let next = self.times.next(Moment::now()).filter(|_| self.occupied);
            tokio::select! {
                biased;
                order = self.orders.recv(), if !self.elector_died => match order {
                    Some(Order::End) => return,
                    Some(order) => self.obey(order),
                    None => self.elector_died = true,
                },
                _ = life.changed() => self.look(),
                () = reach(next) => {}
            }
            self.keep_time();
            if self.elector_died && !self.occupied {
                return self.release().await;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { token, deadlines, release_key, .. } => self.lead(token, deadlines, release_key),
            Order::Extend { deadlines, release_key } => {
                self.times.keep(deadlines, Moment::now());
                if let Some(lease) = &mut self.lease {
                    lease.release_key = release_key;
                }
                self.tell(GuardMessage::Extended { deadlines });
            }
            Order::Stop { kill_after } => {
                self.look();
                self.stop(kill_after);
            }
            Order::Signal { signal: libc::SIGTERM, .. } => self.command.terminate(),
            Order::Signal { .. } | Order::Told { .. } | Order::Continue { .. } | Order::End => {}
        }
    }

    fn lead(&mut self, token: FencingToken, deadlines: Option<Deadlines>, release_key: ReleaseKey) {
        let now = Moment::now();
        self.times.keep(deadlines, now);
        self.lease = Some(OrphanedLease { slot: Slot::ONLY, release_key, token, began: now, ending: None });
        if self.times.stop_at().is_some_and(|at| now >= at) {
            self.stop(self.settings.times.kill_after());
            self.tell(GuardMessage::Empty { at: Moment::now() });
            return;
        }
        self.occupied = true;
        self.command.start(token);
        self.tell(GuardMessage::Started { pid: Pid::from_raw(2) });
    }

    /// Sees whether the command has ended.
    fn look(&mut self) {
        let life = self.command.life();
        if let Life::Ended(ending) | Life::Over(ending) = life
            && self.occupied
            && !std::mem::replace(&mut self.is_end_told, true)
        {
            self.command_ended(ending);
        }
        if let Life::Over(_) = life
            && std::mem::take(&mut self.occupied)
        {
            self.tell(GuardMessage::Empty { at: Moment::now() });
        }
    }

    fn command_ended(&mut self, ending: Ending) {
        let now = Moment::now();
        if !self.times.is_stopping() && !self.times.is_killing() && self.times.due(now) == Some(Due::Kill) {
            self.times.kill_at(now);
            self.tell(GuardMessage::Signalled);
        }
        let is_killed = self.times.is_killing() && ending == Ending::Signal(libc::SIGKILL);
        if let Some(lease) = &mut self.lease {
            lease.ending = Some(ending).filter(|_| !is_killed && !self.times.is_stopping());
        }
        self.tell(GuardMessage::Exited { ending });
    }

    fn stop(&mut self, kill_after: Duration) {
        let is_stopping = self.times.is_stopping();
        self.times.kill_at(Moment::now() + kill_after);
        if is_stopping {
            return;
        }
        self.command.terminate();
        self.allow_for_killing();
        self.tell(GuardMessage::Signalled);
        self.tell(GuardMessage::AskedToStop);
    }

    fn allow_for_killing(&mut self) {
        let now = Moment::now();
        self.times.allow_for_killing(TreeSize { processes: 1, levels: 1 }, now, now);
    }

    fn keep_time(&mut self) {
        if !self.occupied {
            return;
        }
        if self.elector_died && !broken!("elector") {
            self.times.start_killing();
        }
        if self.times.is_time_to_count(Moment::now()) {
            self.allow_for_killing();
        }
        match self.times.due(Moment::now()) {
            Some(Due::Kill) => self.kill(),
            Some(Due::Stop) => self.stop(self.settings.times.kill_after()),
            None => {}
        }
    }

    fn kill(&mut self) {
        if self.times.kill_without_stop(Moment::now()) {
            self.tell(GuardMessage::Signalled);
        }
        self.tell(GuardMessage::Killing);
        self.command.kill();
    }

    fn tell(&self, message: GuardMessage) {
        let _ = self.messages.send(message);
    }

    /// Releases the lease of a dead elector.
    async fn release(self) {
        let (BackendConfig::Redlock(config), Some(lease)) = (&self.settings.backend, self.lease) else { return };
        let (note, ended) = (run::note_of_orphaned(&lease, &self.settings), run::run_of_orphaned(&lease));
        if let ReleaseKey::Nodes(key) = lease.release_key {
            redlock::release_alone(config, self.settings.times, key, note.as_ref(), ended).await;
        }
    }
}

/// Waits until a moment by this host's clock, as a timer of its kernel does: timers of the simulation all run at one rate.
async fn reach(moment: Option<Moment>) {
    let Some(moment) = moment else { return std::future::pending().await };
    loop {
        sleep(moment.remaining().mul_f64(0.99).max(TICK)).await;
        if moment.remaining().is_zero() {
            return;
        }
    }
}
