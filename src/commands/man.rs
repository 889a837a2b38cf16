//! `--man`: the man page, as man(1) reads it.

use super::output::say_file;
use crate::exit::Exit;

/// Prints the man page.
pub(super) fn print() -> Exit {
    say_file(include_str!("../../man/leaderrun.1"));
    Exit::Command(0)
}
