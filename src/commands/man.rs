//! `--man`: the man page, as man(1) reads it.

use super::output::say;
use crate::exit::Exit;

/// Prints the man page.
pub(super) fn print() -> Exit {
    say(include_str!("../../man/leaderrun.1").trim_end());
    Exit::Command(0)
}
