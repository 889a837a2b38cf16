//! The variables with our prefix: which options they set, and which of them are mistakes.

use std::{
    env,
    fmt::{self, Display, Formatter},
};

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::questions::QUESTIONS;

const PREFIX: &str = "LEADERRUN_";

/// The variables of a command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    /// The options that are set by a variable, as they are written, each with that variable.
    set: Vec<(String, String)>,
    mistakes: Vec<Mistake>,
}

/// A variable that does nothing although it seems to be meant for us.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    variable: String,
    kind: MistakeKind,
}

#[derive(Clone, Debug)]
enum MistakeKind {
    /// This variable of ours has nearly the same name.
    Mistyped { meant: String },
    /// It has the name of a question.
    Question,
}

impl Variables {
    pub(super) fn new(command: &Command, matches: &ArgMatches) -> Self {
        let of_options =
            command.get_arguments().filter_map(|arg| Some((arg.get_id(), arg.get_long()?, arg.get_env()?)));
        let set = of_options
            .filter(|(id, ..)| matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable))
            .map(|(_, long, variable)| (format!("--{long}"), variable.to_string_lossy().into_owned()));
        let with_our_prefix = env::vars_os()
            .filter(|(name, value)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && !value.is_empty())
            .filter_map(|(name, _)| name.into_string().ok());
        Variables { set: set.collect(), mistakes: with_our_prefix.filter_map(|name| mistake(command, name)).collect() }
    }

    /// Returns whether a variable sets an option.
    pub(crate) fn has_set(&self, option: &str) -> bool {
        self.set.iter().any(|(set, _)| set == option)
    }

    /// Returns a remark on those of these options that a variable sets, or an empty text.
    pub(crate) fn remark(&self, options: &[&str]) -> String {
        let set = self.set.iter().filter(|(option, _)| options.contains(&option.as_str()));
        let remarks: Vec<String> = set.map(|(option, variable)| format!("{variable} sets {option}")).collect();
        if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) }
    }

    /// Returns the mistakes. `others`: our variables that aren't for an option.
    pub(crate) fn mistakes(&self, others: &[&str]) -> impl Iterator<Item = &Mistake> {
        self.mistakes.iter().filter(|mistake| !others.contains(&mistake.variable.as_str()))
    }
}

/// Returns what is wrong with a variable, most likely nothing: anybody may give theirs our prefix, as Kubernetes does for a
/// service of our name.
fn mistake(command: &Command, variable: String) -> Option<Mistake> {
    let name = variable.strip_prefix(PREFIX)?;
    let of_kind = |is_question: bool| {
        let is_of_kind = move |arg: &&Arg| arg.get_help_heading().is_some_and(|it| (it == QUESTIONS) == is_question);
        command.get_arguments().filter(is_of_kind).filter_map(Arg::get_long).map(name_of_variable)
    };
    if of_kind(false).any(|ours| ours == name) {
        return None;
    }
    let kind = if of_kind(true).any(|question| question == name) {
        MistakeKind::Question
    } else {
        let near = of_kind(false).map(|ours| (strsim::osa_distance(&ours, name), ours)).filter(is_near);
        MistakeKind::Mistyped { meant: format!("{PREFIX}{}", near.min()?.1) }
    };
    Some(Mistake { variable, kind })
}

/// Returns what follows our prefix in the variable of an option.
fn name_of_variable(long: &str) -> String {
    long.replace('-', "_").to_uppercase()
}

/// Returns whether a name at this distance from one of ours is likely to be meant for it. In a short name, two mistakes
/// leave so little that it may well be another word.
fn is_near((distance, ours): &(usize, String)) -> bool {
    *distance <= (ours.len() / 3).min(2)
}

impl Display for Mistake {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {} is not a variable of leaderrun; ", self.variable)?;
        match &self.kind {
            MistakeKind::Mistyped { meant } => write!(f, "did you mean {meant}?"),
            MistakeKind::Question => write!(f, "questions are asked by options alone"),
        }
    }
}
