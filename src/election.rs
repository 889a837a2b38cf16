//! Becoming the leader: campaign, stand by, campaign again, until we lead or may not wait any longer.

use std::{pin::pin, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    backend::Backend,
    clock::wall_micros,
    event::Event,
    exit::Exit,
    lock::{Cause, Leader, Lease, NotAcquired, WaitOutcome},
    report::Report,
    settings::{Settings, WaitPolicy},
};

/// How an election ended.
#[derive(Debug)]
pub enum Elected {
    Leader(Lease),
    /// We don't lead and don't wait any longer.
    Over(Exit),
}

/// How long a candidate that doesn't wait takes part in a tie: without one, of several that start at once none might lead.
const LONGEST_TIE: Duration = Duration::from_secs(5);

/// When a line on the terminal says what we wait for, and how often it is brought up to date.
const FIRST_SHOWN: Duration = Duration::from_millis(300);
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// Runs until we lead or may not wait any longer.
///
/// # Errors
/// A backend that can't be used at all.
pub async fn run(backend: &mut Backend, settings: &Settings) -> Result<Elected> {
    let began = Instant::now();
    let report = &settings.report;
    let mut told = None;
    // No quorum is an error only where that lasts for a ttl: that servers are busy for a moment is no news.
    let (mut none_since, mut told_of_none) = (None, false);
    loop {
        let not_acquired = match backend.acquire().await? {
            Ok(lease) => {
                report.leads_with(lease.token);
                report.info(Event::Leads, format_args!("leads with fencing token {}", lease.token));
                return Ok(Elected::Leader(lease));
            }
            Err(not_acquired) => not_acquired,
        };
        if not_acquired.cause == Cause::Misconfigured {
            report.error(Event::Failed, &not_acquired.story);
            return Ok(Elected::Over(Exit::Usage));
        }
        if let Cause::Done | Cause::Spent = not_acquired.cause {
            return Ok(Elected::Over(give_up(settings, &not_acquired)));
        }
        report.debug(Event::LostRound, format_args!("lost a round: {}", not_acquired.story));
        let open = matches!(not_acquired.cause, Cause::Split | Cause::Stale);
        let until = match settings.wait_policy {
            WaitPolicy::None if open => Some(began + LONGEST_TIE.min(settings.times.ttl())),
            WaitPolicy::None => Some(began),
            WaitPolicy::For(wait) => Some(began + wait),
            WaitPolicy::Forever => None,
        };
        let waits = until.is_none_or(|until| Instant::now() < until);
        if !open && waits && !told.as_ref().is_some_and(|told| is_old_news(&not_acquired, told)) {
            report.info(Event::StandsBy, format_args!("stands by: {}", not_acquired.story));
            told = Some(not_acquired.clone());
        }
        if matches!(not_acquired.cause, Cause::NoQuorum | Cause::TooLate) {
            none_since.get_or_insert_with(Instant::now);
        } else {
            (none_since, told_of_none) = (None, false);
        }
        let none_lasts = none_since.filter(|_| !told_of_none).map(|since| since + settings.times.ttl());
        let change = wait(backend, &not_acquired, report);
        let changed = match until.into_iter().chain(none_lasts).min() {
            Some(until) => timeout_at(until, change).await.ok(),
            None => Some(change.await),
        };
        report.stop_waiting();
        match changed.transpose()? {
            Some(WaitOutcome::LookAgain) => {}
            Some(WaitOutcome::Done) => {
                let told = "the leader's command has succeeded for this period; the command was not started";
                report.info(Event::NotStarted, told);
                return Ok(Elected::Over(Exit::Done));
            }
            None if until.is_some_and(|until| Instant::now() >= until) => {
                return Ok(Elected::Over(give_up(settings, &not_acquired)));
            }
            None => {
                let told = format_args!("no quorum: {}; standing by until there is one", not_acquired.story);
                report.error(Event::NoQuorum, told);
                told_of_none = true;
            }
        }
    }
}

/// Waits until another round could go otherwise; who looks on sees what for.
async fn wait(backend: &mut Backend, not_acquired: &NotAcquired, report: &Report) -> Result<WaitOutcome> {
    let mut change = pin!(backend.wait_for_change(not_acquired));
    // A wait that is over at once isn't worth a word.
    let mut shown_again = FIRST_SHOWN;
    loop {
        tokio::select! {
            biased;
            change = &mut change => return change,
            () = sleep(shown_again), if report.is_watched() => {
                report.show_waiting(&waits_for(not_acquired));
                shown_again = SHOWN_EVERY;
            }
        }
    }
}

fn waits_for(not_acquired: &NotAcquired) -> String {
    match &not_acquired.leader {
        Some(Leader { holder, since }) => {
            let led = Duration::from_micros(wall_micros().saturating_sub(*since)).as_secs();
            let led = if led < 60 { led } else { led / 60 * 60 };
            format!("waiting for {holder}, leader for {}", humantime::format_duration(Duration::from_secs(led)))
        }
        None => format!("waiting: {}", not_acquired.story),
    }
}

/// Whether a standby has said so before: another leader is news, a node more or less that can't vote is not.
fn is_old_news(not_acquired: &NotAcquired, told: &NotAcquired) -> bool {
    not_acquired.cause == told.cause && (not_acquired.cause != Cause::Taken || not_acquired.story == told.story)
}

/// Says why we don't lead. That another does is what `--try` asks for, and no error.
fn give_up(settings: &Settings, not_acquired: &NotAcquired) -> Exit {
    let report = &settings.report;
    let follows = "the command was not started";
    match not_acquired.cause {
        Cause::NoQuorum | Cause::StartupGrace | Cause::TooLate => {
            let told = format_args!("no quorum: {}; {follows}; see leaderrun --check", not_acquired.story);
            report.error(Event::NoQuorum, told);
            Exit::NoQuorum
        }
        cause => {
            report.info(Event::NotStarted, format_args!("{}; {follows}", not_acquired.story));
            if cause == Cause::Done { Exit::Done } else { settings.not_leader }
        }
    }
}
