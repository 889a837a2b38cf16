//! The values of options: durations, signals, and the words of those that allow only a few.

use std::{ffi::OsStr, time::Duration};

use clap::{
    Arg, Command, ValueEnum,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};
use nix::sys::signal::Signal;

/// The format of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A shell that completions exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// When systemd is notified that leaderrun is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadyWhen {
    /// As soon as this instance stands by or leads
    Standby,
    /// When the command runs
    Leader,
}

/// Takes any text and offers the names of signals to completions; real-time signals have only numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignalName;

impl TypedValueParser for SignalName {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Signal::iterator().map(|signal| PossibleValue::new(signal.as_str().trim_start_matches("SIG")))))
    }
}

/// Parses a duration such as 500ms, 15s or 2m.
///
/// # Errors
/// What is wrong with the text, and how to write a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it as 500ms, 15s or 2m"))
}
