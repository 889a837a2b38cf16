//! The question that is asked, with checked values, and its dispatch.

use std::{future::Future, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use super::{
    check, completions, forget, history, leads, list, man,
    output::{NotWritten, be_quiet, complain},
    status, step_down, succeeded, watch,
};
use crate::{
    cli::{Cli, LocalLock, Shell},
    config_error::ConfigError,
    exit::Exit,
    guard,
    host::run_alone,
    lease::Times,
    limits,
    lock::Slot,
    observer::Observer,
    once_per::PeriodKey,
    redlock::RedlockConfig,
    settings::{self, BackendConfig},
};

/// A question on the command line.
pub(crate) enum Query {
    Completions(Shell),
    Man,
    Check { config: RedlockConfig, slots: u16, times: Times, json: bool },
    Status { resource: Resource, json: bool, metrics: Option<PathBuf> },
    History { resource: Resource, count: usize, json: bool },
    SucceededWithin { resource: Resource, slot: Option<u16>, within: Duration, json: bool },
    List { backend: BackendConfig, times: Times, json: bool, metrics: Option<PathBuf> },
    Leads { resource: Resource, holder: String },
    Watch { resource: Resource, json: bool },
    StepDown { resource: Resource, request: step_down::Request },
    Forget { resource: Resource, not_leader: Exit, json: bool },
}

/// What is asked about, and where its lease is held.
pub(crate) struct Resource {
    name: String,
    /// How many may lead at a time, where no leader says it.
    slots: u16,
    backend: BackendConfig,
    times: Times,
    /// The period whose notes are meant, if it has a name.
    period: Option<PeriodKey>,
}

impl Query {
    /// Returns the question, or `None` if a command is to be run.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub(crate) fn from_cli(cli: &Cli) -> Result<Option<Self>, ConfigError> {
        let asked = &cli.questions;
        // The variable is for runs: 0 there must not make a refusal a success.
        let conflict_exit_code = cli.conflict_exit_code.filter(|_| !cli.variables.has_set("--conflict-exit-code"));
        let (json, not_leader) = (asked.json, Exit::of_conflict(conflict_exit_code));
        // clap can check none of this: a question conflicts with the command, and what it would require is a question.
        if json && (asked.leads.is_some() || asked.step_down) {
            return Err(ConfigError::JsonWithoutQuestion);
        }
        if asked.slot.is_some() && !asked.step_down && asked.succeeded_within.is_none() {
            return Err(ConfigError::SlotWithoutQuestion);
        }
        if asked.openmetrics.is_some() && !asked.status && !asked.list {
            return Err(ConfigError::MetricsWithoutQuestion);
        }
        let needs_runs = [
            ("--history", asked.history.is_some()),
            ("--succeeded-within", asked.succeeded_within.is_some()),
            ("--list", asked.list),
        ];
        if matches!(cli.local, Some(LocalLock::File(_)))
            && let Some((option, _)) = needs_runs.into_iter().find(|(_, is_asked)| *is_asked)
        {
            return Err(ConfigError::RunsOfFile { option });
        }
        Ok(Some(if let Some(shell) = asked.completions {
            Query::Completions(shell)
        } else if asked.man {
            Query::Man
        } else if asked.check {
            Self::check(cli)?
        } else if asked.status {
            Query::Status { resource: Resource::from_cli(cli)?, json, metrics: asked.openmetrics.clone() }
        } else if asked.list {
            let (backend, times) = (settings::backend(cli, "")?, settings::times(cli)?);
            Query::List { backend, times, json, metrics: asked.openmetrics.clone() }
        } else if let Some(count) = asked.history {
            Query::History { resource: Resource::from_cli(cli)?, count: count.into(), json }
        } else if let Some(within) = asked.succeeded_within {
            let within = settings::age("--succeeded-within", within)?;
            Query::SucceededWithin { resource: Resource::from_cli(cli)?, slot: asked.slot, within, json }
        } else if let Some(holder) = asked.leads.clone() {
            Query::Leads { resource: Resource::from_cli(cli)?, holder: settings::name("--leads", &holder)? }
        } else if asked.watch {
            Query::Watch { resource: Resource::from_cli(cli)?, json }
        } else if asked.step_down {
            let resource = Resource::from_cli(cli)?;
            let timeout = cli.wait.unwrap_or(2 * resource.times.ttl());
            let request = step_down::Request { slot: asked.slot, if_standby: asked.if_standby, timeout, not_leader };
            Query::StepDown { resource, request }
        } else if asked.forget {
            Query::Forget { resource: Resource::from_cli(cli)?, not_leader, json }
        } else if json {
            return Err(ConfigError::JsonWithoutQuestion);
        } else {
            return Ok(None);
        }))
    }

    fn check(cli: &Cli) -> Result<Self, ConfigError> {
        let Resource { backend, slots, times, .. } = Resource::from_cli(cli)?;
        match backend {
            BackendConfig::Redlock(config) => Ok(Query::Check { config, slots, times, json: cli.questions.json }),
            BackendConfig::Local { .. } => Err(ConfigError::CheckOfLocal),
        }
    }

    /// Prints the answer, unless `is_quiet`, and returns the exit status.
    pub(crate) fn answer(self, is_quiet: bool) -> Exit {
        if is_quiet {
            be_quiet();
        }
        self.try_answer().unwrap_or_else(|error| {
            complain(limits::explained(&error));
            if error.is::<NotWritten>() { Exit::NotWritten } else { Exit::Failure }
        })
    }

    fn try_answer(self) -> Result<Exit> {
        match self {
            Query::Completions(shell) => Ok(completions::print(shell)?),
            Query::Man => Ok(man::print()?),
            Query::Check { config, slots, times, json } => ask(check::check(&config, slots, times, json)),
            Query::Status { resource, json, metrics } => ask(async {
                let (observer, period) = (resource.observe()?, resource.period.as_ref());
                status::print(observer, resource.slots, period, json, metrics.as_deref()).await
            }),
            Query::History { resource, count, json } => {
                ask(async { history::print(resource.observe()?, resource.slots, count, json).await })
            }
            Query::SucceededWithin { resource, slot, within, json } => {
                ask(async { succeeded::ask(resource.observe()?, resource.slots, slot, within, json).await })
            }
            Query::List { backend: BackendConfig::Redlock(config), times, json, metrics } => {
                ask(list::of_nodes(&config, times, json, metrics.as_deref()))
            }
            Query::List { backend: BackendConfig::Local { .. }, times, json, metrics } => {
                ask(list::of_this_machine(times, json, metrics.as_deref()))
            }
            Query::Leads { resource, holder } => {
                ask(async { Ok(leads::ask(&resource.observe()?, resource.slots, &holder).await) })
            }
            Query::Watch { resource, json } => {
                ask(async { watch::print(resource.observe()?, resource.slots, json).await })
            }
            Query::StepDown { resource, request } => {
                ask(async { step_down::ask(resource.observe()?, resource.slots, request).await })
            }
            Query::Forget { resource, not_leader, json } => ask(async {
                let observer = resource.observe()?;
                forget::ask(&observer, &resource.name, resource.period.as_ref(), not_leader, json).await
            }),
        }
    }
}

impl Resource {
    fn from_cli(cli: &Cli) -> Result<Self, ConfigError> {
        // Only --check works without a name. It then uses the keys of this one.
        let name = settings::resource(cli.resource.as_deref().unwrap_or("check"))?;
        let times = settings::times(cli)?;
        let backend = settings::backend(cli, &name)?;
        let (slots, period) = (settings::slots(cli)?.unwrap_or(Slot::ONLY.of), settings::period_key(cli)?);
        Ok(Resource { name, slots, backend, times, period })
    }

    /// Starts to observe. Called within the runtime.
    fn observe(&self) -> Result<Observer> {
        Observer::open(&self.backend, &self.name, self.times, self.period.clone())
    }
}

/// Runs a question to its end in a runtime of its own.
fn ask(question: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    guard::seal_memory()?;
    run_alone(question).context("can't start the event loop")?
}
