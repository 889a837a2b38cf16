//! The scheduling of processes (sched(7)).

use nix::{errno::Errno, libc, unistd::Pid};

/// Lets a child, which is not reaped yet and so still has this id, run before all processes of ordinary priority.
///
/// # Errors
/// EPERM: that needs CAP_SYS_NICE, or a resource limit RLIMIT_RTPRIO. EINVAL: an id that names no process.
pub(crate) fn run_before_others(child: Pid) -> Result<(), Errno> {
    if child.as_raw() < 1 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: sched_param is a C struct of integers, so all zeros is a valid value.
    let mut lowest: libc::sched_param = unsafe { std::mem::zeroed() };
    lowest.sched_priority = 1;
    // SAFETY: `lowest` lives through the call, which only reads it; unknown ids are errors.
    let set = unsafe { libc::syscall(libc::SYS_sched_setscheduler, child.as_raw(), libc::SCHED_RR, &raw const lowest) };
    Errno::result(set).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_means_this_process() {
        for id in [-1, 0] {
            assert_eq!(run_before_others(Pid::from_raw(id)), Err(Errno::EINVAL));
        }
    }
}
