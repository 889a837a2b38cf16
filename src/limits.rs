//! What the limits of a process must allow (setrlimit(2)), checked before they end it.

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
