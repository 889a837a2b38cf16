//! Answers on stdout.

use std::{
    fmt::Display,
    io::{self, Write, stdout},
};

use anyhow::Result;
use serde::Serialize;

use crate::one_line::{escape_json, one_line};

/// Prints a line of an answer, which may hold texts of others. A reader that closes the pipe early has seen enough.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{}", one_line(&line.to_string()));
}

/// Prints a file that is part of the program.
pub(super) fn say_file(text: &str) {
    let _ = writeln!(stdout(), "{}", text.trim_end());
}

/// Prints an answer as JSON on several lines.
///
/// # Errors
/// Those of serializing it.
pub(super) fn say_json(answer: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(answer)?;
    let _ = writeln!(stdout(), "{}", escape_json(&json));
    Ok(())
}

/// Prints a line of an ongoing answer, and flushes it. `line`: as [`one_line`] or [`escape_json`] returns it.
///
/// # Errors
/// The reader is gone.
pub(super) fn say_now(line: &str) -> io::Result<()> {
    writeln!(stdout(), "{line}")?;
    stdout().flush()
}
