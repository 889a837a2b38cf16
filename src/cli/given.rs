//! What the command line itself says, without the environment.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command, Id, builder::Resettable, parser::ValueSource};

/// Parses the command line without the environment, as far as it can be parsed. `command`: as clap has built it.
pub(super) fn parse_alone(command: &Command, arguments: &[OsString]) -> Option<ArgMatches> {
    let lenient = without_environment(command).mut_args(|arg| arg.required(false)).ignore_errors(true);
    lenient.try_get_matches_from(arguments).ok()
}

/// Returns the command with options that have no variables.
pub(super) fn without_environment(command: &Command) -> Command {
    command.clone().mut_args(|arg| arg.env(Resettable::Reset))
}

/// Returns whether an option is on the command line.
pub(super) fn is_given(matches: &ArgMatches, id: &Id) -> bool {
    // Clap knows no value source of an argument that it was not told of, such as the short help.
    matches.ids().any(|known| known == id) && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
}

/// Returns whether the variable of an option is set. An empty one counts as unset.
pub(super) fn has_variable(arg: &Arg) -> bool {
    variable(arg).is_some_and(|value| !value.is_empty())
}

/// Returns the value of an option's variable.
pub(super) fn variable(arg: &Arg) -> Option<OsString> {
    arg.get_env().and_then(std::env::var_os)
}
