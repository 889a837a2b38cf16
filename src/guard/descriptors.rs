//! Inherited descriptors are the command's. Once it has them, ours are closed, so that whoever is at the other end sees what
//! the command does: an end of file when it closes its output, a broken pipe when it closes its input.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, RawFd},
};

use nix::libc;

/// Lets go of stdin, stdout and all else that was inherited; stderr stays, for messages.
///
/// What we have opened ourselves is close-on-exec, and what was inherited is not. Without /proc only stdin and stdout go.
pub fn let_go() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
            // SAFETY: dup2(2) replaces a descriptor that nothing here reads or writes any more.
            unsafe { libc::dup2(null.as_raw_fd(), standard) };
        }
    }
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<RawFd> = open.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in numbers.into_iter().filter(|&fd| fd > libc::STDERR_FILENO) {
        // SAFETY: F_GETFD only reads; a descriptor without FD_CLOEXEC is an inherited one, which nothing here owns.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(fd);
            }
        }
    }
}
