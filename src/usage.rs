//! Errors of the command line in one line: what is wrong, and what to do.

use std::{error::Error, num::ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{commands::say_text, exit::Exit, report, server_url::without_secrets};

/// Prints the help or version if that was asked for, or else what is wrong with the command line.
pub(crate) fn answer(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        report::print_error(explain(error));
        return Exit::Usage;
    }
    let written = match error.get(ContextKind::Custom) {
        Some(ContextValue::String(short_help)) => say_text(short_help),
        _ => say_text(&error.render().to_string()),
    };
    match written {
        Ok(()) => Exit::Command(0),
        Err(error) => {
            report::print_error(error);
            Exit::NotWritten
        }
    }
}

/// Returns one line that says what is wrong with the command line, and what to do.
pub(crate) fn explain(error: &clap::Error) -> String {
    let arg = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    let wrong = match error.kind() {
        ErrorKind::UnknownArgument => unknown_option(error, &arg),
        ErrorKind::InvalidValue if value.is_empty() => format!("'{arg}' needs a value"),
        ErrorKind::InvalidValue => invalid_value(error, &arg, &value),
        ErrorKind::ValueValidation => {
            let reason = match error.source() {
                Some(reason) if reason.is::<ParseIntError>() => "it is no number".to_owned(),
                reason => reason.map(ToString::to_string).unwrap_or_default(),
            };
            format!("invalid value '{value}' for '{arg}': {reason}")
        }
        ErrorKind::TooManyValues => format!("'{arg}' takes no value, but is given '{value}'"),
        ErrorKind::ArgumentConflict => conflict(error, &arg),
        ErrorKind::MissingRequiredArgument => {
            let hint = match context(error, ContextKind::SuggestedArg) {
                local if local.is_empty() => String::new(),
                local => format!("; a lock file is given as {local}"),
            };
            format!("required, but not given: {arg}{hint}")
        }
        ErrorKind::InvalidUtf8 => {
            let whose = if arg.is_empty() { "a value".to_owned() } else { format!("the value of '{arg}'") };
            format!("{whose} is not valid UTF-8; only file names, the command and its arguments may have other bytes")
        }
        kind => kind.to_string(),
    };
    format!("{wrong}; see 'leaderrun --help'")
}

/// What others call our options.
const ELSEWHERE: [(&[&str], &str); 9] = [
    (&["name", "lock", "key", "job"], "--resource"),
    (&["host", "server", "servers", "url", "endpoints"], "--redis"),
    (&["user", "pass", "password"], "--redis redis://USER:PASSWORD@HOST"),
    (&["no-wait", "no-block"], "--try"),
    (&["max-time", "run-timeout", "time-limit"], "--max-run"),
    (&["once"], "--once-for"),
    (&["shards", "holders", "parallel"], "--slots"),
    (&["cacert", "ca-cert"], "--tls-ca"),
    (&["resign", "handover", "failover"], "--step-down"),
];

fn unknown_option(error: &clap::Error, arg: &str) -> String {
    let is_called = |(names, _): &&(&[&str], &str)| names.iter().any(|name| arg.strip_prefix("--") == Some(name));
    if let Some((_, ours)) = ELSEWHERE.iter().find(is_called) {
        return format!("unknown option '{arg}'; here it is '{ours}'");
    }
    match context(error, ContextKind::SuggestedArg) {
        similar if similar.is_empty() => format!("unknown option '{arg}'; options of the command go after the command"),
        similar => format!("unknown option '{arg}'; did you mean '{similar}'?"),
    }
}

fn invalid_value(error: &clap::Error, arg: &str, value: &str) -> String {
    let similar = context(error, ContextKind::SuggestedValue);
    let hint = if similar.is_empty() { String::new() } else { format!("; did you mean '{similar}'?") };
    format!("invalid value '{value}' for '{arg}', which takes {}{hint}", context(error, ContextKind::ValidValue))
}

fn conflict(error: &clap::Error, arg: &str) -> String {
    match context(error, ContextKind::PriorArg) {
        prior if prior == arg => format!("'{arg}' is given more than once"),
        prior if prior == COMMAND && arg == SHELL_LINE => {
            format!("'{arg}' takes no arguments; to give the line some, write the command sh -c LINE sh ARG...")
        }
        prior if prior == COMMAND => {
            format!("'{arg}' takes no command; leave it out, and name a resource with --resource")
        }
        prior if [arg, &prior].contains(&LIST) && [arg, &prior].contains(&RESOURCE) => {
            format!("'{LIST}' prints every resource; leave out --resource, or ask --status about one")
        }
        prior => format!("'{arg}' cannot be used with '{prior}'; leave out one of them"),
    }
}

/// What clap calls the command, and these options.
const COMMAND: &str = "[COMMAND]...";
const SHELL_LINE: &str = "--command <LINE>";
const LIST: &str = "--list";
const RESOURCE: &str = "--resource <NAME>";

/// Returns what clap knows about an error, or an empty text. It may be the URL of a server, which was meant for another option.
fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => without_secrets(text),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::{OsStr, OsString},
        os::unix::ffi::OsStringExt,
    };

    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn error(args: &[&str]) -> clap::Error {
        Cli::try_parse_from([&["leaderrun"], args].concat()).expect_err("an error")
    }

    #[track_caller]
    fn explains(kind: ErrorKind, args: &[&str], line: &str) {
        let error = error(args);
        assert_eq!(error.kind(), kind);
        assert_eq!(explain(&error), format!("{line}; see 'leaderrun --help'"));
    }

    #[test]
    fn an_unknown_option_is_named() {
        let line = "unknown option '--bogus'; options of the command go after the command";
        explains(ErrorKind::UnknownArgument, &["-r", "x", "--bogus", "true"], line);
    }

    #[test]
    fn a_mistyped_option_comes_with_the_one_that_may_be_meant() {
        let line = "unknown option '--resorce'; did you mean '--resource'?";
        explains(ErrorKind::UnknownArgument, &["--resorce", "x", "true"], line);
    }

    #[test]
    fn an_option_that_others_have_comes_with_ours() {
        let line = "unknown option '--name'; here it is '--resource'";
        explains(ErrorKind::UnknownArgument, &["--name", "x", "true"], line);
    }

    #[test]
    fn a_question_with_a_word_after_it_says_where_the_name_belongs() {
        let line = "'--status' takes no command; leave it out, and name a resource with --resource";
        explains(ErrorKind::ArgumentConflict, &["--local", "--status", "nightly"], line);
    }

    #[test]
    fn an_argument_of_a_line_of_the_shell_says_how_to_write_it() {
        let line =
            "'--command <LINE>' takes no arguments; to give the line some, write the command sh -c LINE sh ARG...";
        explains(ErrorKind::ArgumentConflict, &["-r", "x", "-c", "echo $1", "x"], line);
    }

    #[test]
    fn an_option_without_its_value_says_so() {
        explains(ErrorKind::InvalidValue, &["-r", "x", "-t"], "'--ttl <DURATION>' needs a value");
    }

    #[test]
    fn an_invalid_word_comes_with_those_that_are_valid() {
        let line = "invalid value 'xml' for '--log-format <FORMAT>', which takes text, json";
        explains(ErrorKind::InvalidValue, &["--log-format", "xml"], line);
        let line =
            "invalid value 'stand' for '--sd-notify <WHEN>', which takes standby, leader; did you mean 'standby'?";
        explains(ErrorKind::InvalidValue, &["--sd-notify", "stand"], line);
    }

    #[test]
    fn an_invalid_value_comes_with_the_reason() {
        let line = "invalid value '-1s' for '--wait <DURATION>': it is negative; write it as 5, 0.5, 500ms, 15s or 2m";
        explains(ErrorKind::ValueValidation, &["-w", "-1s"], line);
        let line = "invalid value 'x' for '--conflict-exit-code <N>': it is no number";
        explains(ErrorKind::ValueValidation, &["-E", "x"], line);
        let line = "invalid value '256' for '--conflict-exit-code <N>': 256 is not in 0..=255";
        explains(ErrorKind::ValueValidation, &["-E", "256"], line);
    }

    #[test]
    fn a_flag_with_a_value_says_that_it_takes_none() {
        let line = "'--json' takes no value, but is given 'yes'";
        explains(ErrorKind::TooManyValues, &["--json=yes"], line);
    }

    #[test]
    fn options_that_exclude_each_other_are_both_named() {
        let line = "'--status' cannot be used with '--check'; leave out one of them";
        explains(ErrorKind::ArgumentConflict, &["-r", "x", "--status", "--check"], line);
    }

    #[test]
    fn an_option_that_is_given_twice_is_named() {
        let line = "'--resource <NAME>' is given more than once";
        explains(ErrorKind::ArgumentConflict, &["-r", "x", "-r", "y", "true"], line);
    }

    #[test]
    fn everything_that_is_missing_is_listed() {
        let line = "required, but not given: --resource <NAME>, <COMMAND>...";
        explains(ErrorKind::MissingRequiredArgument, &["--local"], line);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_error_where_text_is_wanted() {
        let args = [OsStr::new("leaderrun"), OsStr::new("-r"), &OsString::from_vec(b"\xff".to_vec())];
        let error = Cli::try_parse_from(args).expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::InvalidUtf8);
        assert!(explain(&error).starts_with("a value is not valid UTF-8; "));
    }
}
