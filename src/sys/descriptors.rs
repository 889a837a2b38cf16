//! Descriptors that are known by number only: those that were inherited.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

use nix::libc;

/// How many descriptors are tried where they can't be listed: what a process may open by default.
const MOST_TRIED: RawFd = 1024;

/// Closes all descriptors that were inherited but stderr; stdin and stdout become /dev/null.
///
/// The command has them by then. Whoever is at the other end sees what the command does: an end of file when it closes
/// its output, a broken pipe when it closes its input.
pub(crate) fn let_go() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
            // SAFETY: dup2(2) accesses no memory. What it closes is owned by no Rust value: std names the two by number
            // only, and finds /dev/null under that number from now on.
            unsafe { libc::dup2(null.as_raw_fd(), standard) };
        }
    }
    for fd in open_descriptors() {
        if fd > libc::STDERR_FILENO && is_inherited(fd) {
            // SAFETY: close(2) accesses no memory, and no Rust value owns a descriptor that was inherited.
            unsafe { libc::close(fd) };
        }
    }
}

/// Closes all descriptors but this one, for good: the process must use no other any more, and end by
/// [`super::process::exit_now`].
pub(crate) fn close_all_but(kept: BorrowedFd<'_>) {
    for fd in open_descriptors().into_iter().filter(|&fd| fd != kept.as_raw_fd()) {
        // SAFETY: close(2) accesses no memory. The Rust values that own the descriptors, in what is a copy of another process's
        // memory, are neither used nor dropped again, as the caller promises.
        unsafe { libc::close(fd) };
    }
}

/// Returns whether a descriptor is open.
#[cfg(not(test))]
pub(super) fn is_open(fd: RawFd) -> bool {
    flags(fd).is_some()
}

/// Returns whether a descriptor was inherited: Rust's std, tokio, nix as it is used here, and this program open all of
/// theirs close-on-exec, and what exec keeps is not.
fn is_inherited(fd: RawFd) -> bool {
    flags(fd).is_some_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

fn flags(fd: RawFd) -> Option<libc::c_int> {
    // SAFETY: F_GETFD takes no third argument and only reads; EBADF for a number without a descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    (flags >= 0).then_some(flags)
}

fn open_descriptors() -> Vec<RawFd> {
    match fs::read_dir("/proc/self/fd") {
        Ok(open) => open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
        // No descriptor is free to list them with: then they are few.
        Err(_) => (0..MOST_TRIED).collect(),
    }
}
