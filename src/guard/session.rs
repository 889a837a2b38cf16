//! How the guard leaves the command's process group, so that it is never stopped with it.
//!
//! The kernel takes a stop by the terminal, such as ^Z, only to a process group that somebody could continue: a process
//! of the same session, but of another group, is the parent of a member (an orphaned group has none). That is what a
//! shell with job control is, and the guard, the command's parent, must not be: it leaves the session as well. When the
//! shell ends, the kernel continues what is stopped and hangs it up, as it would without us.
//!
//! Without a terminal the command has a group of its own, which is orphaned then: TSTP and the like don't stop it. That costs
//! less than a guard in the session, which whoever kills a session kills together with the elector.

use nix::unistd::{Pid, getpgid, getpgrp, getsid, setsid};

use super::proc_stat::ProcStat;

/// Returns whether somebody could continue our process group. As far as can be seen: the group's other members may have
/// other parents. `starter`: the parent of the elector.
pub(super) fn has_job_control(starter: Pid) -> bool {
    let (group, session) = (getpgrp(), getsid(None));
    let mut parent = starter;
    while parent.as_raw() > 0 && getsid(Some(parent)) == session {
        if getpgid(Some(parent)) != Ok(group) {
            return true;
        }
        let Some(stat) = ProcStat::of(parent) else { return false };
        parent = stat.parent;
    }
    false
}

/// Leaves the process group and the session.
pub(super) fn leave_group() {
    // It doesn't fail: this process leads no group.
    let _ = setsid();
}
