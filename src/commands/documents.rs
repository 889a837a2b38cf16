//! `--completions` and `--man`: what a package would put in their places.

use crate::cli::Shell;

pub fn completions(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("../../completions/leaderrun.bash"),
        Shell::Zsh => include_str!("../../completions/_leaderrun"),
        Shell::Fish => include_str!("../../completions/leaderrun.fish"),
        Shell::Elvish => include_str!("../../completions/leaderrun.elv"),
        Shell::Powershell => include_str!("../../completions/_leaderrun.ps1"),
    }
}

pub fn man() -> &'static str {
    include_str!("../../man/leaderrun.1")
}
