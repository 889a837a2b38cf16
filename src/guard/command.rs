//! The command's main process: started once, then running or suspended, and known until it is reaped.

use nix::{
    errno::Errno,
    libc::{SIGKILL, c_int},
    unistd::{Pid, getpgid, getsid},
};

use super::{proc_stat, spawn::CommandSpec};
use crate::{
    clock::Moment,
    lease::FencingToken,
    lock::Slot,
    sys::{
        launch::{Launched, PendingExec},
        signal::{send_to_child, send_to_group},
        wait::{self, Ending},
    },
};

/// The command, before and after it is started.
#[derive(Debug)]
pub(super) struct Command {
    spec: CommandSpec,
    /// The main process, until it is reaped or its exec has failed.
    main: Option<Pid>,
    exec: Option<PendingExec>,
    /// The group that was made for it; none under a terminal.
    made_group: Option<Pid>,
    /// The session in which it was started.
    session: Option<Pid>,
}

/// How the start of the command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartResult {
    Started(Pid),
    /// The time to stop came before the command was there.
    TooLate,
    Failed(Errno),
}

impl Command {
    pub(super) fn new(spec: CommandSpec) -> Self {
        Command { spec, main: None, exec: None, made_group: None, session: None }
    }

    /// Forks the command's main process, which execs the command unless `by` has passed.
    ///
    /// # Errors
    /// Those of pipe2(2), clone(2) and fork(2).
    pub(super) fn start(&mut self, slot: Slot, token: FencingToken, by: Option<Moment>) -> Result<(), Errno> {
        let Launched { pid, exec, group } = self.spec.spawn(slot, token, by)?;
        self.main = Some(pid);
        self.exec = Some(exec);
        self.made_group = group;
        self.session = getsid(None).ok();
        Ok(())
    }

    /// Returns the pending exec. Once it can be read, [`Command::start_result`] doesn't block.
    pub(super) fn pending_exec(&self) -> Option<&PendingExec> {
        self.exec.as_ref()
    }

    /// Takes the result of the exec, once. It is available when the main process ends, at the latest.
    pub(super) fn start_result(&mut self) -> Option<StartResult> {
        match (self.exec.take()?.result(), self.main) {
            (Ok(()), main) => main.map(StartResult::Started),
            (Err(errno), _) => {
                self.main = None;
                Some(if errno == Errno::ETIME { StartResult::TooLate } else { StartResult::Failed(errno) })
            }
        }
    }

    /// Returns the process group of the main process, while that exists: the one in which it was started, or one of its
    /// own making.
    pub(super) fn group(&self) -> Option<Pid> {
        self.main.and_then(|main| getpgid(Some(main)).ok())
    }

    /// Returns whether all of the main process's group is the command's: it was made for it, is led by it, or is in a session
    /// of its own making.
    pub(super) fn owns(&self, group: Pid) -> bool {
        let makes_session = || self.main.and_then(|main| getsid(Some(main)).ok()) != self.session;
        [self.made_group, self.main].contains(&Some(group)) || makes_session()
    }

    /// Returns whether the main process takes a signal's default action.
    pub(super) fn takes_default_action(&self, signal: c_int) -> bool {
        self.main.is_some_and(|main| proc_stat::takes_default_action(main, signal))
    }

    /// Returns the process group that was made for the command. A child of ours in it is proof that it still exists.
    pub(super) fn made_group(&self) -> Option<Pid> {
        self.made_group
    }

    /// Returns whether the main process exists. Only until it is reaped is its id certain to be its own.
    pub(super) fn is_running(&self) -> bool {
        self.main.is_some()
    }

    /// Returns whether this is the main process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.main == Some(pid)
    }

    /// Returns whether the main process was there before another process, which may be gone: as far as the kernel hands out
    /// process ids in ascending order. The main process itself counts, too.
    pub(super) fn was_there_before(&self, other: Pid) -> bool {
        self.main.is_some_and(|main| main <= other)
    }

    /// Returns how the main process has ended, if it has, and leaves it to be reaped.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.main.and_then(wait::peek_at)
    }

    /// Forgets the main process, which has ended and is about to be reaped. Returns whether it existed.
    pub(super) fn forget(&mut self) -> bool {
        self.main.take().is_some()
    }

    /// Sends a signal to the main process. A failure means that there is no such process, or that we may not signal it.
    pub(super) fn signal(&self, number: c_int) {
        if let Some(main) = self.main {
            let _ = send_to_child(main, number);
        }
    }

    /// Kills the main process, and all of the group that was made for it, if it is still in that. No member can fork while
    /// that is killed.
    pub(super) fn kill(&self) {
        self.signal(SIGKILL);
        if self.group().is_some() && self.group() == self.made_group {
            self.signal_group(SIGKILL);
        }
    }

    /// Sends a signal to the process group of the main process.
    pub(super) fn signal_group(&self, number: c_int) {
        if let Some(group) = self.group() {
            let _ = send_to_group(group, number);
        }
    }
}
