//! The tree of a command: everything that descends from this process.
//!
//! This process is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): whatever loses its parent, however it was
//! detached, becomes our child. So the tree is empty when, and only when, we have no child (wait(2): ECHILD), and
//! killing our children again and again reaches everything.
//!
//! Our children are killed by kill(2): the id of a child can't be reused before we reap it. They are listed in a file
//! that is open from the start, so that this needs no descriptor, no thread and hardly any memory.
//!
//! Processes further down are signalled at once if pidfds and /proc allow it: when the whole tree is asked to stop, and
//! when a parent doesn't die, since it is stuck in an uninterruptible call. Such a process is opened as a pidfd, and
//! signalled only if its parent, read after that, is one of the tree.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    libc::{self, SIGKILL, c_int},
    unistd::{Pid, getpgid, getsid},
};

use super::{
    bystander::is_bystander,
    proc_stat::{self, ProcStat},
};
use crate::{
    clock::Moment,
    sys::{
        pidfd::Pidfd,
        priority::run_before_others,
        signal::{send_to_child, send_to_group},
        wait::{self, Ending},
    },
};

/// What descends from this process, as its main thread sees it.
#[derive(Debug)]
pub(super) struct Tree {
    /// proc(5), /proc/PID/task/TID/children: our children, those of the main thread, to which orphans come as well.
    children: File,
    me: Pid,
    /// The session in which the command is started, if every child of this process is the tree's.
    session: Option<Pid>,
}

/// A process of the tree that a signal could not be sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spared {
    pub pid: Pid,
    pub errno: Errno,
}

/// The children that have been killed.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// How many there were.
    pub children: usize,
    /// The first that could not be killed.
    pub unkillable: Option<Spared>,
}

/// How large a tree is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TreeSize {
    pub processes: usize,
    /// From our children to the farthest descendants.
    pub levels: usize,
}

/// Which processes of the tree are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    All,
    /// Those of one process group.
    Group(Pid),
    /// All outside of one process group.
    AllBut(Pid),
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
        Ok(Tree { children, me, session: None })
    }

    /// The same in the guard, whose children are all of the tree; in the session in which the command is started.
    ///
    /// # Errors
    /// Those of [`Tree::open`].
    pub(super) fn of_guard() -> Result<Self> {
        Ok(Tree { session: Some(getsid(None)?), ..Tree::open()? })
    }

    /// Sends a signal to our children, and to what descends from them, as far as that can be found until this moment. What
    /// listens in a group for a leaderrun in the tree gets it first: that leaderrun asks it at once.
    ///
    /// # Errors
    /// Our children could not be listed.
    pub(super) fn signal(&self, number: c_int, members: Members, until: Moment) -> Result<(), Errno> {
        self.signal_those(number, until, |pid| members.include(pid) && is_bystander(pid))?;
        self.signal_those(number, until, |pid| members.include(pid) && !is_bystander(pid))
    }

    fn signal_those(&self, number: c_int, until: Moment, is_meant: impl Fn(Pid) -> bool) -> Result<(), Errno> {
        self.each_child(|child| {
            if is_meant(child) {
                let _ = send_to_child(child, number);
            }
        })?;
        self.each_child(|child| {
            if Moment::now() < until {
                self.visit_below(child, &mut |pid, held| {
                    if is_meant(pid) {
                        let _ = held.send(number);
                    }
                });
            }
        })
    }

    /// Kills our children but `spared`, and the process groups that are known to be the tree's alone: `group`, and in the
    /// guard those of sessions that were made in the tree. No member of a group can fork while that is killed (kill(2)), so processes
    /// that fork and exit faster than they are listed can't escape in it. With `singly`, a child is killed by itself even
    /// if its group has been: only that shows whether it can be. It may be dying, which needs processor time of its own: then it
    /// gets that before others, if we may give it.
    ///
    /// # Errors
    /// Our children could not be listed.
    pub(super) fn kill_children(&self, spared: &[Pid], group: Option<Pid>, singly: bool) -> Result<Found, Errno> {
        let mut found = Found::default();
        let mut groups = BTreeSet::new();
        self.each_child(|child| {
            if spared.contains(&child) {
                return;
            }
            found.children += 1;
            let its_group = getpgid(Some(child)).ok();
            let in_group =
                its_group.filter(|&its| groups.contains(&its) || group == its_group || self.made_session_of(child));
            if let Some(its_group) = in_group
                && groups.insert(its_group)
            {
                let _ = send_to_group(its_group, SIGKILL);
            }
            if in_group.is_some() && !singly {
                return;
            }
            if let Err(errno) = send_to_child(child, SIGKILL)
                && errno != Errno::ESRCH
            {
                found.unkillable.get_or_insert(Spared { pid: child, errno });
            }
            if singly {
                let _ = run_before_others(child);
            }
        })?;
        Ok(found)
    }

    fn made_session_of(&self, child: Pid) -> bool {
        self.session.is_some_and(|ours| getsid(Some(child)).is_ok_and(|session| session != ours))
    }

    /// Kills what descends from our children but `spared`, as far as it can be found.
    ///
    /// # Errors
    /// Our children could not be listed.
    pub(super) fn kill_below_children(&self, spared: &[Pid]) -> Result<(), Errno> {
        self.each_child(|child| {
            if !spared.contains(&child) {
                self.kill_below(child);
            }
        })
    }

    /// Kills what descends from a child of ours, as far as it can be found.
    pub(super) fn kill_below(&self, child: Pid) {
        self.visit_below(child, &mut |_, held| {
            let _ = held.send(SIGKILL);
        });
    }

    /// Returns about how large the tree is; of one that `is_enough`, only so much. What can't be found doesn't count.
    pub(super) fn size(&self, is_enough: impl Fn(TreeSize) -> bool) -> TreeSize {
        let mut size = TreeSize::default();
        let mut level = self.children().unwrap_or_default();
        while !level.is_empty() {
            size.levels += 1;
            let mut below = Vec::new();
            for process in level {
                size.processes += 1;
                if is_enough(size) {
                    return size;
                }
                below.extend(children_of(process));
            }
            level = below;
        }
        size
    }

    /// Returns whether nothing of the tree lives, in which `spared` are not. Only ECHILD says that there is no child; a
    /// zombie that a debugger keeps from us is seen to be dead.
    pub(super) fn is_dead_but_for(&self, spared: &[Pid]) -> bool {
        if !wait::has_children() {
            return true;
        }
        let is_dead = |child: &Pid| spared.contains(child) || proc_stat::is_dead(*child);
        let Ok(children) = self.children() else { return false };
        // What one of them has left to us since they were listed is in the list now.
        !children.is_empty() && children.iter().all(is_dead) && self.children() == Ok(children)
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
    fn each_child(&self, act: impl FnMut(Pid)) -> Result<(), Errno> {
        each_number(&self.children, act)
    }

    /// Acts on what descends from a child of ours, as far as that can be found and held. Each process is held until its
    /// children are, so that a deep tree needs no more descriptors than a shallow one.
    fn visit_below(&self, child: Pid, act: &mut impl FnMut(Pid, &Pidfd)) {
        let below = children_of(child);
        if below.is_empty() {
            return;
        }
        let Ok(held) = Pidfd::open(child) else { return };
        let mut unseen = self.hold_children(child, &held, below);
        while let Some((pid, held)) = unseen.pop() {
            unseen.extend(self.hold_children(pid, &held, children_of(pid)));
            act(pid, &held);
        }
    }

    /// Returns those of a process's children that are still in the tree, and holds them.
    fn hold_children(&self, parent: Pid, held_parent: &Pidfd, children: Vec<Pid>) -> Vec<(Pid, Pidfd)> {
        let held = children.into_iter().filter_map(|child| Some((child, Pidfd::open(child).ok()?)));
        held.filter(|(child, _)| {
            // `parent` still names the process that is held while that takes a signal, so that a child of `parent` is a
            // child of that process. Those that it has lost by then are ours.
            let now = ProcStat::of(*child).map(|stat| stat.parent);
            now == Some(self.me) || now == Some(parent) && held_parent.takes_signals()
        })
        .collect()
    }
}

impl Members {
    fn include(self, pid: Pid) -> bool {
        match self {
            Members::All => true,
            Members::Group(group) => getpgid(Some(pid)) == Ok(group),
            Members::AllBut(group) => getpgid(Some(pid)) != Ok(group),
        }
    }
}

/// Returns whether a process descends from another, as far as can be seen.
pub(super) fn descends(pid: Pid, from: Pid) -> bool {
    let parent = |pid: &Pid| ProcStat::of(*pid).map(|stat| stat.parent);
    std::iter::successors(parent(&pid), parent).any(|ancestor| ancestor == from)
}

/// Reaps the children that have ended, except `kept`, and calls `ended` with each. Stops at `kept` if that has ended.
pub(super) fn reap_all_but(kept: Option<Pid>, mut ended: impl FnMut(Pid, Option<Ending>)) {
    while let Some(child) = wait::first_ended().filter(|&child| Some(child) != kept)
        && let Ok(ending) = wait::reap(child)
    {
        ended(child, ending);
    }
}

/// Returns whether a process that was PID 1 of a PID namespace is ending, and nothing in that lives: what a debugger keeps
/// from it, it waits for.
pub(super) fn has_ended_with_its_namespace(guard: Pid) -> bool {
    proc_stat::is_ending(guard) && children_of(guard).into_iter().all(proc_stat::is_dead)
}

/// Returns the children of a process, as far as they can be read.
fn children_of(pid: Pid) -> Vec<Pid> {
    let mut children = Vec::new();
    let mut add = |task: &Path| {
        if let Ok(list) = File::open(task.join("children")) {
            let _ = each_number(&list, |child| children.push(child));
        }
    };
    if ProcStat::of(pid).is_some_and(|stat| stat.threads == 1) {
        add(Path::new(&format!("/proc/{pid}/task/{pid}")));
    } else {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.for_each(|thread| add(&thread.path()));
    }
    children
}

/// Calls `act` with each number in a list in /proc.
fn each_number(list: &File, mut act: impl FnMut(Pid)) -> Result<(), Errno> {
    let (mut bytes, mut offset, mut number) = ([0; 4096], 0, 0);
    loop {
        let length = match list.read_at(&mut bytes, offset) {
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
