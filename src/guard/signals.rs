//! Signals, read from a descriptor one after the other instead of interrupting.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::SigSet,
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
        !matches!(
            self.number,
            libc::SIGCHLD
                | libc::SIGCONT
                | libc::SIGTSTP
                | libc::SIGTTIN
                | libc::SIGTTOU
                | libc::SIGURG
                | libc::SIGWINCH
        )
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

    /// The next signal, if one is there.
    pub fn next(&self) -> Option<Signaled> {
        let info = self.0.read_signal().ok()??;
        Some(Signaled { number: info.ssi_signo as libc::c_int, by_kernel: info.ssi_code == libc::SI_KERNEL })
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
