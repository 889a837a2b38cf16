//! The controlling terminal. The command stays in our process group where there is one, so that ^C, ^Z, fg, bg and reading
//! the terminal work between the shell and the command as without us, in a pipeline too.

use std::{
    fs::{File, OpenOptions},
    io,
};

use nix::{
    libc,
    sys::termios::{SetArg, Termios, tcgetattr, tcsetattr},
    unistd::{Pid, getpgrp, tcgetpgrp},
};
use std::os::unix::fs::OpenOptionsExt;

/// The terminal, and how it was set when we found it.
#[derive(Debug)]
pub struct Terminal {
    tty: File,
    /// The process group that the command shares with us and the rest of the shell's job.
    pub group: Pid,
    found: Option<Termios>,
}

impl Terminal {
    /// `None` without a controlling terminal.
    ///
    /// # Errors
    /// No descriptor or memory to look.
    pub fn open() -> io::Result<Option<Self>> {
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

    /// Whether the shell has given the terminal to our process group.
    pub fn in_foreground(&self) -> bool {
        tcgetpgrp(&self.tty) == Ok(self.group)
    }

    /// Puts the settings back that a killed command may have left changed.
    pub fn put_back(&self) {
        if let Some(found) = &self.found
            && self.in_foreground()
        {
            let _ = tcsetattr(&self.tty, SetArg::TCSANOW, found);
        }
    }
}
