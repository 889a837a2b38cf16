//! The controlling terminal. If there is one, the command stays in our process group, so that ^C, ^Z, fg, bg and
//! reading the terminal work between the shell and the command as without us, in a pipeline too. The guard leaves that
//! group, and may leave its session.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::killpg,
        termios::{SetArg, Termios, tcgetattr, tcgetsid, tcsetattr},
    },
    unistd::{Pid, getpgrp, getpid, getsid, tcgetpgrp, tcsetpgrp},
};

use super::proc_stat::ProcStat;

/// The terminal, and its settings at our start.
#[derive(Debug)]
pub(super) struct Terminal {
    /// `None` if it can't be opened, nor is one of our standard descriptors.
    tty: Option<OwnedFd>,
    /// The process group that the command shares with us and the rest of the shell's job.
    pub group: Pid,
    /// Our session's leader, if we may see it.
    session: Pid,
    found: Option<Termios>,
}

impl Terminal {
    /// Opens the controlling terminal; `None` if there is none.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: whether there is one can't be seen.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let tty = match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty") {
            Ok(tty) if tty.is_terminal() => Some(tty.into()),
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
            Err(e) if [libc::EMFILE, libc::ENFILE, libc::ENOMEM].map(Some).contains(&e.raw_os_error()) => {
                return Err(e);
            }
            // The node may be missing, as in a container.
            _ if !ProcStat::of(getpid()).is_some_and(|us| us.has_terminal) => return Ok(None),
            _ => inherited_terminal()?,
        };
        let mut terminal = Terminal { tty, group: getpgrp(), session: getsid(None)?, found: None };
        if terminal.in_foreground() {
            terminal.found = terminal.tty.as_ref().and_then(|tty| tcgetattr(tty).ok());
        }
        Ok(Some(terminal))
    }

    /// The same as the guard sees it: in a PID namespace, group and session have the id 0, like all outside.
    ///
    /// # Errors
    /// Those of getsid(2).
    pub(super) fn seen_by_guard(self) -> Result<Self, Errno> {
        Ok(Terminal { group: getpgrp(), session: getsid(None)?, ..self })
    }

    /// Returns whether this process leads the terminal's session: then the kernel tells it alone of a hang-up.
    pub(super) fn is_led_by_us(&self) -> bool {
        self.session == getpid()
    }

    /// Returns the process group in the foreground.
    pub(super) fn foreground(&self) -> Option<Pid> {
        self.tty.as_ref().and_then(|tty| tcgetpgrp(tty).ok())
    }

    /// Gives the terminal to a process group, as its shell does, if the shell has given it to ours.
    pub(super) fn hand_to(&self, group: Pid) {
        if let Some(tty) = &self.tty
            && self.in_foreground()
            && group != self.group
        {
            let _ = tcsetpgrp(tty, group);
        }
    }

    /// Returns whether the shell has given the terminal to our process group.
    fn in_foreground(&self) -> bool {
        self.seen_foreground() == Some(self.group)
    }

    /// Returns whether the group in the foreground has ended: the command's own, to which it had given the terminal.
    fn has_nobody_in_foreground(&self) -> bool {
        self.seen_foreground().is_some_and(|group| killpg(group, None) == Err(Errno::ESRCH))
    }

    /// Returns the process group in the foreground, if this PID namespace has it.
    fn seen_foreground(&self) -> Option<Pid> {
        let foreground = match self.tty.as_ref().map(tcgetpgrp) {
            // Only a member of the session may ask. The guard may not be one any more.
            None | Some(Err(Errno::ENOTTY)) => ProcStat::of(self.session).map(|leader| leader.foreground),
            Some(foreground) => foreground.ok(),
        };
        foreground.filter(|group| group.as_raw() > 0)
    }

    /// Restores the settings, which a killed command may have left changed.
    pub(super) fn put_back(&self) {
        if let (Some(found), Some(tty)) = (&self.found, &self.tty)
            && (self.in_foreground() || self.has_nobody_in_foreground())
        {
            let _ = tcsetattr(tty, SetArg::TCSANOW, found);
        }
    }
}

/// Returns a copy of the first standard descriptor that is our session's terminal.
fn inherited_terminal() -> io::Result<Option<OwnedFd>> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let session = getsid(None)?;
    let standard = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    standard.iter().find(|fd| tcgetsid(fd) == Ok(session)).map(BorrowedFd::try_clone_to_owned).transpose()
}
