//! What our own start changes and the command must get as it was: signal dispositions, the signal mask, closed standard
//! descriptors.
//!
//! Rust's runtime ignores SIGPIPE and opens /dev/null in place of closed standard descriptors before `main`, so these are
//! read before it, from the program's initialisers.

use std::{
    os::fd::RawFd,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::{
    errno::Errno,
    libc,
    sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask},
};

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

// SAFETY: the C runtime calls the functions in this section once, before main and with one thread. This one makes system
// calls and stores atomics; it needs nothing of Rust's runtime. The GNU C library gives it main's arguments.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn(libc::c_int, *mut *mut libc::c_char) = before_main;

extern "C" fn before_main(_count: libc::c_int, _arguments: *mut *mut libc::c_char) {
    #[cfg(target_env = "gnu")]
    super::secrets::remember(_count, _arguments);
    SIGPIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Relaxed);
    for (fd, closed) in (0..).zip(&CLOSED) {
        // SAFETY: F_GETFD only reads; a number without a descriptor gives EBADF.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        closed.store(flags < 0, Relaxed);
    }
}

/// Whether the signal is ignored now. Takes a number, since nix knows no real-time signals.
pub(super) fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zeros is a valid sigaction to be written over.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action only reads the present one into `now`.
    let read = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
    read == 0 && now.sa_sigaction == libc::SIG_IGN
}

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
        let sigchld_ignored = is_ignored(libc::SIGCHLD);
        if sigchld_ignored {
            default_action(Signal::SIGCHLD)?;
        }
        let mut handled = SigSet::all();
        for signal in Signal::iterator().filter(|&signal| signal != Signal::SIGPIPE) {
            if is_ignored(signal as libc::c_int) {
                handled.remove(signal);
            }
        }
        if SIGPIPE_IGNORED.load(Relaxed) {
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
        if !SIGPIPE_IGNORED.load(Relaxed) {
            default_action(Signal::SIGPIPE)?;
        }
        if self.sigchld_ignored {
            // SAFETY: sigaction(2) is async-signal-safe, and ignoring runs no code.
            unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        }
        for (fd, closed) in (0..).zip(&CLOSED) {
            if closed.load(Relaxed) {
                close(fd);
            }
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)
    }
}

fn default_action(signal: Signal) -> Result<(), Errno> {
    // SAFETY: sigaction(2) is async-signal-safe, and the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map(drop)
}

fn close(fd: RawFd) {
    // SAFETY: the descriptor is the /dev/null that Rust's runtime opened, which nothing owns; exec follows.
    unsafe { libc::close(fd) };
}
