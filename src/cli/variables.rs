//! The variables that set options.

use clap::{ArgMatches, Command, parser::ValueSource};

/// The variables of a command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    /// The options that are set by a variable, as they are written, each with that variable.
    set: Vec<(String, String)>,
}

impl Variables {
    pub(super) fn new(command: &Command, matches: &ArgMatches) -> Self {
        let of_options =
            command.get_arguments().filter_map(|arg| Some((arg.get_id(), arg.get_long()?, arg.get_env()?)));
        let set = of_options
            .filter(|(id, ..)| matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable))
            .map(|(_, long, variable)| (format!("--{long}"), variable.to_string_lossy().into_owned()));
        Variables { set: set.collect() }
    }

    /// Returns a remark on those of these options that a variable sets, or an empty text.
    pub(crate) fn remark(&self, options: &[&str]) -> String {
        let set = self.set.iter().filter(|(option, _)| options.contains(&option.as_str()));
        let remarks: Vec<String> = set.map(|(option, variable)| format!("{variable} sets {option}")).collect();
        if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) }
    }
}
