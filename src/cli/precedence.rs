//! Which variables count: an option on the command line takes precedence over each of them, also over one that excludes it,
//! and an empty one counts as unset.

use std::{collections::HashSet, ffi::OsString};

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, Id, builder::Resettable};

use super::{
    errors,
    given::{has_variable, is_given, parse_alone, variable},
    options::Cli,
    values::is_no,
    variables::Variables,
};

/// Parses the command line, and the environment as far as it counts. `not_ours`: variables that are set for others to read.
///
/// # Errors
/// What is wrong with them, or that help was asked for.
pub(crate) fn parse(arguments: &[OsString], not_ours: &[&str]) -> Result<Cli, clap::Error> {
    let ignored = ignored_variables(arguments, not_ours);
    let mut command =
        Cli::command().mut_args(|arg| if ignored.contains(arg.get_id()) { arg.env(Resettable::Reset) } else { arg });
    let matches =
        command.try_get_matches_from_mut(arguments).map_err(|error| errors::complete(error, &command, arguments))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.variables = Variables::new(&command, &matches);
    Ok(cli)
}

/// Returns the options whose variables don't count: those that are empty, not ours, or excluded by an option on the command
/// line.
fn ignored_variables(arguments: &[OsString], not_ours: &[&str]) -> HashSet<Id> {
    let mut command = Cli::command();
    let ids = |is_wanted: &dyn Fn(&Arg) -> bool| -> HashSet<Id> {
        command.get_arguments().filter(|arg| is_wanted(arg)).map(|arg| arg.get_id().clone()).collect()
    };
    let is_not_ours = |arg: &Arg| arg.get_env().is_some_and(|name| not_ours.iter().any(|other| name == *other));
    let mut ignored = ids(&|arg| is_not_ours(arg) || variable(arg).is_some_and(|value| value.is_empty()));
    let set = ids(&has_variable);
    if set.is_empty() {
        return ignored;
    }
    // A flag that is switched off excludes nothing.
    let is_flag = |arg: &Arg| !arg.get_action().takes_values() || arg.is_require_equals_set();
    ignored.extend(ids(&|arg| is_flag(arg) && variable(arg).is_some_and(|value| is_no(&value))));
    command.build();
    // What is wrong on the command line is found again, and reported, when it is parsed with the environment.
    let Some(given) = parse_alone(&command, arguments) else { return ignored };
    ignored.extend(set.into_iter().filter(|id| !is_given(&given, id) && is_excluded(&command, &given, id)));
    ignored
}

/// Returns whether an option that is on the command line can't be used with this one.
fn is_excluded(command: &Command, given: &ArgMatches, id: &Id) -> bool {
    let conflicts = |one: &Id, other: &Id| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == one);
        arg.is_some_and(|arg| command.get_arg_conflicts_with(arg).iter().any(|found| found.get_id() == other))
    };
    // Clap doesn't list what shares a group of which only one may be given.
    let share_group = |other: &Id| {
        let groups = command.get_groups().filter(|group| !(*group).clone().is_multiple());
        groups.map(|group| group.get_args().collect::<Vec<_>>()).any(|ids| ids.contains(&id) && ids.contains(&other))
    };
    let on_command_line = command.get_arguments().map(Arg::get_id).filter(|other| is_given(given, other));
    on_command_line.into_iter().any(|other| conflicts(id, other) || conflicts(other, id) || share_group(other))
}
