//! An instance: a machine on which leaderrun runs, again and again.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use nix::{libc, unistd::Pid};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use super::{
    command::{Command, Life},
    ledger::Ledger,
    machine::{Machine, Process},
    schedule::Schedule,
};
use crate::{
    cli::LogFormat,
    exit::Exit,
    guard::{Ending, Signaled, simulated},
    leadership::LeadershipOutcome,
    lease::Quorums,
    program::Program,
    redlock::{Address, RedlockConfig},
    report::Report,
    run,
    run_end::RunEnd,
    settings::{BackendConfig, Settings, WaitPolicy},
};

pub const RESOURCE: &str = "sim";

pub struct Instance {
    pub index: usize,
    pub machine: Rc<Machine>,
    schedule: Schedule,
    ledger: Rc<Ledger>,
    is_shown: bool,
    running: RefCell<Option<Running>>,
    /// When its machine is up again after a crash.
    up_at: Cell<Instant>,
    /// One of its processes is stopped.
    frozen: Cell<bool>,
}

/// One run of leaderrun.
struct Running {
    elector: Rc<Process>,
    guard: Rc<Process>,
    command: Rc<Command>,
    signals: UnboundedSender<Signaled>,
}

impl Instance {
    pub fn new(index: usize, machine: Rc<Machine>, schedule: Schedule, ledger: &Rc<Ledger>, is_shown: bool) -> Self {
        let (running, up_at, frozen) = (RefCell::default(), Cell::new(Instant::now()), Cell::default());
        Instance { index, machine, schedule, ledger: ledger.clone(), is_shown, running, up_at, frozen }
    }

    /// Runs leaderrun forever.
    pub async fn live(self: Rc<Self>) {
        sleep(Duration::from_millis(fastrand::u64(0..50))).await;
        for number in 0.. {
            let name = format!("instance {}.{number}", self.index);
            let settings = Rc::new(self.settings(&name));
            let command = Command::new(self.schedule.plan(), self.index, &self.ledger);
            let judged = command.clone();
            let (elector, guard) =
                (Process::new(&self.machine, name.clone()), Process::new(&self.machine, format!("{name}'s guard")));
            let (signals, signalled) = unbounded_channel();
            let (mut handle, supervisor) = simulated::fork(&guard, &command, &settings, signalled);
            spawn_local(guard.clone().run(supervisor.run()));
            let running = Running { elector: elector.clone(), guard, command, signals };
            self.running.replace(Some(running));
            let end = {
                let settings = settings.clone();
                elector.run(async move { run::compete(&settings, &mut handle).await }).await
            };
            self.ledger.tell(|| format!("{name} has ended: {end:?}"));
            let mut pause = Duration::from_millis(fastrand::u64(1..100));
            match end {
                Some(Ok(end)) => {
                    self.look_at(&end, &judged, &name);
                    if let RunEnd::GaveUp(_) = end {
                        pause *= 5;
                    }
                }
                Some(Err(error)) => self.ledger.fail(format!("{name} failed: {error:#}")),
                None => {}
            }
            sleep_until(self.up_at.get().max(Instant::now()) + pause).await;
        }
    }

    /// Notes what a run's end promises.
    fn look_at(&self, end: &RunEnd, command: &Command, name: &str) {
        let RunEnd::Led { outcome, not_recorded } = end else { return };
        let has_succeeded = match outcome {
            LeadershipOutcome::Exited(ending) => *ending == Ending::Code(0),
            LeadershipOutcome::SteppedDown | LeadershipOutcome::TimedOut => command.has_succeeded(),
            _ => false,
        };
        if let Some(once_per) = self.schedule.once_per.as_ref().filter(|_| has_succeeded && !not_recorded) {
            self.ledger.closes(self.index, once_per.period);
        }
        let LeadershipOutcome::Exited(_) = outcome else { return };
        if let Some(hold) = self.schedule.hold
            && !self.ledger.not_held.borrow().iter().any(|process| process == name)
        {
            self.ledger.closes(self.index, hold);
        }
    }

    fn settings(&self, holder: &str) -> Settings {
        let Schedule { times, hold, rejoin, impatient, nodes, .. } = self.schedule;
        let address = |node| Address::parse(&format!("unix:///simulated/{node}")).expect("an address");
        let wait_policy = match fastrand::u8(0..100) {
            draw if draw < impatient => WaitPolicy::None,
            draw if draw % 4 == 0 => WaitPolicy::For(3 * times.ttl()),
            _ => WaitPolicy::Forever,
        };
        let used = if self.schedule.lists { fastrand::usize(1..=nodes) } else { nodes };
        self.ledger.uses(self.index, used);
        let verbose = if self.is_shown { 2 } else { 0 };
        Settings {
            resource: RESOURCE.into(),
            backend: BackendConfig::Redlock(RedlockConfig {
                addresses: (0..used).map(address).collect(),
                quorums: Quorums::of(used),
                lock: RESOURCE.into(),
                tls: None,
            }),
            slots: None,
            wait_policy,
            times,
            hold,
            once_per: self.schedule.once_per.clone(),
            max_run: self.schedule.max_run,
            stop_timeout: self.schedule.stop_timeout,
            signal: nix::sys::signal::Signal::SIGTERM,
            pid_namespace: false,
            rejoin,
            ready_when: None,
            not_leader: Exit::NotLeader,
            skip_exit_code: 0,
            holder: holder.into(),
            around: Vec::new(),
            program: Program { path: "/bin/job".into(), args: vec!["job".into()] },
            report: Report::new(RESOURCE, holder, verbose, false, LogFormat::Text),
            warnings: Vec::new(),
        }
    }

    /// Stops the elector, or its guard, for a while; one at a time, since nobody enforces the deadline while both are stopped.
    pub async fn freeze(&self, guard: bool, lasts: Duration) {
        if self.frozen.get() {
            return;
        }
        let process = self.running.borrow().as_ref().map(|running| {
            self.ledger
                .tell(|| format!("instance {}: {} stopped", self.index, if guard { "guard" } else { "elector" }));
            if guard { running.guard.clone() } else { running.elector.clone() }
        });
        let Some(process) = process else { return };
        self.frozen.set(true);
        process.stop();
        sleep(lasts).await;
        process.go_on();
        self.frozen.set(false);
        self.ledger.tell(|| format!("instance {}: continued", self.index));
    }

    /// Kills the elector or the guard, unless one of them is stopped: see [`Instance::freeze`].
    pub fn kill(&self, guard: bool) {
        if self.frozen.get() {
            return;
        }
        let running = self.running.borrow();
        let Some(running) = &*running else { return };
        self.ledger.tell(|| format!("instance {}: {} killed", self.index, if guard { "guard" } else { "elector" }));
        if guard { running.guard.kill() } else { running.elector.kill() }
    }

    /// Lets the whole machine crash, unless it is down, and start again after a while.
    pub fn crash(&self, down: Duration) {
        let now = Instant::now();
        if now < self.up_at.get() {
            return;
        }
        let running = self.running.borrow();
        let Some(running) = &*running else { return };
        self.ledger.tell(|| format!("instance {}: its machine crashed", self.index));
        self.machine.lose_power();
        self.up_at.set(now + down);
        running.elector.kill();
        running.guard.kill();
        if let Life::Runs | Life::Ended(_) = running.command.life() {
            running.command.vanish();
        }
    }

    /// Sends SIGTERM to the elector.
    pub fn terminate(&self) {
        if let Some(running) = &*self.running.borrow() {
            self.ledger.tell(|| format!("instance {}: SIGTERM", self.index));
            let signal = Signaled { number: libc::SIGTERM, sender: Pid::from_raw(2), by_kernel: false };
            let _ = running.signals.send(signal);
        }
    }

    /// Continues what is stopped.
    pub fn go_on(&self) {
        if let Some(running) = &*self.running.borrow() {
            running.elector.go_on();
            running.guard.go_on();
        }
    }
}
