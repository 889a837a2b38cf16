//! Processes: fork, exec, and an end without cleaning up.

use std::{
    ffi::{CStr, OsString},
    fs,
    path::Path,
};

use nix::{
    errno::Errno,
    libc::{self, c_int},
    sched::{CloneFlags, unshare},
    sys::prctl::{get_name, set_name},
    unistd::{ForkResult, execv, fork},
};

use super::{
    inherited::Inherited,
    strings::{CStringArray, c_string},
};

/// Forks. The child goes on as an ordinary process: it may allocate, open files, and start threads.
///
/// # Errors
/// Those of fork(2) and of listing /proc/self/task; EBUSY: this process has more than one thread, which the child would
/// be without, with their locks still held.
pub(crate) fn fork_with_one_thread() -> Result<ForkResult, Errno> {
    if !has_one_thread()? {
        return Err(Errno::EBUSY);
    }
    // SAFETY: the caller's is the only thread and starts no other in between. So no lock is held by a thread that the
    // child lacks, and fork(2) leaves it everything in a state that it may go on from.
    unsafe { fork() }
}

/// Asks unshare(2), which changes nothing for a process with one thread and is an error for others; /proc where a
/// container's profile refuses the call.
fn has_one_thread() -> Result<bool, Errno> {
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(_) => {
            let threads = fs::read_dir("/proc/self/task");
            let threads = threads.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or_default()))?;
            Ok(threads.count() == 1)
        }
    }
}

/// Becomes another program. Returns only if that fails. Async-signal-safe.
pub(crate) fn exec(path: &CStr, args: &CStringArray, env: &CStringArray) -> Errno {
    // SAFETY: a CStr ends with NUL; both arrays end with a null pointer, and point to strings that they own, which end
    // with NUL. All are borrowed for the call, which only reads them.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::last()
}

/// Becomes this program once more, as if it had just been started, with these arguments. Returns only if that fails.
/// What is open is close-on-exec, and other threads end.
pub(crate) fn start_over(inherited: Inherited, arguments: &[OsString]) -> Errno {
    let arguments: Vec<_> = arguments.iter().map(|argument| c_string(argument)).collect();
    match inherited.give_back().and_then(|()| execv(c"/proc/self/exe", &arguments)) {
        Err(errno) => errno,
    }
}

/// Gives this process its name again, if [`start_over`] has named it after the link in /proc.
pub(crate) fn restore_name(arguments: &[OsString]) {
    if let Some(name) = arguments.first().and_then(|path| Path::new(path).file_name())
        && get_name().is_ok_and(|now| now.as_c_str() == c"exe")
    {
        let _ = set_name(&c_string(name));
    }
}

/// Ends this process at once: no buffer is written, and no handler of the process that it was forked from runs.
/// Async-signal-safe.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: _exit(2) takes an integer and never returns; the kernel frees what the process has.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_process_with_two_threads_is_not_forked() {
        let refused = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| refused.wait());
            let forked = fork_with_one_thread();
            if matches!(forked, Ok(ForkResult::Child)) {
                exit_now(1);
            }
            refused.wait();
            assert_eq!(forked.err(), Some(Errno::EBUSY));
        });
    }
}
