//! What our own start changes and the command must get as it was: signal dispositions, the signal mask, closed standard
//! descriptors.

use std::os::fd::RawFd;

use nix::{
    errno::Errno,
    libc,
    sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask},
};

use crate::sys::entry::{closed_descriptors, ignores, sigpipe_was_ignored};

/// What the command gets back.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    pub mask: SigSet,
    sigchld_ignored: bool,
}

impl Inherited {
    /// Reads the mask and blocks every signal, from here on and in what is forked: each is then read from a signalfd, and
    /// none is lost or interrupts a call. A fault of our own code ends us all the same (the kernel forces it).
    ///
    /// A signal that was ignored stays so (nohup), but for SIGCHLD: ignored, it would let the kernel reap our children
    /// unseen.
    pub fn take_over() -> Result<Self, Errno> {
        let sigchld_ignored = ignores(libc::SIGCHLD);
        if sigchld_ignored {
            default_action(Signal::SIGCHLD)?;
        }
        let mut handled = SigSet::all();
        for signal in Signal::iterator().filter(|&signal| signal != Signal::SIGPIPE) {
            if ignores(signal as libc::c_int) {
                handled.remove(signal);
            }
        }
        if sigpipe_was_ignored() {
            handled.remove(Signal::SIGPIPE);
        }
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&handled), Some(&mut mask))?;
        Ok(Inherited { mask, sigchld_ignored })
    }

    /// The signals that we handle: those blocked now.
    pub fn handled() -> Result<SigSet, Errno> {
        SigSet::thread_get_mask()
    }

    /// Gives everything back, in the child that will be the command. Only async-signal-safe calls.
    pub fn give_back(&self) -> Result<(), Errno> {
        if !sigpipe_was_ignored() {
            default_action(Signal::SIGPIPE)?;
        }
        if self.sigchld_ignored {
            // SAFETY: sigaction(2) is async-signal-safe, and ignoring runs no code.
            unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        }
        closed_descriptors().for_each(close);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)
    }
}

fn default_action(signal: Signal) -> Result<(), Errno> {
    // SAFETY: sigaction(2) is async-signal-safe, and the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map(drop)
}

fn close(fd: RawFd) {
    // SAFETY: the descriptor is the /dev/null that stands in for a closed one, which nothing owns; exec follows.
    unsafe { libc::close(fd) };
}
