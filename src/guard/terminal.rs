//! The controlling terminal. If there is one, the command stays in our process group, so that ^C, ^Z, fg, bg and
//! reading the terminal work between the shell and the command as without us, in a pipeline too.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
};

use nix::{
    libc,
    sys::termios::{SetArg, Termios, tcgetattr, tcsetattr},
    unistd::{Pid, getpgrp, tcgetpgrp},
};

/// The terminal, and its settings at our start.
#[derive(Debug)]
pub(super) struct Terminal {
    tty: File,
    /// The process group that the command shares with us and the rest of the shell's job.
    pub group: Pid,
    found: Option<Termios>,
}

impl Terminal {
    /// Opens the controlling terminal; `None` if there is none.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: whether there is one can't be seen.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let tty = match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty") {
            Ok(tty) => tty,
            Err(e) if [libc::EMFILE, libc::ENFILE, libc::ENOMEM].map(Some).contains(&e.raw_os_error()) => {
                return Err(e);
            }
            Err(_) => return Ok(None),
        };
        let group = getpgrp();
        let mut terminal = Terminal { tty, group, found: None };
        if terminal.in_foreground() {
            terminal.found = tcgetattr(&terminal.tty).ok();
        }
        Ok(Some(terminal))
    }

    /// Returns whether the shell has given the terminal to our process group.
    fn in_foreground(&self) -> bool {
        tcgetpgrp(&self.tty) == Ok(self.group)
    }

    /// Restores the settings, which a killed command may have left changed.
    pub(super) fn put_back(&self) {
        if let Some(found) = &self.found
            && self.in_foreground()
        {
            let _ = tcsetattr(&self.tty, SetArg::TCSANOW, found);
        }
    }
}
