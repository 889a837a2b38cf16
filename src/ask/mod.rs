//! What an operator asks, without a command to run.

mod check;
mod table;

use anyhow::{Context, Result};

use crate::{
    cli::Cli,
    exit::Exit,
    guard,
    lease::Times,
    redlock::Site,
    settings::{self, Place, Refusal},
};

/// Something asked for, with checked values.
pub struct Inquiry {
    question: Question,
    site: Site,
    times: Times,
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Are the nodes fit for it?
    Check,
}

impl Inquiry {
    /// `None` where a command is to be run.
    ///
    /// # Errors
    /// What is wrong with what was asked for.
    pub fn from_cli(cli: &Cli) -> Result<Option<Self>, Refusal> {
        if !cli.check {
            // clap doesn't see to it: what --json requires is in conflict with the command.
            return if cli.json { Err(Refusal::usage("--json is for --check; leave it out")) } else { Ok(None) };
        }
        let resource = cli.resource.as_deref().unwrap_or("check");
        settings::resource(resource)?;
        let times = settings::times(cli)?;
        let Place::Nodes(site) = settings::place(cli, resource)? else {
            return Err(Refusal::usage(
                "--check asks the Redis servers, of which --local has none; give --redis URL,...",
            ));
        };
        Ok(Some(Inquiry { question: Question::Check, site, times, json: cli.json }))
    }

    /// # Errors
    /// Our own failures.
    pub fn answer(&self) -> Result<Exit> {
        guard::seal_memory();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start the event loop")?;
        let exit = runtime.block_on(async {
            match self.question {
                Question::Check => check::check(&self.site, self.times, self.json).await,
            }
        });
        // A name that is still being looked up would be waited for.
        runtime.shutdown_background();
        exit
    }
}
