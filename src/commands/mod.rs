//! What an operator asks, without a command to run.

mod check;
mod documents;
mod status;
mod step_down;
mod table;

use std::{
    fmt::Display,
    io::{Write, stdout},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    cli::{Cli, Shell},
    exit::Exit,
    guard,
    lease::Times,
    observer::Observer,
    settings::{self, BackendConfig, ConfigError},
};

/// Something asked for, with checked values.
pub enum Inquiry {
    /// Print completions, or the man page.
    Completions(Shell),
    Man,
    /// Ask the servers, or this machine.
    Ask(Asked),
}

pub struct Asked {
    question: Question,
    resource: String,
    backend: BackendConfig,
    times: Times,
    json: bool,
}

enum Question {
    /// Are the nodes fit for it?
    Check,
    /// Who leads?
    Status,
    /// Does this one lead?
    Leads(String),
    /// Who leads, whenever that changes?
    TakeoverTimer,
    /// The leader is to give up, within so long.
    StepDown(Option<Duration>),
}

impl Inquiry {
    /// `None` where a command is to be run.
    ///
    /// # Errors
    /// What is wrong with what was asked for.
    pub fn from_cli(cli: &Cli) -> Result<Option<Self>, ConfigError> {
        if let Some(shell) = cli.completions {
            return Ok(Some(Inquiry::Completions(shell)));
        }
        if cli.man {
            return Ok(Some(Inquiry::Man));
        }
        Ok(Asked::from_cli(cli)?.map(Inquiry::Ask))
    }

    /// # Errors
    /// Our own failures.
    pub fn answer(&self) -> Result<Exit> {
        let text = match self {
            Inquiry::Completions(shell) => documents::completions(*shell),
            Inquiry::Man => documents::man(),
            Inquiry::Ask(asked) => return asked.answer(),
        };
        say(text.trim_end());
        Ok(Exit::Command(0))
    }
}

impl Asked {
    fn from_cli(cli: &Cli) -> Result<Option<Self>, ConfigError> {
        let question = if cli.check {
            Question::Check
        } else if let Some(holder) = &cli.leads {
            Question::Leads(holder.clone())
        } else if cli.watch {
            Question::TakeoverTimer
        } else if cli.status {
            Question::Status
        } else if cli.step_down {
            Question::StepDown(cli.wait)
        } else if cli.json {
            // clap doesn't see to it: what --json requires is in conflict with the command.
            return Err(ConfigError::usage("--json is for --check, --status and --watch; leave it out"));
        } else {
            return Ok(None);
        };
        let resource = cli.resource.clone().unwrap_or_else(|| "check".into());
        settings::resource(&resource)?;
        let times = settings::times(cli)?;
        let backend = settings::backend(cli, &resource)?;
        if matches!((&question, &backend), (Question::Check, BackendConfig::Local)) {
            return Err(ConfigError::usage(
                "--check asks the Redis servers, of which --local has none; give --redis URL,...",
            ));
        }
        Ok(Some(Asked { question, resource, backend, times, json: cli.json }))
    }

    fn answer(&self) -> Result<Exit> {
        guard::seal_memory();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start the event loop")?;
        let exit = runtime.block_on(async {
            let observer = || Observer::open(&self.backend, &self.resource, self.times);
            match (&self.question, &self.backend) {
                (Question::Check, BackendConfig::Redlock(config)) => check::check(config, self.times, self.json).await,
                (Question::Check | Question::Status, _) => status::status(&observer()?, self.json).await,
                (Question::Leads(holder), _) => status::leads(&observer()?, holder).await,
                (Question::TakeoverTimer, _) => status::watch(observer()?, self.json).await,
                (Question::StepDown(wait), _) => {
                    step_down::step_down(observer()?, wait.unwrap_or(2 * self.times.ttl())).await
                }
            }
        });
        // A name that is still being looked up would be waited for.
        runtime.shutdown_background();
        exit
    }
}

/// Prints a line of an answer; a reader who has seen enough is none of our business.
fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}
