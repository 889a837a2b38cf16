//! What the limits of a process must allow (setrlimit(2)), checked before they end it.

use std::io;

use nix::errno::Errno;
use rustix::process::{Resource, getrlimit};

/// The smallest stack that we start with, in bytes. 88 KiB of it are used, and what is not optimized uses 640 KiB. Arguments
/// and environment take theirs from the same limit: 128 KiB, or a quarter of it.
const SMALLEST_STACK: u64 = if cfg!(debug_assertions) { 1024 } else { 256 } * 1024;

/// How many processes a user may have for the limit not to be worth a look.
const MANY_PROCESSES: u64 = 1024;

/// Checks that the stack may become as large as we need it.
///
/// # Errors
/// It may not: what is wrong.
pub(crate) fn check_stack() -> Result<(), String> {
    match getrlimit(Resource::Stack).current {
        Some(bytes) if bytes < SMALLEST_STACK => {
            let (allowed, needed) = (bytes / 1024, SMALLEST_STACK / 1024);
            Err(format!("the stack is limited to {allowed} KiB, {needed} are needed (ulimit -s {needed})"))
        }
        _ => Ok(()),
    }
}

/// Returns whether our user may have only few processes, so that there may be no room for the next one.
pub(crate) fn allow_few_processes() -> bool {
    getrlimit(Resource::Nproc).current.is_some_and(|number| number < MANY_PROCESSES)
}

/// Returns what to do if a failed fork(2), or a call that opens a descriptor, has met a limit. It follows the error's text.
pub(crate) fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EAGAIN => "; raise the limit of processes (ulimit -u, or pids.max of the cgroup)",
        Errno::EMFILE => "; raise the limit of open files (ulimit -n)",
        Errno::ENFILE => "; raise the system's limit of open files (sysctl fs.file-max)",
        _ => "",
    }
}

/// Returns a failed fork(2) as an error whose text says what to do.
pub(crate) fn no_process(errno: Errno) -> anyhow::Error {
    anyhow::Error::msg(format!("{errno}{}", advice(errno)))
}

/// Returns the text of an error, and what to do if descriptors are lacking.
pub(crate) fn explained(error: &anyhow::Error) -> String {
    let errnos = error.chain().filter_map(|cause| {
        let of_system = || cause.downcast_ref::<io::Error>()?.raw_os_error().map(Errno::from_raw);
        cause.downcast_ref().copied().or_else(of_system)
    });
    // EAGAIN of any other call has nothing to do with processes.
    let mut lacking = errnos.filter(|errno| is_lack_of_descriptors(*errno));
    format!("{error:#}{}", lacking.next().map_or("", advice))
}

/// Returns whether the process or the system has no descriptor left.
pub(crate) fn is_lack_of_descriptors(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_explained_however_it_is_wrapped() {
        let text = |error: anyhow::Error| explained(&Err::<(), _>(error).context("can't").expect_err("an error"));
        let of_system = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        for said in [text(Errno::EMFILE.into()), text(of_system(Errno::EMFILE).into())] {
            assert!(
                said.starts_with("can't: ") && said.ends_with("; raise the limit of open files (ulimit -n)"),
                "{said}"
            );
        }
        assert!(text(Errno::ENFILE.into()).ends_with("(sysctl fs.file-max)"));
        for said in
            [text(Errno::EAGAIN.into()), text(of_system(Errno::EPERM).into()), text(io::Error::other("x").into())]
        {
            assert!(!said.contains("limit"), "{said}");
        }
        assert!(text(no_process(Errno::EAGAIN)).ends_with("(ulimit -u, or pids.max of the cgroup)"));
    }
}
