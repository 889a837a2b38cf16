//! `--completions` and `--man`: what a package would put in their places.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::{cli::Shell, exit::Exit};

pub fn completions(shell: Shell) -> Result<Exit> {
    print(match shell {
        Shell::Bash => include_str!("../../completions/leaderrun.bash"),
        Shell::Zsh => include_str!("../../completions/_leaderrun"),
        Shell::Fish => include_str!("../../completions/leaderrun.fish"),
        Shell::Elvish => include_str!("../../completions/leaderrun.elv"),
        Shell::Powershell => include_str!("../../completions/_leaderrun.ps1"),
    })
}

pub fn man() -> Result<Exit> {
    print(include_str!("../../man/leaderrun.1"))
}

fn print(text: &str) -> Result<Exit> {
    stdout().write_all(text.as_bytes())?;
    Ok(Exit::Command(0))
}
