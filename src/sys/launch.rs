//! Starts a program as a child: fork and exec, with only async-signal-safe calls in between.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
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

/// What is to be started, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    pub program: &'a Image,
    /// Runs `program` if that is a script without an interpreter line, as execvp(3) and the shells do.
    pub shell: &'a Image,
    pub env: &'a CStringArray,
    /// What the child gets back.
    pub inherited: &'a Inherited,
    /// Whether the child leads a process group of its own.
    pub own_group: bool,
    /// The time since boot (CLOCK_BOOTTIME) from which on the program is not started any more.
    pub start_by: Option<Duration>,
}

/// A child that has been forked.
#[derive(Debug)]
pub(crate) struct Launched {
    pub pid: Pid,
    pub exec: PendingExec,
}

/// An exec in a child. The descriptor can be read once the exec has succeeded or failed.
#[derive(Debug)]
pub(crate) struct PendingExec(OwnedFd);

impl Launch<'_> {
    /// Forks, and execs the program in the child. The child is killed when this process ends.
    ///
    /// # Errors
    /// Those of pipe2(2) and fork(2). A failed exec comes through [`Launched::exec`].
    pub(crate) fn start(self) -> Result<Launched, Errno> {
        let (result, failure) = pipe2(OFlag::O_CLOEXEC)?;
        let parent = getpid();
        // SAFETY: however many threads there are, the child makes only async-signal-safe calls: `AfterFork` has no
        // others, and takes no lock and no memory; all that it needs has been made before. It never returns from this
        // function.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                if self.own_group {
                    // Here as well as in the child, so that the group is there whoever runs first. The child may have
                    // exec'd.
                    let _ = setpgid(child, child);
                }
                Ok(Launched { pid: child, exec: PendingExec(result) })
            }
            ForkResult::Child => AfterFork { launch: self, parent }.run(&failure),
        }
    }
}

/// The child between fork and exec, which shares nothing but may have been forked while locks were held. Its methods
/// make only async-signal-safe calls (signal-safety(7)), or system calls without anything around them.
struct AfterFork<'a> {
    launch: Launch<'a>,
    parent: Pid,
}

impl AfterFork<'_> {
    fn run(self, failure: &OwnedFd) -> ! {
        let errno = self.become_program();
        let _ = write(failure, &(errno as i32).to_ne_bytes());
        exit_now(127)
    }

    /// Returns only if it fails.
    fn become_program(&self) -> Errno {
        if let Err(errno) = self.prepare() {
            return errno;
        }
        // As late as possible: this process may have been stopped anywhere up to here.
        if self.launch.start_by.is_some_and(|by| since_boot() >= by) {
            return Errno::ETIME;
        }
        let Launch { program, shell, env, .. } = self.launch;
        match exec(&program.path, &program.args, env) {
            Errno::ENOEXEC => exec(&shell.path, &shell.args, env),
            errno => errno,
        }
    }

    fn prepare(&self) -> Result<(), Errno> {
        if self.launch.own_group {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
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
