//! A machine: its clocks, its power, and the processes that run on it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    path::Path,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, LocalBoxFuture},
    stream::FuturesUnordered,
};
use tokio::{task::unconstrained, time::Instant};

use super::{ledger::Ledger, network::Network};
use crate::host::simulated::{Host, Stream, run_on};

/// When each simulation begins.
const BEGIN: Duration = Duration::from_secs(1_800_000_000);

/// What processes of one machine share.
pub struct Machine {
    /// Where the network has it.
    pub place: usize,
    pub network: Network,
    pub ledger: Rc<Ledger>,
    began: Instant,
    rate: f64,
    /// How long it had been up.
    up: Duration,
    /// How far its wall clock is ahead, in microseconds.
    ahead: Cell<i64>,
    power: RefCell<Arc<AtomicBool>>,
}

impl Machine {
    pub fn new(place: usize, network: &Network, ledger: &Rc<Ledger>, rate: f64, ahead: i64) -> Rc<Self> {
        Rc::new(Machine {
            place,
            network: network.clone(),
            ledger: ledger.clone(),
            began: Instant::now(),
            rate,
            up: Duration::from_secs(fastrand::u64(100..1_000_000)),
            ahead: Cell::new(ahead),
            power: RefCell::new(Arc::new(AtomicBool::new(true))),
        })
    }

    /// Returns the wall clock's time since 1970.
    pub fn wall(&self) -> Duration {
        let micros = (BEGIN + self.ran()).as_micros() as u64;
        Duration::from_micros(micros.saturating_add_signed(self.ahead.get()))
    }

    /// Sets the wall clock forward or back, in microseconds.
    pub fn set_clock(&self, by: i64) {
        self.ahead.set(self.ahead.get() + by);
    }

    /// Returns a flag that is set until the machine loses its power.
    pub fn power(&self) -> Arc<AtomicBool> {
        self.power.borrow().clone()
    }

    /// Loses its power: nobody is told of the end of its connections.
    pub fn lose_power(&self) {
        self.power.replace(Arc::new(AtomicBool::new(true))).store(false, Relaxed);
    }

    fn ran(&self) -> Duration {
        self.began.elapsed().mul_f64(self.rate)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Stopped,
    Killed,
}

/// A process, with all of its tasks.
pub struct Process {
    machine: Rc<Machine>,
    /// For traces.
    name: String,
    state: Cell<State>,
    waker: RefCell<Option<Waker>>,
    spawned: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
}

impl Process {
    pub fn new(machine: &Rc<Machine>, name: String) -> Rc<Self> {
        Rc::new(Process {
            machine: machine.clone(),
            name,
            state: Cell::new(State::Runs),
            waker: RefCell::default(),
            spawned: RefCell::default(),
        })
    }

    /// Runs it, until `main` has ended or it is killed.
    pub async fn run<T: 'static>(self: Rc<Self>, main: impl Future<Output = T> + 'static) -> Option<T> {
        let result = Rc::new(RefCell::new(None));
        let mut tasks = FuturesUnordered::new();
        let main = {
            let result = result.clone();
            async move { drop(result.replace(Some(main.await))) }
        };
        tasks.push(main.boxed_local());
        let ended = poll_fn(|cx| self.poll(&mut tasks, &|| result.borrow().is_some(), cx));
        unconstrained(pin!(ended)).await;
        // What it leaves behind is closed by the kernel.
        tasks.clear();
        self.spawned.borrow_mut().clear();
        result.take()
    }

    fn poll(
        self: &Rc<Self>,
        tasks: &mut FuturesUnordered<LocalBoxFuture<'static, ()>>,
        is_over: &dyn Fn() -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.waker.replace(Some(cx.waker().clone()));
        match self.state.get() {
            State::Killed => return Poll::Ready(()),
            State::Stopped => return Poll::Pending,
            State::Runs => {}
        }
        run_on(self.clone(), || {
            loop {
                tasks.extend(self.spawned.take());
                let polled = tasks.poll_next_unpin(cx);
                if is_over() {
                    return Poll::Ready(());
                }
                if polled.is_pending() && self.spawned.borrow().is_empty() {
                    return Poll::Pending;
                }
            }
        })
    }

    /// Starts a task of this process.
    pub fn start(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(task.boxed_local());
        self.wake();
    }

    /// Ends it as SIGKILL does.
    pub fn kill(&self) {
        self.become_(State::Killed);
    }

    /// Stops it as SIGSTOP does.
    pub fn stop(&self) {
        if self.state.get() == State::Runs {
            self.become_(State::Stopped);
        }
    }

    /// Continues it.
    pub fn go_on(&self) {
        if self.state.get() == State::Stopped {
            self.become_(State::Runs);
        }
    }

    fn become_(&self, state: State) {
        self.state.set(state);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Host for Process {
    fn since_boot(&self) -> Duration {
        self.machine.up + self.machine.ran()
    }

    fn wall_time(&self) -> SystemTime {
        UNIX_EPOCH + self.machine.wall()
    }

    fn random(&self) -> u128 {
        fastrand::u128(..)
    }

    fn print(&self, text: &str) {
        self.machine.ledger.hear(&self.name, text.trim_end());
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.start(task);
    }

    fn connect(&self, path: &Path, unacknowledged: Duration) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let node = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Machine { place, network, .. } = &*self.machine;
        let connecting = network.clone().connect(*place, node, self.machine.power(), unacknowledged);
        Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Stream>) })
    }
}
