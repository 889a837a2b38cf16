//! The command's main process: started once, then running or suspended, and known until it is reaped.

use nix::{errno::Errno, libc::c_int, unistd::Pid};

use super::spawn::CommandSpec;
use crate::{
    clock::Moment,
    lease::FencingToken,
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
    suspended: bool,
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
        Command { spec, main: None, exec: None, suspended: false }
    }

    /// Forks the command's main process, which execs the command unless `by` has passed.
    ///
    /// # Errors
    /// Those of pipe2(2) and fork(2).
    pub(super) fn start(&mut self, token: FencingToken, by: Option<Moment>) -> Result<(), Errno> {
        let Launched { pid, exec } = self.spec.spawn(token, by)?;
        self.main = Some(pid);
        self.exec = Some(exec);
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

    /// Returns whether the main process exists. Only until it is reaped is its id, and that of the group that it leads,
    /// certain to be its own.
    pub(super) fn is_running(&self) -> bool {
        self.main.is_some()
    }

    /// Returns whether this is the main process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.main == Some(pid)
    }

    /// Returns how the main process has ended, if it has, and leaves it to be reaped.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.main.and_then(wait::peek_at)
    }

    /// Forgets the main process, which has ended and is about to be reaped. Returns whether it existed.
    pub(super) fn forget(&mut self) -> bool {
        self.main.take().is_some()
    }

    /// Remembers whether a signal has suspended the main process.
    pub(super) fn set_suspended(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Sends a signal to the main process. A failure means that there is no such process, or that we may not signal it.
    pub(super) fn signal(&self, number: c_int) {
        if let Some(main) = self.main {
            let _ = send_to_child(main, number);
        }
    }

    /// Sends a signal to the process group that the main process leads.
    pub(super) fn signal_group(&self, number: c_int) {
        if let Some(main) = self.main {
            let _ = send_to_group(main, number);
        }
    }
}
