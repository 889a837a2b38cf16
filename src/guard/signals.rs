//! Signals, read from a descriptor one after the other instead of interrupting.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigSet, Signal, raise},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};
use tokio::io::unix::AsyncFd;

use crate::sys::readiness::watch;

/// A signal that has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signaled {
    pub number: libc::c_int,
    /// Who sent it; 0 is a process that this PID namespace doesn't have.
    pub sender: Pid,
    pub by_kernel: bool,
}

impl Signaled {
    /// Returns whether its default action ends a process (signal(7)).
    pub(crate) fn ends_a_process(self) -> bool {
        let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH].contains(&self.number);
        !harmless && !self.stops_a_process()
    }

    /// Returns whether the kernel sent it for the terminal, as it does for ^C: the whole process group in the foreground
    /// gets that.
    pub(crate) fn by_terminal(self) -> bool {
        let of_terminal = [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGCONT, libc::SIGWINCH];
        self.by_kernel && (of_terminal.contains(&self.number) || self.stops_a_process())
    }

    /// Returns whether its default action stops a process, in the foreground or the background of a terminal.
    pub(crate) fn stops_a_process(self) -> bool {
        stops_by_default(self.number)
    }
}

/// Returns whether a signal asks a process and its group to end.
pub(crate) fn asks_to_end(number: libc::c_int) -> bool {
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT].contains(&number)
}

/// Returns whether a signal's default action stops a process, in the foreground or the background of a terminal.
pub(super) fn stops_by_default(number: libc::c_int) -> bool {
    [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&number)
}

/// Stops this process as ^Z does, if its shell can continue it: the kernel stops nobody in an orphaned process group.
/// Returns when it has been continued.
pub(crate) fn stop_self() {
    stop_self_by(Signal::SIGTSTP);
}

/// The same by another signal that stops a process.
pub(super) fn stop_self_by(signal: Signal) {
    let stop = SigSet::from(signal);
    // The stop happens when the blocked signal is let through. SIGSTOP can't be blocked.
    if raise(signal).is_ok() {
        let _ = stop.thread_unblock();
        let _ = stop.thread_block();
    }
}

/// A descriptor from which blocked signals are read.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Opens a descriptor for the signals that are blocked now: those that we handle.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub(super) fn blocked() -> Result<Self, Errno> {
        let blocked = SigSet::thread_get_mask()?;
        SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Signals)
    }

    /// Returns the next signal, if one is there.
    pub(super) fn next(&self) -> Option<Signaled> {
        next(&self.0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same, for use within the runtime.
#[derive(Debug)]
pub(super) struct AsyncSignals(AsyncFd<SignalFd>);

impl AsyncSignals {
    /// Registers the descriptor with the runtime, from within it.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn watch(signals: Signals) -> io::Result<Self> {
        watch(signals.0).map(AsyncSignals)
    }

    /// Waits for the next signal. Cancel-safe.
    ///
    /// # Errors
    /// The runtime is at its end.
    pub(super) async fn next(&self) -> io::Result<Signaled> {
        loop {
            let mut ready = self.0.readable().await?;
            match next(ready.get_inner()) {
                Some(signal) => return Ok(signal),
                None => ready.clear_ready(),
            }
        }
    }
}

/// Returns the next signal, if one is there. Skips those that this process causes itself, such as SIGPIPE from a
/// message that nobody reads.
fn next(signals: &SignalFd) -> Option<Signaled> {
    loop {
        let info = signals.read_signal().ok()??;
        let by_kernel = info.ssi_code == libc::SI_KERNEL;
        if by_kernel || info.ssi_pid != std::process::id() {
            let sender = Pid::from_raw(info.ssi_pid.cast_signed());
            return Some(Signaled { number: info.ssi_signo as libc::c_int, sender, by_kernel });
        }
    }
}
