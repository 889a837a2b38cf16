//! The man page, the completions and the short help match the options. UPDATE=1 rewrites the files.

// The files that the program is built from.
#[allow(dead_code, unused_imports)]
#[path = "../src/cli/mod.rs"]
mod cli;

use std::{fs, path::Path, process::Command};

use clap::CommandFactory;
use clap_complete::Shell;

/// After `--`, bash completes the command as it would without leaderrun. clap_complete does that only for zsh and fish.
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

fn is_up_to_date(path: &str, made: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some_and(|v| v == "1") {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, made).expect("a written file");
    }
    let present = fs::read(&path).unwrap_or_default();
    assert!(present == made, "{} is not up to date: UPDATE=1 cargo test documents", path.display());
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
        is_up_to_date(&format!("completions/{name}"), &made);
    }
}

/// Returns what leaderrun prints.
fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_leaderrun")).args(args).output().expect("leaderrun");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Every option that the short help names exists, and has the letter that it gives.
#[test]
fn the_short_help_names_only_existing_options() {
    let (command, short_help) = (cli::Cli::command(), printed(&["-h"]));
    let words = short_help.split([' ', ',', ';', ':', '(', ')', '\n']).filter_map(|word| word.strip_prefix("--"));
    let mut named = 0;
    for word in words.map(|word| word.trim_end_matches('.')).filter(|word| !["", "help"].contains(word)) {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(word));
        let arg = arg.unwrap_or_else(|| panic!("--{word} is no option"));
        if let Some(short) = arg.get_short() {
            assert!(short_help.contains(&format!("  -{short}, --{word} ")), "-{short}, --{word}");
        }
        named += 1;
    }
    assert!(named > 12, "{named}");
}

#[test]
fn the_short_help_has_each_option_that_is_not_hidden_from_it_on_a_line_under_its_heading() {
    let (command, short_help) = (cli::Cli::command(), printed(&["-h"]));
    let mut headings: Vec<&str> = Vec::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
        let Some(heading) = arg.get_help_heading() else { continue };
        headings.push(heading);
        let name = format!(" --{} ", arg.get_long().expect("a long name"));
        let under = short_help.split_once(&format!("\n{heading}:\n")).map(|(_, under)| under).unwrap_or_default();
        let line = under.lines().take_while(|line| line.starts_with(' ')).find(|line| line[..24].contains(&name));
        let help = arg.get_help().expect("a description").to_string();
        match line {
            Some(line) => assert!(line.ends_with(&help) && !arg.is_hide_short_help_set(), "{line}"),
            None => assert!(arg.is_hide_short_help_set(), "{name} is missing: {short_help}"),
        }
    }
    headings.dedup();
    assert_eq!(headings.len(), 5, "{headings:?}");
}

#[test]
fn no_help_text_calls_an_instance_a_replica() {
    let command = cli::Cli::command();
    let mut texts = vec![command.get_long_about().map(ToString::to_string).unwrap_or_default()];
    texts.extend(
        command
            .get_arguments()
            .flat_map(|arg| [arg.get_help(), arg.get_long_help()])
            .flatten()
            .map(ToString::to_string),
    );
    texts.push(include_str!("../man/sections.roff").to_owned());
    for text in texts {
        let plain = text.replace("Redis replica", "");
        assert!(!plain.contains("replica"), "{text}");
    }
}

#[test]
fn the_program_prints_the_man_page_and_the_completions_that_a_package_installs() {
    let present = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file");
    assert!(printed(&["--man"]) == present("man/leaderrun.1"), "--man prints another page");
    for (shell, name) in [
        ("bash", "leaderrun.bash"),
        ("zsh", "_leaderrun"),
        ("fish", "leaderrun.fish"),
        ("elvish", "leaderrun.elv"),
        ("powershell", "_leaderrun.ps1"),
    ] {
        let printed = printed(&["--completions", shell]);
        assert!(printed == present(&format!("completions/{name}")), "--completions {shell} prints another file");
    }
}

/// Returns what bash offers for a line.
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
    is_up_to_date("man/leaderrun.1", &man_page());
}

#[test]
fn the_man_page_has_no_faults() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/leaderrun.1");
    let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page).output();
    let lint = lint.expect("mandoc (tests/run installs it)");
    assert_eq!(String::from_utf8_lossy(&lint.stdout), "");
}

#[test]
fn each_option_is_explained_in_the_man_page() {
    let page = String::from_utf8(man_page()).expect("UTF-8");
    let unexplained: Vec<_> = page.split(".TP\n").filter(|option| option.lines().nth(1) == Some("")).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// cron takes a % for the end of a line, unless a \ is before it.
#[test]
fn each_line_for_a_crontab_is_one_that_cron_takes_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, lines) in [("man/leaderrun.1", 2), ("README.md", 1), ("docs/cron.md", 1), ("examples/crontab", 1)] {
        let text = fs::read_to_string(root.join(file)).expect("a document").replace("\\e", "\\");
        let crontab: Vec<&str> = text.lines().filter(|line| line.starts_with("0 3 * * *")).collect();
        assert_eq!(crontab.len(), lines, "{file}");
        assert!(crontab.iter().all(|line| !line.replace("\\%", "").contains('%')), "{file}: {crontab:?}");
    }
}

/// Returns the man page: what clap knows, and the sections of man/sections.roff, which clap can't know.
fn man_page() -> Vec<u8> {
    // clap_mangen leaves out a summary that has no paragraphs after it, if it is kept out of the short help.
    let command = cli::Cli::command().mut_args(|arg| {
        let summary = arg.get_help().filter(|_| arg.get_long_help().is_none()).cloned();
        summary.into_iter().fold(arg, clap::Arg::long_help)
    });
    let man = clap_mangen::Man::new(command).manual("User Commands").date("2026-11-24");
    let mut page = Vec::new();
    man.render_title(&mut page).expect("a title");
    man.render_name_section(&mut page).expect("a name");
    page.extend(b".SH SYNOPSIS\n\\fBleaderrun\\fR [\\fIOPTIONS\\fR] \\fB\\-\\-resource\\fR \\fINAME\\fR ");
    page.extend(b"[\\fB\\-\\-\\fR] \\fICOMMAND\\fR [\\fIARG\\fR]...\n");
    man.render_description_section(&mut page).expect("a description");
    man.render_options_section(&mut page).expect("options");
    page.extend(include_bytes!("../man/sections.roff"));
    // The first line asks for tbl(1). clap_mangen puts a line break where a paragraph begins.
    let page = String::from_utf8(page).expect("UTF-8").replace("\n\n.br\n", "\n");
    format!("'\\\" t\n{page}").into_bytes()
}
