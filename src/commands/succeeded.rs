//! `--succeeded-within`: whether a success is recent enough. A monitor asks that.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use humantime::format_duration;
use serde::Serialize;

use super::{
    history::{RunReport, describe, not_known},
    output::{say, say_json},
    shown::shown_duration,
};
use crate::{
    exit::Exit,
    history::{History, PastRun},
    observer::Observer,
};

/// How many runs are looked at for the reason.
const RECENT: usize = 10;

/// The answer as JSON.
#[derive(Serialize)]
struct SuccessReport<'a> {
    resource: &'a str,
    /// `None` if it isn't known.
    succeeded: Option<bool>,
    within_seconds: u64,
    last_success: Option<RunReport<'a>>,
    last_success_age_seconds: Option<u64>,
    last_run: Option<RunReport<'a>>,
    reason: &'a str,
}

/// Prints whether a command has succeeded within this time, or why not. Exit status: 0, 1 if not, 69 without a quorum.
pub(super) async fn ask(mut observer: Observer, slots: u16, within: Duration, json: bool) -> Result<Exit> {
    let all = observer.look_back_at_all(slots, RECENT).await;
    let known = all.iter().all(|(_, history)| history.known);
    // A success in any slot is one.
    let age = |history: &History| history.last_success.as_ref().map_or(Duration::MAX, |last| last.ago);
    let Some((seen, mut history)) = all.into_iter().min_by_key(|(_, history)| (history.known, age(history))) else {
        return Ok(Exit::NoQuorum);
    };
    history.known = known;
    let succeeded = history.last_success.as_ref().is_some_and(|last| last.ago <= within);
    let reason = reason(&history, within, succeeded);
    if json {
        say_json(&SuccessReport {
            resource: &seen.resource,
            succeeded: history.known.then_some(succeeded),
            within_seconds: within.as_secs(),
            last_success: history.last_success.as_ref().map(|last| RunReport::new(&last.run)),
            last_success_age_seconds: history.last_success.as_ref().map(|last| last.ago.as_secs()),
            last_run: history.last_run().map(RunReport::new),
            reason: &reason,
        })?;
    } else {
        say(format_args!("{}: {reason}", seen.resource))?;
    }
    Ok(match (history.known, succeeded) {
        (false, _) => Exit::NoQuorum,
        (true, true) => Exit::Command(0),
        (true, false) => Exit::CheckFailed,
    })
}

fn reason(history: &History, within: Duration, succeeded: bool) -> String {
    let last = history.last_success.as_ref();
    let success = last.map(|PastRun { run, ago }| {
        format!("succeeded {} ago, on {}, with token {}", shown_duration(whole_seconds(*ago)), run.holder, run.token)
    });
    match success {
        _ if !history.known => not_known(history),
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
