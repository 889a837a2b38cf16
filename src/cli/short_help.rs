//! The text of `-h`: the options that clap doesn't hide from a short help, on one screen. clap's own layout takes one
//! more line per heading.

use std::{ffi::OsStr, fmt::Write};

use clap::{
    Arg, ArgAction, Command,
    builder::{StyledStr, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Returns the flag `-h`.
pub(super) fn flag() -> Arg {
    Arg::new("short_help").short('h').action(ArgAction::SetTrue).value_parser(ShortHelp).help("Print a summary")
}

/// Answers with the short help where clap would store a value, as clap does for its own help flags.
#[derive(Clone, Copy, Debug)]
struct ShortHelp;

impl TypedValueParser for ShortHelp {
    type Value = bool;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<bool, clap::Error> {
        if value == "false" {
            return Ok(false);
        }
        let mut help = clap::Error::new(ErrorKind::DisplayHelp);
        help.insert(ContextKind::Custom, ContextValue::String(short_help(command)));
        Err(help)
    }
}

/// Lists the options under their headings, each on one line, with all descriptions in one column.
fn short_help(command: &Command) -> String {
    let shown: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| arg.get_help_heading().is_some() && !arg.is_hide_short_help_set())
        .collect();
    let width = shown.iter().map(|arg| synopsis(arg).len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut last_heading = None;
    let _ = writeln!(text, "{}", text_of(command.get_about()));
    let _ = writeln!(text, "{}\n", command.clone().render_usage());
    for arg in shown {
        if last_heading != arg.get_help_heading() {
            last_heading = arg.get_help_heading();
            let _ = writeln!(text, "{}:", last_heading.unwrap_or_default());
        }
        let _ = writeln!(text, "{:width$}  {}", synopsis(arg), text_of(arg.get_help()));
    }
    let _ = writeln!(text, "{}", text_of(command.get_after_help()));
    text
}

fn text_of(styled: Option<&StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// Returns an option as it is written: its letter, its name and its value.
fn synopsis(arg: &Arg) -> String {
    let letter = arg.get_short().map_or("   ".to_owned(), |letter| format!("-{letter},"));
    let values: String = arg.get_value_names().unwrap_or_default().iter().map(|name| format!(" {name}")).collect();
    // A value that may be left out goes without saying.
    let values = if arg.get_action().takes_values() && !arg.is_require_equals_set() { values } else { String::new() };
    format!("  {letter} --{}{values}", arg.get_long().unwrap_or_default())
}
