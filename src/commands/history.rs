//! `--history`: the last runs, how each ended, and whether anything about them must not be.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::{
    output::{NotWritten, say, say_json},
    shown::{shown_duration, shown_start},
    table,
};
use crate::{
    exit::Exit,
    history::{History, Run, RunResult, RunState},
    lease::{FencingToken, Turnout},
    observer::Observer,
    status::ElectionStatus,
};

/// The answer as JSON.
#[derive(Serialize)]
struct HistoryReport<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    #[serde(flatten)]
    turnout: &'a Turnout,
    /// The newest first.
    runs: Vec<RunReport<'a>>,
}

/// The answer for a resource with several slots, as JSON.
#[derive(Serialize)]
struct SlotsReport<'a> {
    resource: &'a str,
    slots: Vec<HistoryReport<'a>>,
}

/// A run as JSON.
#[derive(Serialize)]
pub(super) struct RunReport<'a> {
    token: FencingToken,
    holder: &'a str,
    start: String,
    ran_ms: Option<u64>,
    end: &'static str,
    exit_status: Option<i32>,
    signal: Option<i32>,
    /// How many nodes have recorded it.
    nodes: usize,
    problem: Option<String>,
}

impl<'a> RunReport<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        let result = if let RunState::Ended { result, .. } = run.state { Some(result) } else { None };
        RunReport {
            token: run.token,
            holder: &run.holder,
            start: shown_start(run.start),
            ran_ms: run.ran().map(|ran| u64::try_from(ran.as_millis()).unwrap_or(u64::MAX)),
            end: run.word(),
            exit_status: match result {
                Some(RunResult::Success) => Some(0),
                Some(RunResult::Exit(status)) => Some(status),
                _ => None,
            },
            signal: if let Some(RunResult::Signal(signal)) = result { Some(signal) } else { None },
            nodes: run.nodes,
            problem: run.problem.map(|problem| problem.to_string()),
        }
    }
}

/// Prints the last runs of each slot as a table, and what is wrong with them. Exit status: 0, 1 if something is wrong, or 69
/// without a quorum.
pub(super) async fn print(mut observer: Observer, slots: u16, count: usize, json: bool) -> Result<Exit> {
    let all = observer.look_back_at_all(slots, count).await;
    let mut reports: Vec<HistoryReport> = all.iter().map(report).collect();
    match all.as_slice() {
        [_] if json => say_json(&reports.remove(0))?,
        [(seen, _), ..] if json => say_json(&SlotsReport { resource: &seen.resource, slots: reports })?,
        all => all.iter().try_for_each(|(seen, history)| say_history(&seen.name(), history, all.len() > 1))?,
    }
    let is_wrong = |(_, history): &(ElectionStatus, History)| history.runs.iter().any(|run| run.problem.is_some());
    Ok(match all.iter().all(|(_, history)| history.turnout.known) {
        false => Exit::NoQuorum,
        true if all.iter().any(is_wrong) => Exit::CheckFailed,
        true => Exit::Command(0),
    })
}

fn report((seen, history): &(ElectionStatus, History)) -> HistoryReport<'_> {
    let runs = history.runs.iter().map(RunReport::new).collect();
    HistoryReport { resource: &seen.resource, slot: seen.slot, turnout: &history.turnout, runs }
}

fn say_history(name: &str, history: &History, with_heading: bool) -> Result<(), NotWritten> {
    if !history.turnout.known {
        say(format_args!("{name}: not known: {}", history.turnout))?;
    }
    if history.runs.is_empty() && history.turnout.known {
        say(format_args!("{name}: no run is on record"))?;
    }
    if !history.runs.is_empty() {
        if with_heading {
            say(format_args!("{name}:"))?;
        }
        table::lines(&rows(history)).iter().try_for_each(say)?;
    }
    for (run, problem) in history.runs.iter().filter_map(|run| Some((run, run.problem?))) {
        say(format_args!("wrong: the run of {} with token {} {problem}", run.holder, run.token))?;
    }
    Ok(())
}

/// Returns a sentence about a run that is over.
pub(super) fn describe(run: &Run, now: SystemTime) -> String {
    let ran = run.ran().map(|ran| format!(" after {}", shown_duration(ran))).unwrap_or_default();
    let ago = now.duration_since(run.start).map(|ago| format!(", {} ago", shown_duration(whole_seconds(ago))));
    format!("{}{ran}, on {}, began {}{}", end(run), run.holder, shown_start(run.start), ago.unwrap_or_default())
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// Returns what became of a run, in words.
pub(super) fn end(run: &Run) -> String {
    match run.state {
        RunState::Leads { .. } => "leads".into(),
        RunState::Ended { result, .. } => result.to_string(),
        RunState::Died { .. } => "died".into(),
        RunState::Unknown { .. } => "not known to be over".into(),
        RunState::Unproven => "not known to have led".into(),
    }
}

fn rows(history: &History) -> Vec<[String; 6]> {
    let heading = ["START", "RAN", "HOLDER", "END", "TOKEN", "NODES"].map(ToOwned::to_owned);
    let row = |run: &Run| {
        let ran = run.ran().map_or_else(|| "-".to_owned(), shown_duration);
        let ran = if let RunState::Died { at_least: Some(_) } | RunState::Unknown { at_least: Some(_) } = run.state {
            format!("{ran} or more")
        } else {
            ran
        };
        let nodes = format!("{} of {}", run.nodes, history.nodes);
        [shown_start(run.start), ran, run.holder.clone(), end(run), run.token.to_string(), nodes]
    };
    [heading].into_iter().chain(history.runs.iter().map(row)).collect()
}
