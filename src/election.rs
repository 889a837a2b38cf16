//! Becoming the leader: campaign, stand by, campaign again, until we lead or may not wait any longer.

use std::{pin::pin, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    clock::wall_micros,
    exit::Exit,
    report::{Occasion, Report},
    settings::{Patience, Settings},
    store::{Cause, Change, Defeat, Incumbent, Lease, Store},
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

/// Runs until we lead or our patience is at its end.
///
/// # Errors
/// A store that can't be used at all.
pub async fn run(store: &mut Store, settings: &Settings) -> Result<Elected> {
    let began = Instant::now();
    let report = &settings.report;
    let mut told = None;
    // No quorum is an error only where that lasts for a ttl: that servers are busy for a moment is no news.
    let (mut none_since, mut told_of_none) = (None, false);
    loop {
        let defeat = match store.acquire().await? {
            Ok(lease) => {
                report.leads_with(lease.token);
                report.info(Occasion::Leads, format_args!("leads with fencing token {}", lease.token));
                return Ok(Elected::Leader(lease));
            }
            Err(defeat) => defeat,
        };
        if defeat.cause == Cause::Misconfigured {
            report.error(Occasion::Failed, &defeat.story);
            return Ok(Elected::Over(Exit::Usage));
        }
        if let Cause::Done | Cause::Spent = defeat.cause {
            return Ok(Elected::Over(give_up(settings, &defeat)));
        }
        report.debug(Occasion::LostRound, format_args!("lost a round: {}", defeat.story));
        let open = matches!(defeat.cause, Cause::Split | Cause::Stale);
        let until = match settings.patience {
            Patience::None if open => Some(began + LONGEST_TIE.min(settings.times.ttl())),
            Patience::None => Some(began),
            Patience::For(wait) => Some(began + wait),
            Patience::Forever => None,
        };
        let waits = until.is_none_or(|until| Instant::now() < until);
        if !open && waits && !told.as_ref().is_some_and(|told| is_old_news(&defeat, told)) {
            report.info(Occasion::StandsBy, format_args!("stands by: {}", defeat.story));
            told = Some(defeat.clone());
        }
        if matches!(defeat.cause, Cause::NoQuorum | Cause::TooLate) {
            none_since.get_or_insert_with(Instant::now);
        } else {
            (none_since, told_of_none) = (None, false);
        }
        let none_lasts = none_since.filter(|_| !told_of_none).map(|since| since + settings.times.ttl());
        let change = wait(store, &defeat, report);
        let changed = match until.into_iter().chain(none_lasts).min() {
            Some(until) => timeout_at(until, change).await.ok(),
            None => Some(change.await),
        };
        report.stop_waiting();
        match changed.transpose()? {
            Some(Change::LookAgain) => {}
            Some(Change::Done) => {
                let told = "the leader's command has succeeded for this period; the command was not started";
                report.info(Occasion::NotStarted, told);
                return Ok(Elected::Over(Exit::Done));
            }
            None if until.is_some_and(|until| Instant::now() >= until) => {
                return Ok(Elected::Over(give_up(settings, &defeat)));
            }
            None => {
                let told = format_args!("no quorum: {}; standing by until there is one", defeat.story);
                report.error(Occasion::NoQuorum, told);
                told_of_none = true;
            }
        }
    }
}

/// Waits until another round could go otherwise; who looks on sees what for.
async fn wait(store: &mut Store, defeat: &Defeat, report: &Report) -> Result<Change> {
    let mut change = pin!(store.wait_for_change(defeat));
    // A wait that is over at once isn't worth a word.
    let mut shown_again = FIRST_SHOWN;
    loop {
        tokio::select! {
            biased;
            change = &mut change => return change,
            () = sleep(shown_again), if report.is_watched() => {
                report.show_waiting(&waits_for(defeat));
                shown_again = SHOWN_EVERY;
            }
        }
    }
}

fn waits_for(defeat: &Defeat) -> String {
    match &defeat.leader {
        Some(Incumbent { holder, since }) => {
            let led = Duration::from_micros(wall_micros().saturating_sub(*since)).as_secs();
            let led = if led < 60 { led } else { led / 60 * 60 };
            format!("waiting for {holder}, leader for {}", humantime::format_duration(Duration::from_secs(led)))
        }
        None => format!("waiting: {}", defeat.story),
    }
}

/// Whether a standby has said so before: another leader is news, a node more or less that can't vote is not.
fn is_old_news(defeat: &Defeat, told: &Defeat) -> bool {
    defeat.cause == told.cause && (defeat.cause != Cause::Taken || defeat.story == told.story)
}

/// Says why we don't lead. That another does is what `--try` asks for, and no error.
fn give_up(settings: &Settings, defeat: &Defeat) -> Exit {
    let report = &settings.report;
    let follows = "the command was not started";
    match defeat.cause {
        Cause::NoQuorum | Cause::Young | Cause::TooLate => {
            let told = format_args!("no quorum: {}; {follows}; see leaderrun --check", defeat.story);
            report.error(Occasion::NoQuorum, told);
            Exit::NoQuorum
        }
        cause => {
            report.info(Occasion::NotStarted, format_args!("{}; {follows}", defeat.story));
            if cause == Cause::Done { Exit::Done } else { settings.not_leader }
        }
    }
}
