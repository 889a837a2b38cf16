//! The man page and the completions are those of the options. UPDATE=1 rewrites them.

// The same file that the program is made from.
#[allow(dead_code)]
#[path = "../src/cli.rs"]
mod cli;

use std::{fs, path::Path, process::Command};

use clap::CommandFactory;
use clap_complete::Shell;

/// Behind `--` bash completes the command as without us: clap_complete has that for zsh and fish only.
const BASH_COMMANDS: &str = r#"
_leaderrun_or_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            if declare -F _command_offset >/dev/null; then
                _command_offset $((i + 1))
            elif ((COMP_CWORD == i + 1)); then
                COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
            else
                COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
            fi
            return
        fi
    done
    _leaderrun "$@"
}

complete -F _leaderrun_or_command -o bashdefault -o default leaderrun
"#;

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
        if shell == Shell::Bash {
            made.extend(BASH_COMMANDS.as_bytes());
        }
        is_kept_true(&format!("completions/{name}"), &made);
    }
}

/// Every option that the short help names is one, and has the letter that it gives.
#[test]
fn the_short_help_names_options_that_there_are() {
    let command = cli::Cli::command();
    let words = cli::SHORT_HELP.split([' ', ',', ';', '\n']).filter_map(|word| word.strip_prefix("--"));
    let mut named = 0;
    for word in words.map(|word| word.trim_end_matches('.')).filter(|word| !["", "help"].contains(word)) {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(word));
        let arg = arg.unwrap_or_else(|| panic!("--{word} is no option"));
        if let Some(short) = arg.get_short() {
            assert!(cli::SHORT_HELP.contains(&format!("  -{short}, --{word} ")), "-{short}, --{word}");
        }
        named += 1;
    }
    assert!(named > 12, "{named}");
}

#[test]
fn a_package_has_what_it_puts_in_place_from_the_program_itself() {
    let print = |args: &[&str]| {
        let printed = Command::new(env!("CARGO_BIN_EXE_leaderrun")).args(args).output().expect("leaderrun");
        assert!(printed.status.success());
        printed.stdout
    };
    let kept = |path: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file");
    assert_eq!(print(&["--man"]), kept("man/leaderrun.1"));
    for (shell, name) in [
        ("bash", "leaderrun.bash"),
        ("zsh", "_leaderrun"),
        ("fish", "leaderrun.fish"),
        ("elvish", "leaderrun.elv"),
        ("powershell", "_leaderrun.ps1"),
    ] {
        assert_eq!(print(&["--completions", shell]), kept(&format!("completions/{name}")));
    }
}

/// What bash offers for a line.
fn completed(line: &[&str]) -> String {
    let script = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        $(complete -p leaderrun | sed 's/.* -F \([^ ]*\) .*/\1/') leaderrun "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions/leaderrun.bash");
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(file).arg("leaderrun").args(line);
    String::from_utf8(bash.output().expect("bash").stdout).expect("UTF-8")
}

#[test]
fn bash_completes_options_signals_and_the_command_as_without_us() {
    assert!(completed(&["--re"]).contains("--resource"));
    assert!(completed(&["--signal", "US"]).contains("USR1"));
    let commands = completed(&["-r", "x", "--", "leaderrun-no-such"]);
    assert_eq!(commands.trim(), "");
    assert!(completed(&["-r", "x", "--", "bas"]).lines().any(|command| command == "bash"));
    assert!(completed(&["--local", "--", "cat", "/etc/passw"]).contains("/etc/passwd"));
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
