//! `--man`: the man page, as man(1) reads it.

use super::output::{NotWritten, say_text};
use crate::exit::Exit;

/// Prints the man page.
///
/// # Errors
/// It can't be written.
pub(super) fn print() -> Result<Exit, NotWritten> {
    say_text(include_str!("../../man/leaderrun.1"))?;
    Ok(Exit::Command(0))
}
