//! The host of the process that the simulation runs at present.

use std::{
    cell::RefCell,
    io,
    path::Path,
    rc::Rc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of the simulated network.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A simulated host, seen from one of its processes.
pub(crate) trait Host {
    fn since_boot(&self) -> Duration;
    fn wall_time(&self) -> SystemTime;
    fn random(&self) -> u128;
    /// Takes what a process writes to its stderr.
    fn print(&self, text: &str);
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Connects to the node at this path. A connection with data that is not acknowledged within this time fails.
    fn connect(&self, path: &Path, unacknowledged: Duration) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// Returns the host of the process that runs now, if it is a simulated one.
pub(crate) fn current() -> Option<Rc<dyn Host>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Connects to a node of the simulation, if the present host is a simulated one.
pub(crate) fn connect(
    path: &Path,
    unacknowledged: Duration,
) -> Option<BoxFuture<'static, io::Result<Box<dyn Stream>>>> {
    Some(current()?.connect(path, unacknowledged))
}

/// Runs something in a process of this host.
pub(crate) fn run_on<T>(host: Rc<dyn Host>, run: impl FnOnce() -> T) -> T {
    let before = CURRENT.replace(Some(host));
    let done = run();
    CURRENT.set(before);
    done
}
