//! `--pid-namespace`: the guard as PID 1 of a PID namespace of its own. When it dies, however it dies, the kernel kills
//! all that is in the namespace (pid_namespaces(7)), whatever else dies at the same instant.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{ForkResult, Pid, getegid, geteuid, pipe2},
};

use crate::{
    limits::no_process,
    sys::{
        process::{exit_now, fork_with_one_thread},
        wait::wait_for,
    },
};

/// Forks as fork(2) does; the child is PID 1 of a new namespace, with its own /proc.
///
/// A process doesn't enter the namespace that it makes; only its children do. Nor can it start threads from then on. So
/// a process between the two makes the namespace, forks and ends; the child then comes to us, its subreaper.
///
/// # Errors
/// In the parent: what the system refuses. The child does not return then.
pub(super) fn fork_into_new() -> Result<ForkResult> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let (read, write) = (File::from(read), File::from(write));
    match fork_with_one_thread().map_err(no_process)? {
        ForkResult::Parent { child: between } => {
            drop(write);
            Ok(ForkResult::Parent { child: grandchild(between, read)? })
        }
        ForkResult::Child => {
            drop(read);
            Ok(fork_within(write))
        }
    }
}

/// In the process between: makes the namespace and forks the child, which alone returns. Either may write what goes
/// wrong.
fn fork_within(mut result: File) -> ForkResult {
    match make().and_then(|()| fork_with_one_thread().map_err(no_process).context("can't start a process in it")) {
        Ok(ForkResult::Child) => {
            if let Err(e) = own_proc() {
                end_with(e, &mut result);
            }
            ForkResult::Child
        }
        Ok(ForkResult::Parent { child }) => {
            let _ = writeln!(result, "{child}");
            exit_now(0);
        }
        Err(e) => end_with(e, &mut result),
    }
}

/// In the parent: returns the child that the process between has forked.
fn grandchild(between: Pid, mut read: File) -> Result<Pid> {
    let mut result = String::new();
    read.read_to_string(&mut result)?;
    wait_for(between);
    // The two write in any order: a process id, or what went wrong.
    match result.lines().find(|line| line.parse::<i32>().is_err()) {
        Some(refused) => bail!("--pid-namespace is refused: {refused}"),
        None => {
            let pid = result.trim().parse().map_err(|_| anyhow!("--pid-namespace: the process that makes it died"))?;
            Ok(Pid::from_raw(pid))
        }
    }
}

/// Makes the namespaces; without the privilege to do so, inside a user namespace.
fn make() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    let wanted = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    match unshare(wanted) {
        Err(Errno::EPERM) => {
            unshare(wanted | CloneFlags::CLONE_NEWUSER)
                .context("this needs root, or a system that lets users make namespaces (unshare(2))")?;
            // user_namespaces(7): without privileges, a process may only map its own user, and must give up
            // setgroups(2) for it.
            match fs::write("/proc/self/setgroups", "deny") {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).context("can't write /proc/self/setgroups"),
                _ => {}
            }
            fs::write("/proc/self/uid_map", format!("{user} {user} 1")).context("can't write /proc/self/uid_map")?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1")).context("can't write /proc/self/gid_map")
        }
        made => made.context("can't make a namespace (unshare(2))"),
    }
}

/// In the namespace: mounts a /proc that shows its processes, for it and nobody else.
fn own_proc() -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("can't keep its mounts apart")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).context("can't mount its /proc")
}

/// Writes why this process ends, and ends it.
fn end_with(error: anyhow::Error, result: &mut File) -> ! {
    let _ = writeln!(result, "{error:#}");
    exit_now(0)
}
