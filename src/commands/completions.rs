//! `--completions`: what a package installs for a shell.

use super::output::say_file;
use crate::{cli::Shell, exit::Exit};

/// Prints the completions for a shell.
pub(super) fn print(shell: Shell) -> Exit {
    let completions = match shell {
        Shell::Bash => include_str!("../../completions/leaderrun.bash"),
        Shell::Zsh => include_str!("../../completions/_leaderrun"),
        Shell::Fish => include_str!("../../completions/leaderrun.fish"),
        Shell::Elvish => include_str!("../../completions/leaderrun.elv"),
        Shell::Powershell => include_str!("../../completions/_leaderrun.ps1"),
    };
    say_file(completions);
    Exit::Command(0)
}
