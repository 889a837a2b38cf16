//! Runs a command on exactly one of many machines, and only while that machine leads.

#![cfg_attr(not(test), no_main)]

#[macro_use]
mod sys;

mod backend;
mod cli;
mod clock;
mod commands;
mod conclude;
mod election;
mod event;
mod exit;
mod guard;
mod leadership;
mod lease;
mod local;
mod lock;
mod observer;
mod once_per;
mod program;
mod redlock;
mod renewal;
mod report;
mod run;
mod run_end;
mod settings;
mod status;
mod systemd;

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;

#[cfg(not(target_os = "linux"))]
compile_error!("leaderrun needs Linux 5.4 or newer: child subreapers and parent death signals");

use std::{
    ffi::OsString,
    io::{Write, stdout},
};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    cli::Cli,
    commands::Inquiry,
    event::Event,
    exit::Exit,
    settings::{ConfigError, Settings},
};

entry_point!(start);

fn start(arguments: Vec<OsString>) -> i32 {
    dispatch(&arguments).status().into()
}

fn dispatch(arguments: &[OsString]) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => return cli_error(e),
    };
    guard::hide_passwords();
    let asked = match Inquiry::from_cli(&cli) {
        Ok(None) => return lead(cli, arguments),
        Ok(Some(inquiry)) => inquiry.answer(),
        Err(refusal) => return refused(&refusal),
    };
    asked.unwrap_or_else(|e| {
        report::usage_error(format_args!("{e:#}"));
        Exit::Failure
    })
}

/// Runs the command where we come to lead.
fn lead(cli: Cli, arguments: &[OsString]) -> Exit {
    let settings = match Settings::try_from(cli) {
        Ok(settings) => settings,
        Err(refusal) => return refused(&refusal),
    };
    if let Some(warning) = &settings.warning {
        settings.report.error(Event::Warning, warning);
    }
    run::run(&settings, arguments).unwrap_or_else(|e| {
        settings.report.error(Event::Failed, format_args!("{e:#}"));
        Exit::Failure
    })
}

fn refused(refusal: &ConfigError) -> Exit {
    report::usage_error(&refusal.message);
    refusal.exit
}

/// Help and version go to stdout; an error is one line, with what to do.
fn cli_error(error: clap::Error) -> Exit {
    if error.kind() == ErrorKind::DisplayHelp && error.render().to_string() == Cli::command().render_help().to_string()
    {
        let _ = write!(stdout(), "{}", cli::SHORT_HELP);
        return Exit::Command(0);
    }
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Command(0);
    }
    let text = error.render().to_string();
    let paragraphs = text.split("\n\n").take_while(|p| !p.starts_with("Usage:") && !p.starts_with("For more"));
    let told: Vec<String> = paragraphs.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    report::usage_error(format_args!("{}; see 'leaderrun --help'", told.join("; ").trim_start_matches("error: ")));
    Exit::Usage
}
