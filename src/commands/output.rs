//! Answers on stdout, and errors where there is none.

use std::{
    fmt::{self, Display, Formatter},
    io::{self, ErrorKind, Write, stdout},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::Result;
use nix::errno::Errno;
use serde::Serialize;

use crate::{
    one_line::{escape_json, one_line},
    report,
    server_url::without_secrets,
    sys::entry::stdout_was_closed,
};

/// Nothing but the exit status answers.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Prints nothing from now on: neither answers nor errors, but for those of usage.
pub(super) fn be_quiet() {
    IS_QUIET.store(true, Relaxed);
}

/// Prints an error.
pub(super) fn complain(message: impl Display) {
    if !IS_QUIET.load(Relaxed) {
        report::print_error(message);
    }
}

/// An answer could not be written, as to a full disk.
#[derive(Debug)]
pub(crate) enum NotWritten {
    Stdout(io::Error),
    /// The file of `--openmetrics`.
    File(PathBuf, io::Error),
}

impl Display for NotWritten {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout(error) => write!(f, "can't write to stdout: {error}"),
            Self::File(file, error) => {
                // It may be the URL of a server, which was meant for another option.
                let file = without_secrets(&file.display().to_string());
                write!(f, "--openmetrics {file} can't be written: {error}")
            }
        }
    }
}

impl std::error::Error for NotWritten {}

/// Prints a line of an answer, which may hold texts of others.
///
/// # Errors
/// As for [`say_text`].
pub(super) fn say(line: impl Display) -> Result<(), NotWritten> {
    say_text(&one_line(&line.to_string()))
}

/// Prints a text that is part of the program, and a line feed where it ends without one. A reader that closes the pipe early
/// has seen enough.
///
/// # Errors
/// It can't be written for another reason.
pub(crate) fn say_text(text: &str) -> Result<(), NotWritten> {
    match say_now(text.trim_end_matches('\n')) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(NotWritten::Stdout(error)),
        _ => Ok(()),
    }
}

/// Prints an answer as JSON on several lines.
///
/// # Errors
/// Those of serializing it, and of [`say_text`].
pub(super) fn say_json(answer: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(answer)?;
    Ok(say_text(&escape_json(&json))?)
}

/// Prints a line of an ongoing answer, and flushes it. `line`: as [`one_line`] or [`escape_json`] returns it.
///
/// # Errors
/// The reader is gone, or can't take it.
pub(super) fn say_now(line: &str) -> io::Result<()> {
    if IS_QUIET.load(Relaxed) {
        return Ok(());
    }
    if stdout_was_closed() {
        return Err(Errno::EBADF.into());
    }
    writeln!(stdout(), "{line}")?;
    stdout().flush()
}
