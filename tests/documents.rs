//! The man page and the completions are those of the options. UPDATE=1 rewrites them.

// The same file that the program is made from.
#[allow(dead_code)]
#[path = "../src/cli.rs"]
mod cli;

use std::{fs, path::Path, process::Command};

use clap::CommandFactory;
use clap_complete::Shell;

fn is_kept_true(path: &str, made: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some_and(|v| v == "1") {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, made).expect("a written file");
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(kept == made, "{} is not up to date: UPDATE=1 cargo test --test documents", path.display());
}

#[test]
fn the_completions_are_up_to_date() {
    for (shell, name) in [
        (Shell::Bash, "leaderrun.bash"),
        (Shell::Zsh, "_leaderrun"),
        (Shell::Fish, "leaderrun.fish"),
        (Shell::Elvish, "leaderrun.elv"),
        (Shell::PowerShell, "_leaderrun.ps1"),
    ] {
        let mut made = Vec::new();
        clap_complete::generate(shell, &mut cli::Cli::command(), "leaderrun", &mut made);
        is_kept_true(&format!("completions/{name}"), &made);
    }
}

#[test]
fn the_man_page_is_up_to_date() {
    is_kept_true("man/leaderrun.1", &man_page());
}

#[test]
fn the_man_page_has_no_faults() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/leaderrun.1");
    let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page).output();
    let lint = lint.expect("mandoc (tests/run installs it)");
    assert_eq!(String::from_utf8_lossy(&lint.stdout), "");
}

/// What clap knows, and the sections that it can't know, from man/sections.roff.
fn man_page() -> Vec<u8> {
    let man = clap_mangen::Man::new(cli::Cli::command()).manual("User Commands").date("2026-11-24");
    let mut page = Vec::new();
    man.render_title(&mut page).expect("a title");
    man.render_name_section(&mut page).expect("a name");
    page.extend(b".SH SYNOPSIS\n\\fBleaderrun\\fR [\\fIOPTIONS\\fR] \\fB\\-\\-resource\\fR \\fINAME\\fR ");
    page.extend(b"[\\fB\\-\\-\\fR] \\fICOMMAND\\fR [\\fIARG\\fR]...\n");
    man.render_description_section(&mut page).expect("a description");
    man.render_options_section(&mut page).expect("options");
    page.extend(include_bytes!("../man/sections.roff"));
    // The first line asks for tbl(1); clap_mangen breaks a line where a paragraph begins.
    let page = String::from_utf8(page).expect("UTF-8").replace("\n\n.br\n", "\n");
    format!("'\\\" t\n{page}").into_bytes()
}
