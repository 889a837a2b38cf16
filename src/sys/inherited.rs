//! What the start of this program changes and the command must get as it was: signal dispositions and the signal mask.

use nix::{
    errno::Errno,
    libc,
    sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask},
};

use super::{
    entry::sigpipe_was_ignored,
    signal::{ignore, is_ignored, reset},
};

/// What the command gets back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    mask: SigSet,
    sigchld_ignored: bool,
}

impl Inherited {
    /// Reads the mask and blocks every signal, here and in what is forked: each is then read from a signalfd, so that
    /// none is lost or interrupts a call. A fault of our own code ends us all the same, since the kernel forces its
    /// signal.
    ///
    /// A signal that was ignored stays so (nohup), except SIGCHLD: ignored, it would let the kernel reap our children
    /// unseen.
    ///
    /// # Errors
    /// Those of sigaction(2) and sigprocmask(2).
    pub(crate) fn take_over() -> Result<Self, Errno> {
        let sigchld_ignored = is_ignored(libc::SIGCHLD);
        if sigchld_ignored {
            reset(Signal::SIGCHLD)?;
        }
        let mut handled = SigSet::all();
        for signal in Signal::iterator().filter(|&signal| signal != Signal::SIGPIPE) {
            if is_ignored(signal as libc::c_int) {
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

    /// Gives everything back, where exec follows. Async-signal-safe.
    ///
    /// # Errors
    /// Those of sigaction(2) and sigprocmask(2).
    pub(crate) fn give_back(&self) -> Result<(), Errno> {
        if !sigpipe_was_ignored() {
            reset(Signal::SIGPIPE)?;
        }
        if self.sigchld_ignored {
            ignore(Signal::SIGCHLD)?;
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)
    }
}
