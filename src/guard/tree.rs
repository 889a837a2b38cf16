//! The tree of a command: everything that descends from this process.
//!
//! This process is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): whatever loses its parent, however it was
//! detached, becomes our child. So the tree is empty when, and only when, we have no child (wait(2): ECHILD), and
//! killing our children again and again reaches everything. What is further down is killed at once too, so that nothing
//! lives on behind a parent that is caught in an uninterruptible call.
//!
//! The id of a child of ours can't be reused before we reap it; any other process is held by a pidfd, and is signalled
//! only after its parent has been read again through what that pidfd keeps from being reused.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
};

use nix::{errno::Errno, libc, unistd::Pid};
use rustix::process::{self, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};

use super::protocol::Ending;

/// What [`reap`] found.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Ended,
    Suspended(Pid),
    Continued(Pid),
    /// No child has anything to tell now.
    Quiet,
    /// There is no child at all: the tree is empty.
    Empty,
}

/// How a child has ended that is not reaped yet, and stays so.
pub fn peek_at(pid: Pid) -> Option<Ending> {
    let id = process::Pid::from_raw(pid.as_raw())?;
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = process::waitid(WaitId::Pid(id), peek).ok()??;
    status.exit_status().map(Ending::Code).or_else(|| status.terminating_signal().map(Ending::Signal))
}

/// Takes the next change of a child. The process id of one that has ended is free from then on.
pub fn reap() -> Change {
    let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
    match process::wait(options) {
        Ok(Some((pid, status))) => {
            let pid = Pid::from_raw(pid.as_raw_nonzero().get());
            if ending(status).is_some() {
                Change::Ended
            } else if status.stopped() {
                Change::Suspended(pid)
            } else {
                Change::Continued(pid)
            }
        }
        Err(rustix::io::Errno::CHILD) => Change::Empty,
        Ok(None) | Err(_) => Change::Quiet,
    }
}

/// A process of the tree that a signal could not be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Spared {
    pub pid: Pid,
    pub errno: Errno,
}

/// Which processes of the tree are meant.
#[derive(Clone, Copy, Debug)]
pub enum Members<'a> {
    All,
    /// Those of one process group.
    Group(Pid),
    /// All but these children of ours and what descends from them.
    AllBut(&'a [Pid]),
}

/// Sends a signal to the tree; gives the first process that could not be signalled.
///
/// Where /proc can't be used, it finds our children only: their children become ours when they die.
pub fn signal(number: libc::c_int, members: Members<'_>) -> Option<Spared> {
    let me = nix::unistd::getpid();
    let mut spared = None;
    for child in children() {
        if matches!(members, Members::AllBut(not) if not.contains(&child)) {
            continue;
        }
        let Ok(held) = hold(child) else { continue };
        visit(child, &held, me, &mut |pid, held| {
            if members.include(pid)
                && let Err(errno) = send(held, number)
                && errno != Errno::ESRCH
            {
                spared.get_or_insert(Spared { pid, errno });
            }
        });
    }
    spared
}

impl Members<'_> {
    fn include(self, pid: Pid) -> bool {
        match self {
            Members::All | Members::AllBut(_) => true,
            Members::Group(group) => nix::unistd::getpgid(Some(pid)) == Ok(group),
        }
    }
}

/// Our children. Each stays one, alive or as a zombie, until we reap it.
pub fn children() -> Vec<Pid> {
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match process::waitid(WaitId::All, peek) {
        Err(rustix::io::Errno::CHILD) => Vec::new(),
        _ => children_of(nix::unistd::getpid()).unwrap_or_else(probe_children),
    }
}

fn ending(status: process::WaitStatus) -> Option<Ending> {
    status.exit_status().map(Ending::Code).or_else(|| status.terminating_signal().map(Ending::Signal))
}

/// Reaps the children that have ended, as PID 1 has to, up to the first that is to be `kept`. Gives how the one `of_interest`
/// ended, if it is among them.
pub fn reap_strangers(kept: impl Fn(Pid) -> bool, of_interest: Option<Pid>) -> Option<Ending> {
    let mut found = None;
    while let Some(pid) = first_ended().filter(|&pid| !kept(pid))
        && let Some(id) = process::Pid::from_raw(pid.as_raw())
        && let Ok(reaped) = process::waitpid(Some(id), WaitOptions::NOHANG)
    {
        found = found.or(reaped.and_then(|(_, status)| ending(status)).filter(|_| Some(pid) == of_interest));
    }
    found
}

/// A child that has ended, left unreaped.
fn first_ended() -> Option<Pid> {
    // SAFETY: all zeros is a valid siginfo_t; waitid(2) leaves it so, or fills it in as for SIGCHLD.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        Errno::result(libc::waitid(libc::P_ALL, 0, &raw mut info, options)).ok()?;
        info.si_pid()
    };
    (pid != 0).then(|| Pid::from_raw(pid))
}

/// Acts on a process, then on what descends from it. Its children are listed before it is acted on; those that it has
/// lost by then are ours.
fn visit(pid: Pid, held: &OwnedFd, me: Pid, act: &mut impl FnMut(Pid, &OwnedFd)) {
    let children = children_of(pid).unwrap_or_default();
    act(pid, held);
    for child in children {
        let Ok(held_child) = hold(child) else { continue };
        let parent = parent_of(child);
        // `pid` still is who it was where its pidfd takes a signal, so that a child of `pid` is a child of that process.
        if parent == Some(me) || (parent == Some(pid) && send(held, 0) == Ok(())) {
            visit(child, &held_child, me, act);
        }
    }
}

fn hold(pid: Pid) -> Result<OwnedFd, Errno> {
    let pid = process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| Errno::from_raw(e.raw_os_error()))
}

fn send(held: &OwnedFd, number: libc::c_int) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: pidfd_send_signal(2) with no siginfo and no flags; it takes numbers that the wrappers have no names for.
    let sent = unsafe {
        let fd = held.as_fd().as_raw_fd();
        libc::syscall(libc::SYS_pidfd_send_signal, fd, number, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    Errno::result(sent).map(drop)
}

/// The children of a process, from the files that the kernel makes for this (proc(5), /proc/pid/task/tid/children).
/// `None` where /proc is not there, is that of another PID namespace, or has no such files.
fn children_of(pid: Pid) -> Option<Vec<Pid>> {
    let me = fs::read_link("/proc/self").ok()?;
    if me.to_str() != Some(nix::unistd::getpid().to_string().as_str()) {
        return None;
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(Vec::new()) };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => {
                children.extend(list.split_ascii_whitespace().filter_map(|n| n.parse().ok()).map(Pid::from_raw))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// The largest process id that Linux gives (PID_MAX_LIMIT).
const LARGEST_PID: i32 = 1 << 22;

/// Our children, without /proc: waitid(2) says of every other process id that it is no child of ours.
fn probe_children() -> Vec<Pid> {
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let is_child =
        |n: i32| process::Pid::from_raw(n).is_some_and(|pid| process::waitid(WaitId::Pid(pid), peek).is_ok());
    (2..=LARGEST_PID).filter(|&n| is_child(n)).map(Pid::from_raw).collect()
}

/// Field 4 of /proc/pid/stat (proc(5)); the name before it may hold anything, so fields are counted from its end.
fn parent_of(pid: Pid) -> Option<Pid> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}
