//! `--completions`: what a package installs for a shell.

use super::output::{NotWritten, say_text};
use crate::{cli::Shell, exit::Exit};

/// Prints the completions for a shell.
///
/// # Errors
/// They can't be written.
pub(super) fn print(shell: Shell) -> Result<Exit, NotWritten> {
    let completions = match shell {
        Shell::Bash => include_str!("../../completions/leaderrun.bash"),
        Shell::Zsh => include_str!("../../completions/_leaderrun"),
        Shell::Fish => include_str!("../../completions/leaderrun.fish"),
        Shell::Elvish => include_str!("../../completions/leaderrun.elv"),
        Shell::Powershell => include_str!("../../completions/_leaderrun.ps1"),
    };
    say_text(completions)?;
    Ok(Exit::Command(0))
}
