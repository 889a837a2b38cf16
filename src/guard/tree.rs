//! The tree of a command: everything that descends from this process.
//!
//! This process is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): whatever loses its parent, however it was
//! detached, becomes our child. So the tree is empty when, and only when, we have no child (wait(2): ECHILD), and
//! killing our children again and again reaches everything.
//!
//! Our children are killed by kill(2): the id of a child can't be reused before we reap it. They are listed in a file
//! that is open from the start, so that this needs no descriptor, no thread and hardly any memory.
//!
//! Processes further down are signalled at once if pidfds and /proc allow it, so that nothing survives behind a parent
//! that is stuck in an uninterruptible call. Such a process is opened as a pidfd, and signalled only if its parent,
//! read after that, is one of the tree.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    libc::{self, c_int},
    unistd::Pid,
};

use crate::sys::{
    pidfd::Pidfd,
    signal::send_to_child,
    wait::{self, Ending},
};

/// What descends from this process, as its main thread sees it.
#[derive(Debug)]
pub(super) struct Tree {
    /// proc(5), /proc/PID/task/TID/children: our children, those of the main thread, to which orphans come as well.
    children: File,
    me: Pid,
}

/// A process of the tree that a signal could not be sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spared {
    pub pid: Pid,
    pub errno: Errno,
}

/// Which processes of the tree are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Members<'a> {
    All,
    /// Those of one process group.
    Group(Pid),
    /// All but these children of ours and what descends from them.
    AllBut(&'a [Pid]),
}

impl Tree {
    /// Opens the list of our children; from the main thread, before the first child that matters.
    ///
    /// # Errors
    /// What is missing to see our children, and what to do.
    pub(super) fn open() -> Result<Self> {
        let me = nix::unistd::getpid();
        let ours = fs::read_link("/proc/self").context("there is no /proc, in which processes are found; mount it")?;
        if ours.to_str() != Some(me.to_string().as_str()) {
            bail!("/proc is that of another PID namespace; mount one of this namespace's (unshare --mount-proc)");
        }
        let children = File::open("/proc/thread-self/children").context(
            "can't read /proc/thread-self/children, in which processes are found (the kernel needs CONFIG_PROC_CHILDREN)",
        )?;
        Ok(Tree { children, me })
    }

    /// Sends a signal to the tree. Returns the first child that could not be signalled.
    ///
    /// # Errors
    /// Our children could not be listed.
    pub(super) fn signal(&self, number: c_int, members: Members<'_>) -> Result<Option<Spared>, Errno> {
        let mut spared = None;
        self.each_child(|child| {
            if members.excludes(child) || !members.include(child) {
                return;
            }
            if let Err(errno) = send_to_child(child, number)
                && errno != Errno::ESRCH
            {
                spared.get_or_insert(Spared { pid: child, errno });
            }
        })?;
        self.each_child(|child| {
            if !members.excludes(child) {
                self.signal_below(child, number, members);
            }
        })?;
        Ok(spared)
    }

    /// Returns whether no child is left but these. Without any of them, only the kernel's word that there is no child counts; with
    /// them, what can't be listed may still be there.
    pub(super) fn is_empty_but_for(&self, strangers: &[Pid]) -> bool {
        if !wait::has_children() {
            return true;
        }
        let mut others = 0;
        let listed = self.each_child(|child| others += usize::from(!strangers.contains(&child)));
        !strangers.is_empty() && listed.is_ok() && others == 0
    }

    /// Returns our children. Each stays one, alive or as a zombie, until we reap it.
    ///
    /// # Errors
    /// Those of read(2).
    pub(super) fn children(&self) -> Result<Vec<Pid>, Errno> {
        let mut children = Vec::new();
        self.each_child(|child| children.push(child))?;
        Ok(children)
    }

    /// Calls `act` with each of our children. None goes meanwhile, since only we reap them; one that comes may be skipped, whose
    /// parent was in the list then.
    fn each_child(&self, mut act: impl FnMut(Pid)) -> Result<(), Errno> {
        let (mut bytes, mut offset, mut number) = ([0; 4096], 0, 0);
        loop {
            let length = match self.children.read_at(&mut bytes, offset) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?,
            };
            if length == 0 {
                return Ok(());
            }
            offset += length as u64;
            for &byte in &bytes[..length] {
                if byte.is_ascii_digit() {
                    number = number * 10 + i32::from(byte - b'0');
                } else if number > 0 {
                    act(Pid::from_raw(number));
                    number = 0;
                }
            }
        }
    }

    /// Signals what descends from a child of ours, as far as that can be found and held.
    fn signal_below(&self, child: Pid, number: c_int, members: Members<'_>) {
        let Ok(held) = Pidfd::open(child) else { return };
        self.visit(child, &held, &mut |pid, held| {
            if members.include(pid) {
                let _ = held.send(number);
            }
        });
    }

    /// Acts on what descends from a process, which is held. Its children are listed before they are acted on; those
    /// that it has lost by then are ours.
    fn visit(&self, pid: Pid, held: &Pidfd, act: &mut impl FnMut(Pid, &Pidfd)) {
        for child in children_of(pid) {
            let Ok(held_child) = Pidfd::open(child) else { continue };
            // `pid` still names the process that is held while that takes a signal, so that a child of `pid` is a child
            // of that process.
            let parent = parent_of(child);
            if parent == Some(self.me) || parent == Some(pid) && held.takes_signals() {
                self.visit(child, &held_child, act);
                act(child, &held_child);
            }
        }
    }
}

impl Members<'_> {
    fn include(self, pid: Pid) -> bool {
        match self {
            Members::All | Members::AllBut(_) => true,
            Members::Group(group) => nix::unistd::getpgid(Some(pid)) == Ok(group),
        }
    }

    /// Returns whether neither this child of ours nor what descends from it is meant.
    fn excludes(self, child: Pid) -> bool {
        matches!(self, Members::AllBut(not) if not.contains(&child))
    }
}

/// Reaps the children that have ended, except `kept`, and calls `ended` with each. Stops at `kept` if that has ended.
pub(super) fn reap_all_but(kept: Option<Pid>, mut ended: impl FnMut(Pid, Option<Ending>)) {
    while let Some(child) = wait::first_ended().filter(|&child| Some(child) != kept)
        && let Ok(ending) = wait::reap(child)
    {
        ended(child, ending);
    }
}

/// Returns the children of a process, as far as they can be read.
fn children_of(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .map(Pid::from_raw)
        .collect()
}

/// Returns field 4 of /proc/PID/stat (proc(5)). The name before it may hold anything, so fields are counted from its
/// end.
fn parent_of(pid: Pid) -> Option<Pid> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}
