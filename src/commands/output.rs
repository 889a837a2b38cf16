//! Answers on stdout.

use std::{
    fmt::Display,
    io::{self, Write, stdout},
};

/// Prints a line of an answer. A reader that closes the pipe early has seen enough.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Prints a line of an ongoing answer, and flushes it.
///
/// # Errors
/// The reader is gone.
pub(super) fn say_now(line: impl Display) -> io::Result<()> {
    writeln!(stdout(), "{line}")?;
    stdout().flush()
}
