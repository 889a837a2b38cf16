//! Signals, read from a descriptor one after the other instead of interrupting.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigSet, Signal, raise},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::inherited::Inherited;

/// A signal that has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signaled {
    pub number: libc::c_int,
    /// Sent by the kernel, as ^C in a terminal is: the whole foreground process group has got it.
    pub by_kernel: bool,
}

impl Signaled {
    /// Whether its default action ends a process (signal(7)).
    pub fn ends_a_process(self) -> bool {
        let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH].contains(&self.number);
        !harmless && !self.stops_a_process()
    }

    /// Whether its default action stops a process, in the foreground or the background of a terminal.
    pub fn stops_a_process(self) -> bool {
        [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&self.number)
    }
}

/// Stops this process as ^Z does, if its shell can continue it: the kernel stops nobody in an orphaned process group.
/// Returns when it has been continued.
pub fn stop_self() {
    let stop = SigSet::from(Signal::SIGTSTP);
    // The stop happens when the blocked signal is let through.
    if raise(Signal::SIGTSTP).is_ok() {
        let _ = stop.thread_unblock();
        let _ = stop.thread_block();
    }
}

/// Ends this process by a signal, as it ended the command. Returns where that can't be done, as in PID 1.
pub fn end_self(signal: Signal) {
    if raise(signal).is_ok() {
        let _ = SigSet::from(signal).thread_unblock();
    }
}

/// The signals that we handle.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// All that [`Inherited::take_over`] has blocked.
    pub fn all() -> Result<Self, Errno> {
        Self::only(&Inherited::handled()?)
    }

    pub fn only(signals: &SigSet) -> Result<Self, Errno> {
        SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Signals)
    }

    /// The next signal, if one is there. Those that we bring on ourselves, such as SIGPIPE by a message that nobody reads,
    /// are passed over.
    pub fn next(&self) -> Option<Signaled> {
        loop {
            let info = self.0.read_signal().ok()??;
            let by_kernel = info.ssi_code == libc::SI_KERNEL;
            if by_kernel || info.ssi_pid != std::process::id() {
                return Some(Signaled { number: info.ssi_signo as libc::c_int, by_kernel });
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
