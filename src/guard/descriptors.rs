//! Inherited descriptors are the command's. Once it has them, ours are closed, so that whoever is at the other end sees what
//! the command does: an end of file when it closes its output, a broken pipe when it closes its input.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, RawFd},
};

use nix::libc;

/// How many descriptors are tried where they can't be listed: what a process may open by default.
const MOST_TRIED: RawFd = 1024;

/// Lets go of stdin, stdout and all else that was inherited; stderr stays, for messages.
///
/// What we have opened ourselves is close-on-exec, and what was inherited is not.
pub fn let_go() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
            // SAFETY: dup2(2) replaces a descriptor that nothing here reads or writes any more.
            unsafe { libc::dup2(null.as_raw_fd(), standard) };
        }
    }
    for fd in open_descriptors().into_iter().filter(|&fd| fd > libc::STDERR_FILENO) {
        // SAFETY: F_GETFD only reads; a descriptor without FD_CLOEXEC is an inherited one, which nothing here owns.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(fd);
            }
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    match fs::read_dir("/proc/self/fd") {
        Ok(open) => open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
        // No descriptor is free to list them with: then they are few.
        Err(_) => (0..MOST_TRIED).collect(),
    }
}
