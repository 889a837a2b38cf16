//! The values of options: durations, signals, and the words of those that allow only a few.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use clap::{
    Arg, Command, ValueEnum,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};
use nix::sys::signal::Signal;

/// Whether the lock is on this machine, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalLock {
    No,
    /// In a file that depends on resource and user.
    Default,
    /// This file, which other users and flock(1) may lock as well.
    File(PathBuf),
}

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

/// The longest duration: no clock can count to the end of an endless one.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Parses a duration such as 500ms, 15s or 2m. A number without a unit is seconds, as for flock(1) and timeout(1).
///
/// # Errors
/// What is wrong with the text, and how to write a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write it as 5, 0.5, 500ms, 15s or 2m";
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    let parsed = if text.trim().is_empty() {
        Err("it is empty".to_owned())
    } else if let Some(rest) = text.strip_prefix('-') {
        let is_negative = rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        Err(if is_negative { "it is negative" } else { "it is an option, and the duration is missing" }.to_owned())
    } else if is_number {
        let seconds: Result<f64, _> = text.parse();
        seconds
            .map_err(|_| "it is no number".to_owned())
            .map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX))
    } else {
        humantime::parse_duration(text).map_err(|_| "it is no duration".to_owned())
    };
    match parsed {
        Ok(duration) if duration > LONGEST => Err(format!("it is longer than 100 years; {HOW}")),
        parsed => parsed.map_err(|problem| format!("{problem}; {HOW}")),
    }
}

/// Parses the value that a flag has in the environment.
///
/// # Errors
/// It is neither yes nor no.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Ok(true),
        "0" | "false" | "no" | "off" | "n" | "f" => Ok(false),
        _ => Err("write 1 or 0".to_owned()),
    }
}

/// Parses how verbose we are, from the environment: a number, or yes or no as for a flag.
///
/// # Errors
/// It is neither.
pub(super) fn verbosity(text: &str) -> Result<u8, String> {
    text.parse().or_else(|_| flag(text).map(u8::from)).map_err(|_| "write 0, 1 or 2".to_owned())
}

/// Parses the value of `--local`: a path, or yes or no as for a flag.
///
/// # Errors
/// It is neither.
pub(super) fn local_lock(value: OsString) -> Result<LocalLock, String> {
    if value.to_string_lossy().contains("://") {
        return Err("it is a URL; give servers with --redis".to_owned());
    }
    if value.as_encoded_bytes().contains(&b'/') {
        return Ok(LocalLock::File(value.into()));
    }
    if value.is_empty() {
        return Err("it is empty; write a file as a path, or --local alone".to_owned());
    }
    let text = value.to_string_lossy();
    let is_local = flag(&text).map_err(|_| format!("write a file as a path with a slash, such as ./{text}"))?;
    Ok(if is_local { LocalLock::Default } else { LocalLock::No })
}

/// Takes a line for the shell. An empty one would succeed, and do nothing.
///
/// # Errors
/// It is empty.
pub(super) fn shell_line(line: OsString) -> Result<OsString, String> {
    if line.is_empty() { Err("it is empty".to_owned()) } else { Ok(line) }
}

/// Returns whether a value in the environment switches off what it is for.
pub(super) fn is_no(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| flag(text) == Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_unit_is_seconds() {
        for (text, millis) in
            [("5", 5000), ("0.5", 500), (".5", 500), ("2.", 2000), ("0", 0), ("1m", 60_000), ("1.5s", 1500)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_an_error_that_says_how_to_write_one() {
        for (text, problem) in [
            ("", "it is empty"),
            (" ", "it is empty"),
            ("-1s", "it is negative"),
            ("-0.5", "it is negative"),
            ("--local", "the duration is missing"),
            (".", "it is no duration"),
            ("1.2.3", "it is no number"),
            ("99999999999999999999999999", "it is longer than 100 years"),
            ("500000y", "it is longer than 100 years"),
            ("1e3", ""),
            ("inf", ""),
            ("forever", "it is no duration"),
        ] {
            let said = duration(text).expect_err(text);
            assert!(
                said.contains(problem) && said.ends_with("; write it as 5, 0.5, 500ms, 15s or 2m"),
                "{text}: {said}"
            );
        }
    }
}
