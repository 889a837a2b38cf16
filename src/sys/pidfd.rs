//! Pidfds: descriptors that name a process for good, also after its id belongs to another (pidfd_open(2)).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    libc::{self, c_int},
    unistd::Pid,
};
use rustix::process::{PidfdFlags, pidfd_open};

/// A process that keeps its identity.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process that has this id now.
    ///
    /// # Errors
    /// Those of pidfd_open(2), which a container's profile may refuse.
    pub(crate) fn open(pid: Pid) -> Result<Self, Errno> {
        let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
        pidfd_open(pid, PidfdFlags::empty()).map(Pidfd).map_err(|e| Errno::from_raw(e.raw_os_error()))
    }

    /// Sends a signal to the process. Takes a number, since neither nix nor rustix has names for real-time signals; 0
    /// only probes.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2); ESRCH: the process has been reaped.
    pub(crate) fn send(&self, number: c_int) -> Result<(), Errno> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open for as long as `self`; with a null siginfo the kernel reads no memory of this
        // process.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), number, no_info, 0) };
        Errno::result(sent).map(drop)
    }

    /// Returns whether the process takes signals from us: it is there then, alive or as a zombie, and still has its id.
    pub(crate) fn takes_signals(&self) -> bool {
        self.send(0) == Ok(())
    }
}
