//! Adds to clap's errors what clap doesn't say: which variable a value is from, whose value isn't UTF-8, and how a lock file
//! is given.

use std::ffi::OsString;

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};

use super::given::{has_variable, is_given, parse_alone, without_environment};

/// Completes an error that `command`, as clap has built it, has returned for these arguments.
pub(super) fn complete(mut error: clap::Error, command: &Command, arguments: &[OsString]) -> clap::Error {
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(arg) = not_utf8(command, arguments)
    {
        error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
    }
    if error.kind() == ErrorKind::MissingRequiredArgument && is_as_with_flock(command, arguments) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String("--local=FILE".to_owned()));
    }
    name_variables(&mut error, command, arguments);
    error
}

/// Returns whether `--local` is followed by a path and a command, as a lock file is by its command with flock(1).
fn is_as_with_flock(command: &Command, arguments: &[OsString]) -> bool {
    let Some(given) = parse_alone(command, arguments) else { return false };
    let words: Vec<&OsString> = given.get_many("command").into_iter().flatten().collect();
    let [file, _, ..] = words.as_slice() else { return false };
    let is_after_local = arguments.windows(2).any(|pair| pair[0] == "--local" && pair[1] == **file);
    is_after_local && file.as_encoded_bytes().contains(&b'/')
}

/// Names variables in place of options that nobody has typed.
fn name_variables(error: &mut clap::Error, command: &Command, arguments: &[OsString]) {
    // What the command line has wrong by itself has been typed. Of that, lenient parsing may miss an option, such as one
    // that is given twice.
    let of_command_line = without_environment(command).try_get_matches_from(arguments);
    if of_command_line.is_err_and(|error| error.kind() != ErrorKind::MissingRequiredArgument) {
        return;
    }
    let Some(given) = parse_alone(command, arguments) else { return };
    let variable = |option: &str| {
        let arg = command.get_arguments().find(|arg| arg.to_string() == option);
        let arg = arg.filter(|arg| has_variable(arg) && !is_given(&given, arg.get_id()));
        arg.and_then(Arg::get_env).map_or_else(|| option.to_owned(), |name| name.to_string_lossy().into_owned())
    };
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        let named = match error.get(kind) {
            Some(ContextValue::String(option)) => ContextValue::String(variable(option)),
            Some(ContextValue::Strings(options)) => {
                ContextValue::Strings(options.iter().map(|option| variable(option)).collect())
            }
            _ => continue,
        };
        error.insert(kind, named);
    }
}

/// Returns the option without which all values are UTF-8.
fn not_utf8<'a>(command: &'a Command, arguments: &[OsString]) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        let takes_bytes = |each: Arg| {
            if each.get_id() == arg.get_id() { each.value_parser(value_parser!(OsString)) } else { each }
        };
        let parsed = command.clone().mut_args(takes_bytes).try_get_matches_from(arguments);
        !parsed.is_err_and(|error| error.kind() == ErrorKind::InvalidUtf8)
    })
}
