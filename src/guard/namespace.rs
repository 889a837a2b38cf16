//! `--pid-namespace`: the guard as PID 1 of a PID namespace of its own. When it dies, however it dies, the kernel kills all
//! that is in the namespace (pid_namespaces(7)), whatever else dies at the same instant.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork, getegid, geteuid, pipe2},
};

/// Forks as fork(2) does; the child is PID 1 of a new namespace, with its own /proc.
///
/// A process does not enter the namespace that it makes, only its children do, and one that has made it can start no
/// threads any more. So a process between the two makes it, forks and ends; the child comes to us, its subreaper.
///
/// # Errors
/// In the parent: what the system refuses. The child does not return then.
pub fn fork_into_new() -> Result<ForkResult> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let (mut read, mut write) = (File::from(read), File::from(write));
    // SAFETY: this process has one thread, so that the child may go on as an ordinary process.
    let between = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(read);
            // SAFETY: as above.
            match make().and_then(|()| unsafe { fork() }.context("can't start a process in it")) {
                Ok(ForkResult::Child) => {
                    end_if_failed(own_proc(), &mut write);
                    return Ok(ForkResult::Child);
                }
                Ok(ForkResult::Parent { child }) => {
                    let _ = writeln!(write, "{child}");
                    exit();
                }
                Err(e) => {
                    end_if_failed(Err(e), &mut write);
                    exit();
                }
            }
        }
    };
    drop(write);
    let mut told = String::new();
    read.read_to_string(&mut told)?;
    while waitpid(between, None) == Err(Errno::EINTR) {}
    // The two write in any order: a process id, or what went wrong.
    match told.lines().find(|line| line.parse::<i32>().is_err()) {
        Some(refused) => bail!("--pid-namespace is refused: {refused}"),
        None => {
            let pid = told.trim().parse().map_err(|_| anyhow!("--pid-namespace: the process that makes it died"))?;
            Ok(ForkResult::Parent { child: Pid::from_raw(pid) })
        }
    }
}

/// Makes the namespaces, without a right of our own in a user namespace.
fn make() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    let wanted = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    match unshare(wanted) {
        Err(Errno::EPERM) => {
            unshare(wanted | CloneFlags::CLONE_NEWUSER)
                .context("this needs root, or a system that lets users make namespaces (unshare(2))")?;
            // user_namespaces(7): without a right, one may only map oneself, and must give up setgroups(2) for it.
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

/// In the namespace: a /proc that shows its processes, for it and nobody else.
fn own_proc() -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("can't keep its mounts apart")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).context("can't mount its /proc")
}

fn end_if_failed(done: Result<()>, told: &mut File) {
    if let Err(e) = done {
        let _ = writeln!(told, "{e:#}");
        exit();
    }
}

fn exit() -> ! {
    // SAFETY: ends the process at once, without handlers of the one that it was forked from.
    unsafe { libc::_exit(0) }
}
