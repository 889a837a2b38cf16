//! Runs a command on exactly one of many machines, and only while that machine leads.

#![cfg_attr(not(test), no_main)]

#[macro_use]
mod sys;

mod ask;
mod cli;
mod clock;
mod election;
mod exit;
mod guard;
mod lease;
mod local;
mod period;
mod program;
mod redlock;
mod reign;
mod report;
mod service;
mod settings;
mod standing;
mod store;
mod tenure;

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;

#[cfg(not(target_os = "linux"))]
compile_error!("leaderrun needs Linux 5.4 or newer: pidfds, child subreapers and parent death signals");

use std::{
    ffi::OsString,
    io::{Write, stdout},
    pin::pin,
};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, error::ErrorKind};
use nix::{libc::SIGINT, sys::signal::Signal};

use crate::{
    ask::{Inquiry, Outlook},
    cli::Cli,
    election::Elected,
    exit::Exit,
    guard::{Forked, Guard, Heard},
    report::Occasion,
    service::Service,
    settings::{Refusal, Settings},
    store::{Parting, Store},
};

entry_point!(run);

fn run(arguments: Vec<OsString>) -> i32 {
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
        settings.report.error(Occasion::Warning, warning);
    }
    fork_and_serve(&settings, arguments).unwrap_or_else(|e| {
        settings.report.error(Occasion::Failed, format_args!("{e:#}"));
        Exit::Failure
    })
}

fn refused(refusal: &Refusal) -> Exit {
    report::usage_error(&refusal.message);
    refusal.exit
}

/// Forks the guard while there is one thread, then competes, leads and releases.
fn fork_and_serve(settings: &Settings, arguments: &[OsString]) -> Result<Exit> {
    let forked = guard::fork_guard(settings)?;
    let inherited = forked.inherited;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start the event loop")?;
    let exit = runtime.block_on(serve(settings, forked));
    // The process ends: taking the runtime apart would only take time, and wait for a name that is being looked up.
    std::mem::forget(runtime);
    if starts_over(settings, &exit) {
        settings.report.info(Occasion::Rejoins, "stands by again (--rejoin)");
        // A guard is forked where there is one thread: from a new start.
        let errno = guard::start_over(inherited, arguments);
        return Err(errno).context("can't start over for --rejoin");
    }
    exit
}

/// Whether we stand by again after this.
fn starts_over(settings: &Settings, exit: &Result<Exit>) -> bool {
    settings.rejoin && matches!(exit, Ok(Exit::LeadershipLost))
}

/// Competes, and lets systemd know where it wants to.
async fn serve(settings: &Settings, forked: Forked) -> Result<Exit> {
    let Some(ready_when) = settings.ready_when else { return compete(settings, forked).await };
    let (service, all_said) = Service::start(ready_when)?;
    settings.report.tell_also(service);
    let exit = compete(settings, forked).await;
    if !starts_over(settings, &exit) {
        settings.report.end_service();
        all_said.wait();
    }
    exit
}

async fn compete(settings: &Settings, forked: Forked) -> Result<Exit> {
    let mut guard = Guard::watch(forked)?;
    let mut store = Store::open(settings)?;
    let elected = tokio::select! {
        // A signal that is there first is heeded first: nothing is started at a shutdown.
        biased;
        over = interrupted(&mut guard, settings) => Elected::Over(over),
        elected = election::run(&mut store, settings) => elected?,
    };
    settings.report.stop_waiting();
    let mut lets_another = false;
    let (exit, parting) = match elected {
        Elected::Leader(lease) => {
            let reigned = reign::run(lease, &store, &mut guard, settings).await;
            if matches!(reigned.exit, Exit::Signal(_) | Exit::LeadershipLost | Exit::Failure) {
                guard.put_terminal_back();
            }
            let (command, status) = (settings.program.name(), reigned.exit.status());
            settings.report.info(Occasion::Ended, format_args!("{command} ended with exit status {status}"));
            lets_another = reigned.stepped_down && settings.rejoin;
            period::conclude(&reigned, &store, &mut guard, settings).await
        }
        Elected::Over(exit) => (exit, Parting::default()),
    };
    let mut release = pin!(store.release(parting));
    // Once the requests are on their way the guard has nothing left to answer for, and ends while they are answered.
    let released = tokio::select! {
        biased;
        released = &mut release => Some(released),
        () = tokio::task::yield_now() => None,
    };
    if !lets_another {
        guard.dismiss();
    }
    let released = match released {
        Some(released) => released,
        None => release.await,
    };
    if let Err(story) = released {
        match parting.hold {
            Some(_) => {
                let told = format_args!("the lock could not be kept for --hold: {story}");
                settings.report.error(Occasion::NotRecorded, told);
            }
            None => {
                let told = format_args!("{story}; what they hold runs out by itself");
                settings.report.info(Occasion::NotReleased, told);
            }
        }
    }
    let exit = if lets_another {
        tokio::select! {
            biased;
            over = interrupted(&mut guard, settings) => over,
            led = another_leads(settings) => led.map(|()| exit)?,
        }
    } else {
        exit
    };
    guard.kill();
    if exit == Exit::Signal(SIGINT) && guard.shares_group() {
        // A shell breaks off its script after ^C only if what it ran was ended by it.
        guard::end_self(Signal::SIGINT);
    }
    Ok(exit)
}

/// Who has stepped down doesn't take the lead from others, for a ttl at most: then there are none.
async fn another_leads(settings: &Settings) -> Result<()> {
    let mut outlook = Outlook::open(&settings.place, &settings.resource, settings.times)?;
    outlook.listen()?;
    outlook.until(settings.times.ttl(), |seen| seen.leads().is_some()).await;
    Ok(())
}

/// A standby ends at once by a signal that would end a command; the guard's death ends it too.
async fn interrupted(guard: &mut Guard, settings: &Settings) -> Exit {
    loop {
        match guard.hear().await {
            Heard::Signal(signal) if signal.ends_a_process() => return Exit::Signal(signal.number),
            Heard::Signal(signal) if signal.stops_a_process() => {
                settings.report.stop_waiting();
                guard::stop_self();
            }
            Heard::GuardDied => {
                settings.report.error(Occasion::ProcessDied, "leaderrun's guard died; the command was not started");
                return Exit::Failure;
            }
            _ => {}
        }
    }
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
