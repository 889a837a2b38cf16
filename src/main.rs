//! Runs a command on exactly one of many machines, and only while that machine leads.

#![cfg_attr(not(test), no_main)]
// Fuzz targets reach only a part of the program.
#![cfg_attr(fuzzing, allow(dead_code, unused_imports))]

#[macro_use]
mod broken;
#[macro_use]
mod sys;

mod backend;
mod cli;
mod clock;
mod commands;
mod conclude;
mod config_error;
mod election;
mod event;
mod exit;
mod file_warning;
mod guard;
mod history;
mod host;
mod leader_variables;
mod leadership;
mod lease;
mod limits;
mod local;
mod lock;
mod observer;
mod once_per;
mod one_line;
mod program;
mod redlock;
mod regular_file;
mod renewal;
mod report;
mod run;
mod run_end;
mod server_url;
mod settings;
mod status;
mod systemd;
mod trusted_path;
mod usage;

#[cfg(any(test, fuzzing))]
#[allow(unreachable_pub)]
#[path = "../tests/fuzz/mod.rs"]
pub mod fuzz;

#[cfg(test)]
#[allow(unreachable_pub)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;

#[cfg(not(target_os = "linux"))]
compile_error!("leaderrun needs Linux 5.4 or newer: child subreapers and parent death signals");

use std::ffi::OsString;

use crate::{
    cli::{Cli, Variables},
    commands::Query,
    config_error::ConfigError,
    event::Event,
    exit::Exit,
    settings::Settings,
};

entry_point!(start);

fn start(arguments: Vec<OsString>) -> i32 {
    match limits::check_stack() {
        Ok(()) => answer(arguments),
        Err(why) => {
            report::print_error(why);
            Exit::Failure.status().into()
        }
    }
}

/// Not inlined: what it needs of the stack would be touched before the check.
#[inline(never)]
fn answer(arguments: Vec<OsString>) -> i32 {
    let cli = cli::parse(&arguments, leader_variables::set_by_leader());
    let exit = cli.map_or_else(|e| usage::answer(&e), |cli| dispatch(cli, &arguments));
    if let Exit::Signal(signal) = exit {
        // What ended the command ends us, so that whoever waits for us sees what they would see without us.
        guard::die_of(signal);
    }
    exit.status().into()
}

fn dispatch(mut cli: Cli, arguments: &[OsString]) -> Exit {
    guard::hide_passwords();
    let asked = Query::from_cli(&cli);
    let variables = std::mem::take(&mut cli.variables);
    match asked {
        // The variable is for runs: whoever asks wants to read the answer.
        Ok(Some(query)) => query.answer(cli.quiet && !variables.has_set("--quiet")),
        Ok(None) => match Settings::try_from(cli) {
            Ok(settings) => lead(&settings, &variables, arguments),
            Err(error) => refuse(&error, &variables),
        },
        Err(error) => refuse(&error, &variables),
    }
}

fn lead(settings: &Settings, variables: &Variables, arguments: &[OsString]) -> Exit {
    for warning in &settings.warnings {
        settings.report.warning(Event::Warning, warning);
    }
    for mistake in variables.mistakes(&leader_variables::ALL) {
        settings.report.warning(Event::Warning, mistake);
    }
    run::run(settings, arguments).unwrap_or_else(|error| {
        settings.report.error(Event::Failed, limits::explained(&error));
        Exit::Failure
    })
}

fn refuse(error: &ConfigError, variables: &Variables) -> Exit {
    error.report(&variables.remark(&error.options()));
    error.into()
}
