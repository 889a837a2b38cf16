//! A command that a guard runs: how long it takes, how it ends, and how slowly it dies.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use super::ledger::Ledger;
use crate::{guard::Ending, lease::FencingToken};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// What a command does if it is left alone, and how it takes signals.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub lasts: Duration,
    pub code: i32,
    /// How long it takes to stop when it is asked to; `None`: it doesn't.
    pub stops_within: Option<Duration>,
    /// How long what it leaves behind is there after its end, until the guard has killed that.
    pub leaves: Duration,
    /// The longest time that its tree may take to die when the guard kills it.
    pub dies_within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    NotStarted,
    Runs,
    /// Something that it has left behind is still there.
    Ended(Ending),
    Over(Ending),
}

/// A command, known to elector and guard.
pub struct Command {
    plan: Plan,
    ledger: Rc<Ledger>,
    instance: usize,
    life: watch::Sender<Life>,
    /// When and how it ends, as far as is known.
    end: RefCell<Option<(Instant, Ending)>>,
    changed: Notify,
    vanished: Notify,
    killed: Cell<bool>,
    /// It was asked to stop, or killed, before it had ended.
    stopped: Cell<bool>,
    ordered: Cell<Instant>,
}

impl Command {
    pub fn new(plan: Plan, instance: usize, ledger: &Rc<Ledger>) -> Rc<Self> {
        Rc::new(Command {
            plan,
            ledger: ledger.clone(),
            instance,
            life: watch::Sender::new(Life::NotStarted),
            end: RefCell::default(),
            changed: Notify::new(),
            vanished: Notify::new(),
            killed: Cell::new(false),
            stopped: Cell::new(false),
            ordered: Cell::new(Instant::now()),
        })
    }

    /// Notes that the guard is ordered to start it.
    pub fn order(&self) {
        self.ordered.set(Instant::now());
    }

    pub fn start(self: &Rc<Self>, token: FencingToken) {
        self.life.send_replace(Life::Runs);
        let run = self.ledger.command_starts(self.instance, token, self.ordered.get());
        self.end_by(self.plan.lasts, Ending::Code(self.plan.code));
        let command = self.clone();
        spawn_local(async move {
            let ending = command.ended().await;
            // A kill that is under way ends what is left as well.
            if !command.killed.get() && !command.plan.leaves.is_zero() {
                command.life.send_replace(Life::Ended(ending));
                tokio::select! {
                    biased;
                    () = command.vanished.notified() => {}
                    () = sleep(command.plan.leaves) => {}
                }
            }
            command.ledger.command_is_dead(run, ending);
            command.life.send_replace(Life::Over(ending));
        });
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.note_stop();
        if let Some(within) = self.plan.stops_within {
            self.end_by(within.mul_f64(fastrand::f64()), Ending::Signal(SIGTERM));
        }
    }

    /// Kills it as a guard does.
    pub fn kill(&self) {
        self.kill_within(self.plan.dies_within);
    }

    /// Kills it as an elector does after the death of its guard: so much later that half of the time is left.
    pub fn kill_late(&self) {
        self.kill_within(self.plan.dies_within.mul_f64(0.45));
    }

    /// Ends it together with its machine.
    pub fn vanish(&self) {
        self.end_by(Duration::ZERO, Ending::Signal(SIGKILL));
        self.vanished.notify_one();
    }

    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Waits for the next change of its life.
    pub fn watch(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Returns whether it has succeeded by itself.
    pub fn has_succeeded(&self) -> bool {
        self.life() == Life::Over(Ending::Code(0)) && !self.stopped.get()
    }

    fn note_stop(&self) {
        self.stopped.set(self.stopped.get() || self.life() == Life::Runs);
    }

    fn kill_within(&self, longest: Duration) {
        self.note_stop();
        if !self.killed.replace(true) {
            let takes = if fastrand::bool() { longest } else { longest.mul_f64(fastrand::f64()) };
            self.end_by(takes, Ending::Signal(SIGKILL));
        }
    }

    fn end_by(&self, after: Duration, ending: Ending) {
        let at = Instant::now() + after;
        if self.end.borrow().is_none_or(|(before, _)| at < before) {
            self.end.replace(Some((at, ending)));
            self.changed.notify_one();
        }
    }

    async fn ended(&self) -> Ending {
        loop {
            let Some((at, ending)) = *self.end.borrow() else { return std::future::pending().await };
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep_until(at) => return ending,
            }
        }
    }
}
