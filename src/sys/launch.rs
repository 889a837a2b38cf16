//! Starts a program as a child: fork and exec, with only async-signal-safe calls in between.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sched::{CloneFlags, clone},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2, read, setpgid, write},
};

use super::{
    boottime::since_boot,
    inherited::Inherited,
    process::{exec, exit_now},
    strings::CStringArray,
};

/// A file to exec, and its arguments.
#[derive(Debug)]
pub(crate) struct Image {
    pub path: CString,
    pub args: CStringArray,
}

/// In bytes. A dynamic linker may need some thousand of them. So many are mapped for it alone, and not zeroed: only what is
/// touched costs time.
const FOUNDERS_STACK: usize = 256 * 1024;

/// What is to be started, and how.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub program: &'a Image,
    /// Runs `program` if that is a script without an interpreter line, as execvp(3) and the shells do.
    pub shell: &'a Image,
    pub env: &'a mut CStringArray,
    /// Which variables in `env` get the child's process id as their value.
    pub names_child: &'a [usize],
    /// What the child gets back.
    pub inherited: &'a Inherited,
    /// Whether the child gets a process group of its own, which it doesn't lead; otherwise it stays in that of this
    /// process.
    pub new_group: bool,
    /// The time since boot (CLOCK_BOOTTIME) from which on the program is not started any more.
    pub start_by: Option<Duration>,
}

/// A child that has been forked.
#[derive(Debug)]
pub(crate) struct Launched {
    pub pid: Pid,
    pub exec: PendingExec,
    /// Its process group, if it got one of its own.
    pub group: Option<Pid>,
}

/// An exec in a child. The descriptor can be read once the exec has succeeded or failed.
#[derive(Debug)]
pub(crate) struct PendingExec(OwnedFd);

impl Launch<'_> {
    /// Forks, and execs the program in the child. The child is killed when this process ends. A new group's founder is another
    /// child to be reaped.
    ///
    /// # Errors
    /// Those of pipe2(2), clone(2) and fork(2). A failed exec comes through [`Launched::exec`].
    pub(crate) fn start(self) -> Result<Launched, Errno> {
        // Before the pipe, whose end must be seen when the child execs.
        let group = if self.new_group { Some(group_without_leader()?) } else { None };
        let (result, failure) = pipe2(OFlag::O_CLOEXEC)?;
        let parent = getpid();
        // SAFETY: however many threads there are, the child makes only async-signal-safe calls: `AfterFork` has no
        // others, and takes no lock and no memory; all that it needs has been made before. It never returns from this
        // function.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                if let Some(group) = group {
                    // Here as well as in the child, so that it is in the group before the caller reaps the founder. The
                    // child may have exec'd.
                    let _ = setpgid(child, group);
                }
                Ok(Launched { pid: child, exec: PendingExec(result), group })
            }
            ForkResult::Child => AfterFork { launch: self, parent, group }.run(&failure),
        }
    }
}

/// Forks as many processes as [`Launch::start`] does. They end at once, and are the caller's to reap.
///
/// # Errors
/// Those of clone(2).
pub(crate) fn probe() -> Result<(), Errno> {
    group_without_leader().and_then(|_| group_without_leader()).map(drop)
}

/// Makes a process group that no process leads: its founder is a child that ends at once. So a program in it is no leader,
/// as under a shell without job control, and may call setsid(2).
///
/// The founder isn't waited for. On a busy host it ends late, and a debugger may keep it for as long as it likes.
///
/// # Errors
/// Those of clone(2).
fn group_without_leader() -> Result<Pid, Errno> {
    let mut stack = vec![0; FOUNDERS_STACK];
    let found = Box::new(|| setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_or(1, |()| 0));
    let like_vfork = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the child has our memory while we wait for its end (vfork(2)), and runs on a stack of its own, which
    // outlives it. All that it does there is one system call.
    unsafe { clone(found, &mut stack, like_vfork, Some(libc::SIGCHLD)) }
}

/// The child between fork and exec, which shares nothing but may have been forked while locks were held. Its methods
/// make only async-signal-safe calls (signal-safety(7)), or system calls without anything around them.
struct AfterFork<'a> {
    launch: Launch<'a>,
    parent: Pid,
    group: Option<Pid>,
}

impl AfterFork<'_> {
    fn run(mut self, failure: &OwnedFd) -> ! {
        let errno = self.become_program();
        let _ = write(failure, &(errno as i32).to_ne_bytes());
        exit_now(127)
    }

    /// Returns only if it fails.
    fn become_program(&mut self) -> Errno {
        if let Err(errno) = self.prepare() {
            return errno;
        }
        // As late as possible: this process may have been stopped anywhere up to here.
        if self.launch.start_by.is_some_and(|by| since_boot() >= by) {
            return Errno::ETIME;
        }
        let Launch { program, shell, env, names_child, .. } = &mut self.launch;
        for &variable in *names_child {
            env.set_number(variable, getpid().as_raw().unsigned_abs());
        }
        match exec(&program.path, &program.args, env) {
            Errno::ENOEXEC => exec(&shell.path, &shell.args, env),
            errno => errno,
        }
    }

    fn prepare(&self) -> Result<(), Errno> {
        if let Some(group) = self.group {
            setpgid(Pid::from_raw(0), group)?;
        }
        // A parent that has ended before this call sends nothing (prctl(2), PR_SET_PDEATHSIG).
        set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != self.parent {
            exit_now(127);
        }
        self.launch.inherited.give_back()
    }
}

impl PendingExec {
    /// Returns how the exec went, once the descriptor can be read.
    ///
    /// # Errors
    /// That of execve(2), or of what comes before it; ETIME: it was too late for the program to start.
    pub(crate) fn result(self) -> Result<(), Errno> {
        let mut number = [0; 4];
        match read(&self.0, &mut number) {
            Ok(4) => Err(Errno::from_raw(i32::from_ne_bytes(number))),
            _ => Ok(()),
        }
    }
}

impl AsFd for PendingExec {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
