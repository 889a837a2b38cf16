//! `--succeeded-within`: whether a success is recent enough. A monitor asks that.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use humantime::format_duration;
use serde::Serialize;

use super::{
    chosen_slot,
    history::{RunReport, describe},
    output::{say, say_json},
    shown::shown_duration,
};
use crate::{
    exit::Exit,
    history::{History, PastRun},
    observer::Observer,
    status::ElectionStatus,
};

/// How many runs are looked at for the reason.
const RECENT: usize = 10;

/// The answer for a slot, or for a resource without slots, as JSON.
#[derive(Serialize)]
struct SuccessReport<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    /// `None` if it isn't known.
    succeeded: Option<bool>,
    within_seconds: u64,
    last_success: Option<RunReport<'a>>,
    last_success_age_seconds: Option<u64>,
    last_run: Option<RunReport<'a>>,
    reason: String,
    /// The name of what is led.
    #[serde(skip)]
    name: String,
}

/// The answer for a resource with several slots, as JSON.
#[derive(Serialize)]
struct SlotsReport<'a> {
    resource: &'a str,
    /// Whether all slots have; `None` if it isn't known.
    succeeded: Option<bool>,
    within_seconds: u64,
    slots: Vec<SuccessReport<'a>>,
}

/// Prints whether a command has succeeded within this time, or why not: in this slot or, without one, in each of them, since a
/// slot may be a shard. Exit status: 0, 1 if not, 69 without a quorum.
pub(super) async fn ask(
    mut observer: Observer,
    slots: u16,
    slot: Option<u16>,
    within: Duration,
    json: bool,
) -> Result<Exit> {
    let all = observer.look_back_at_all(slots, RECENT).await;
    let reports = all.iter().map(|(seen, history)| report(seen, history, within));
    let mut reports: Vec<SuccessReport> = match slot {
        Some(slot) => reports.filter(|report| report.slot.unwrap_or(1) == slot).collect(),
        None => reports.collect(),
    };
    if reports.is_empty() {
        return Ok(all.first().map_or(Exit::NoQuorum, |(seen, _)| chosen_slot::refuse(seen, all.len())));
    }
    let succeeded = reports.iter().try_fold(true, |all, report| report.succeeded.map(|succeeded| all && succeeded));
    match reports.as_slice() {
        [report] if json => say_json(report)?,
        [first, ..] if json => {
            say_json(&SlotsReport {
                resource: first.resource,
                succeeded,
                within_seconds: within.as_secs(),
                slots: reports,
            })?;
        }
        _ => {
            // Many monitors show one line.
            reports.sort_by_key(|report| report.succeeded == Some(true));
            reports.iter().try_for_each(|SuccessReport { name, reason, .. }| say(format_args!("{name}: {reason}")))?;
        }
    }
    Ok(match succeeded {
        None => Exit::NoQuorum,
        Some(true) => Exit::Command(0),
        Some(false) => Exit::CheckFailed,
    })
}

fn report<'a>(seen: &'a ElectionStatus, history: &'a History, within: Duration) -> SuccessReport<'a> {
    let last = history.last_success.as_ref();
    let succeeded = last.is_some_and(|last| last.ago <= within);
    SuccessReport {
        resource: &seen.resource,
        slot: seen.slot,
        succeeded: history.turnout.known.then_some(succeeded),
        within_seconds: within.as_secs(),
        last_success: last.map(|last| RunReport::new(&last.run)),
        last_success_age_seconds: last.map(|last| last.ago.as_secs()),
        last_run: history.last_run().map(RunReport::new),
        reason: reason(history, within, succeeded),
        name: seen.name(),
    }
}

fn reason(history: &History, within: Duration, succeeded: bool) -> String {
    let last = history.last_success.as_ref();
    let success = last.map(|PastRun { run, ago }| {
        format!("succeeded {} ago, on {}, with token {}", shown_duration(whole_seconds(*ago)), run.holder, run.token)
    });
    match success {
        _ if !history.turnout.known => format!("not known: {}", history.turnout),
        Some(success) if succeeded => success,
        _ => {
            let last = last.map_or("none is on record".to_owned(), |last| {
                format!("the last was {} ago, on {}", shown_duration(whole_seconds(last.ago)), last.run.holder)
            });
            let run = history.last_run().map(|run| format!("; the last run: {}", describe(run, SystemTime::now())));
            format!("no success within {}: {last}{}", format_duration(within), run.unwrap_or_default())
        }
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
