//! What a host gives its processes: clocks, random numbers, and the tasks of a process. In the simulation, one of its
//! hosts stands in for the real one.

#[cfg(any(test, fuzzing))]
pub(crate) mod simulated;

use std::{
    future::Future,
    io,
    time::{Duration, SystemTime},
};

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use tokio::runtime::Builder;

use crate::sys::boottime;

/// Returns the time since boot, including time in which the host was suspended.
pub(crate) fn since_boot() -> Duration {
    #[cfg(any(test, fuzzing))]
    if let Some(host) = simulated::current() {
        return host.since_boot();
    }
    boottime::since_boot()
}

/// Returns the wall clock's time.
pub(crate) fn wall_time() -> SystemTime {
    #[cfg(any(test, fuzzing))]
    if let Some(host) = simulated::current() {
        return host.wall_time();
    }
    SystemTime::now()
}

/// Returns a random number that nobody can guess.
///
/// # Errors
/// Those of getrandom(2).
pub(crate) fn random() -> Result<u128, Errno> {
    #[cfg(any(test, fuzzing))]
    if let Some(host) = simulated::current() {
        return Ok(host.random());
    }
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u128::from_ne_bytes(bytes))
}

/// Runs a future to its end, in a runtime of its own.
///
/// # Errors
/// The system refuses what an event loop needs.
pub(crate) fn run_alone<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // Dropping the runtime would wait for a name that is still being resolved.
    runtime.shutdown_background();
    Ok(output)
}

/// Runs a task beside the present one, to its end or that of the process. Requires a runtime.
pub(crate) fn spawn<F: Future<Output: Send> + Send + 'static>(task: F) {
    #[cfg(any(test, fuzzing))]
    if let Some(host) = simulated::current() {
        return host.spawn(Box::pin(async { drop(task.await) }));
    }
    tokio::spawn(task);
}
