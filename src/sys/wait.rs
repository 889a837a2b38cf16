//! Children: how they change and end (wait(2), waitid(2)).

use nix::{
    errno::Errno,
    libc,
    unistd::{Pid, getpid},
};
use rustix::process::{self, WaitId, WaitIdOptions, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
}

/// What became of the children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildStatus {
    /// One has ended and is reaped: its process id is free from now on.
    Ended,
    /// This signal has suspended it.
    Suspended(Pid, i32),
    Continued(Pid),
    /// None has changed.
    Quiet,
    /// There is none.
    Empty,
}

/// Which changes [`peek_at`], [`has_children`] and [`first_ended`] look for: ends, which they leave to be reaped.
const PEEK: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG).union(WaitIdOptions::NOWAIT);

/// Tries the system calls by which children are seen to end. Changes nothing.
///
/// # Errors
/// One of them is refused.
pub(crate) fn probe() -> Result<(), Errno> {
    match process::waitid(WaitId::All, PEEK) {
        Ok(_) | Err(rustix::io::Errno::CHILD) => {}
        Err(e) => return Err(Errno::from_raw(e.raw_os_error())),
    }
    // No process is its own child.
    match reap(getpid()) {
        Err(Errno::ECHILD) => Ok(()),
        refused => refused.map(drop),
    }
}

/// Returns how a child has ended, and leaves it to be reaped; `None` while it runs.
pub(crate) fn peek_at(child: Pid) -> Option<Ending> {
    let status = process::waitid(WaitId::Pid(rustix_pid(child)?), PEEK).ok()??;
    status.exit_status().map(Ending::Code).or_else(|| status.terminating_signal().map(Ending::Signal))
}

/// Returns whether there is any child, also one that isn't reaped. Only ECHILD says that there is none.
pub(crate) fn has_children() -> bool {
    !matches!(process::waitid(WaitId::All, PEEK), Err(rustix::io::Errno::CHILD))
}

/// Returns a child that has ended, and leaves it to be reaped.
pub(crate) fn first_ended() -> Option<Pid> {
    look_at_all(libc::WEXITED | libc::WNOWAIT).map(|(pid, _)| pid)
}

/// Takes the next suspension or continuation of a child, without waiting for one. Reaps nothing.
pub(crate) fn next_suspension() -> ChildStatus {
    match look_at_all(libc::WSTOPPED | libc::WCONTINUED) {
        Some((pid, info)) if info.si_code == libc::CLD_CONTINUED => ChildStatus::Continued(pid),
        // SAFETY: waitid(2) has filled `info` in as for SIGCHLD, which has this field.
        Some((pid, info)) => ChildStatus::Suspended(pid, unsafe { info.si_status() }),
        None => ChildStatus::Quiet,
    }
}

/// Returns the first child with such a change, if there is one by now.
fn look_at_all(options: i32) -> Option<(Pid, libc::siginfo_t)> {
    // SAFETY: siginfo_t is a C struct of integers and of pointers that may be null, so all zeros is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` lives through the call and is ours to be written.
    Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options | libc::WNOHANG) }).ok()?;
    // SAFETY: waitid(2) has filled `info` in as for SIGCHLD, which has this field, or has left the zeros, which read as
    // id 0.
    let pid = unsafe { info.si_pid() };
    (pid != 0).then(|| (Pid::from_raw(pid), info))
}

/// Takes the next change of a child, without waiting for one, and reaps the child if it has ended.
pub(crate) fn next_change() -> ChildStatus {
    match process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
        Ok(Some((pid, status))) => {
            let pid = Pid::from_raw(pid.as_raw_nonzero().get());
            if ending(status).is_some() {
                ChildStatus::Ended
            } else if let Some(signal) = status.stopping_signal() {
                ChildStatus::Suspended(pid, signal)
            } else {
                ChildStatus::Continued(pid)
            }
        }
        Err(rustix::io::Errno::CHILD) => ChildStatus::Empty,
        Ok(None) | Err(_) => ChildStatus::Quiet,
    }
}

/// Reaps a child if it has ended. Returns how it ended; `None` while it runs.
///
/// # Errors
/// ECHILD: it is no child of this process.
pub(crate) fn reap(child: Pid) -> Result<Option<Ending>, Errno> {
    let child = rustix_pid(child).ok_or(Errno::ECHILD)?;
    let reaped = process::waitpid(Some(child), WaitOptions::NOHANG).map_err(|e| Errno::from_raw(e.raw_os_error()))?;
    Ok(reaped.and_then(|(_, status)| ending(status)))
}

/// Waits until a child that ends at once has ended, and reaps it.
pub(crate) fn wait_for(child: Pid) {
    while nix::sys::wait::waitpid(child, None) == Err(Errno::EINTR) {}
}

fn ending(status: WaitStatus) -> Option<Ending> {
    status.exit_status().map(Ending::Code).or_else(|| status.terminating_signal().map(Ending::Signal))
}

fn rustix_pid(pid: Pid) -> Option<process::Pid> {
    process::Pid::from_raw(pid.as_raw())
}
