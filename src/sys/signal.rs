//! Signals: sent by number to a child, to a group of children or to this process, and the two dispositions that run no
//! code.

use nix::{
    errno::Errno,
    libc::{self, c_int},
    sys::signal::{SigHandler, Signal, signal},
    unistd::Pid,
};

/// Sends a signal to a child, which is not reaped yet and so still has this id. Takes a number, since nix has no names
/// for real-time signals; 0 only probes.
///
/// # Errors
/// Those of kill(2); ESRCH for an id that names more than one process.
pub(crate) fn send_to_child(child: Pid, number: c_int) -> Result<(), Errno> {
    if child.as_raw() < 1 {
        return Err(Errno::ESRCH);
    }
    kill(child.as_raw(), number)
}

/// Sends a signal to a process group. The group has a member that is a child, which is not reaped yet, so it still has
/// this id.
///
/// # Errors
/// Those of kill(2); ESRCH for an id that can't be a child's group. kill(2) takes -1 for every process there is.
pub(crate) fn send_to_group(leader: Pid, number: c_int) -> Result<(), Errno> {
    if leader.as_raw() <= 1 {
        return Err(Errno::ESRCH);
    }
    kill(-leader.as_raw(), number)
}

/// Returns the name of a signal, such as SIGTERM. Real-time signals have only numbers.
pub(crate) fn signal_name(number: c_int) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

fn kill(target: libc::pid_t, number: c_int) -> Result<(), Errno> {
    // SAFETY: kill(2) takes two integers and accesses no memory of this process; unknown ids and numbers are errors.
    Errno::result(unsafe { libc::kill(target, number) }).map(drop)
}

/// Ends this process by a signal, with its default action. Returns only if that can't be done: in PID 1 of a PID
/// namespace, or if the action doesn't end a process.
pub(crate) fn die_of(number: c_int) {
    // SAFETY: both are C structs of integers, sets of bits and pointers that may be null, so all zeros are valid values:
    // the default action, and a set that sigemptyset(3) empties once more.
    let (default, mut only): (libc::sigaction, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: all pointers are null where that is allowed, or to values that live through the calls. A default action
    // runs no handler. Unknown numbers are errors.
    unsafe {
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, number);
        libc::sigaction(number, &raw const default, std::ptr::null_mut());
        libc::raise(number);
        // It takes effect when it is let through.
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
    }
}

/// Returns whether a blocked signal has been sent to this process, and waits to be taken.
pub(crate) fn is_pending(number: c_int) -> bool {
    // SAFETY: sigset_t is a C struct of integers, so all zeros is a valid value; sigpending(2) fills it in.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending) == 0 && libc::sigismember(&raw const pending, number) == 1
    }
}

/// Returns whether this process ignores a signal. Takes a number, since nix has no names for real-time signals.
pub(crate) fn is_ignored(number: c_int) -> bool {
    // SAFETY: sigaction is a C struct of integers, a set of bits and pointers that may be null, so all zeros is a valid
    // value.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action leaves the disposition as it is; `now` lives through the call and is ours to be
    // written.
    let read = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut now) };
    read == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Makes this process ignore a signal. Async-signal-safe.
///
/// # Errors
/// EINVAL: the signal can't be ignored.
pub(crate) fn ignore(number: Signal) -> Result<(), Errno> {
    // SAFETY: an ignored signal runs no handler, so no code can run at a moment that isn't ready for it.
    unsafe { signal(number, SigHandler::SigIgn) }.map(drop)
}

/// Gives a signal back its default action. Async-signal-safe.
///
/// # Errors
/// EINVAL: the action of the signal can't be changed.
pub(crate) fn reset(number: Signal) -> Result<(), Errno> {
    // SAFETY: a default action is the kernel's and runs no handler, so no code can run at a moment that isn't ready for
    // it.
    unsafe { signal(number, SigHandler::SigDfl) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signal_goes_to_more_than_a_child_or_its_group() {
        // Number 0 sends nothing, whatever it reaches.
        for id in [-2, -1, 0] {
            assert_eq!(send_to_child(Pid::from_raw(id), 0), Err(Errno::ESRCH));
        }
        for id in [-2, -1, 0, 1] {
            assert_eq!(send_to_group(Pid::from_raw(id), 0), Err(Errno::ESRCH));
        }
    }

    #[test]
    fn a_disposition_can_be_read_and_changed() {
        // SIGWINCH: nothing here depends on it, and its default action does nothing.
        ignore(Signal::SIGWINCH).expect("a disposition");
        assert!(is_ignored(Signal::SIGWINCH as c_int));
        reset(Signal::SIGWINCH).expect("a disposition");
        assert!(!is_ignored(Signal::SIGWINCH as c_int));
    }
}
