//! Becoming the leader: campaign, stand by, campaign again, until we lead or may not wait any longer.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout_at};

use crate::{
    exit::Exit,
    settings::{Patience, Settings},
    store::{Cause, Change, Defeat, Lease, Store},
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
                report.info(format_args!("leads with fencing token {}", lease.token));
                return Ok(Elected::Leader(lease));
            }
            Err(defeat) => defeat,
        };
        if defeat.cause == Cause::Misconfigured {
            report.error(&defeat.story);
            return Ok(Elected::Over(Exit::Usage));
        }
        if let Cause::Done | Cause::Spent = defeat.cause {
            return Ok(Elected::Over(give_up(settings, &defeat)));
        }
        report.debug(format_args!("lost a round: {}", defeat.story));
        let open = matches!(defeat.cause, Cause::Split | Cause::Stale);
        let until = match settings.patience {
            Patience::None if open => Some(began + LONGEST_TIE.min(settings.times.ttl())),
            Patience::None => Some(began),
            Patience::For(wait) => Some(began + wait),
            Patience::Forever => None,
        };
        let waits = until.is_none_or(|until| Instant::now() < until);
        if !open && waits && !told.as_ref().is_some_and(|told| is_old_news(&defeat, told)) {
            report.info(format_args!("stands by: {}", defeat.story));
            told = Some(defeat.clone());
        }
        if matches!(defeat.cause, Cause::NoQuorum | Cause::TooLate) {
            none_since.get_or_insert_with(Instant::now);
        } else {
            (none_since, told_of_none) = (None, false);
        }
        let none_lasts = none_since.filter(|_| !told_of_none).map(|since| since + settings.times.ttl());
        let changed = match until.into_iter().chain(none_lasts).min() {
            Some(until) => timeout_at(until, store.wait_for_change(&defeat)).await.ok(),
            None => Some(store.wait_for_change(&defeat).await),
        };
        match changed.transpose()? {
            Some(Change::LookAgain) => {}
            Some(Change::Done) => {
                report.info("the leader's command has succeeded for this period; the command was not started");
                return Ok(Elected::Over(Exit::Done));
            }
            None if until.is_some_and(|until| Instant::now() >= until) => {
                return Ok(Elected::Over(give_up(settings, &defeat)));
            }
            None => {
                report.error(format_args!("no quorum: {}; standing by until there is one", defeat.story));
                told_of_none = true;
            }
        }
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
            report.error(format_args!("no quorum: {}; {follows}", defeat.story));
            Exit::NoQuorum
        }
        cause => {
            report.info(format_args!("{}; {follows}", defeat.story));
            if cause == Cause::Done { Exit::Done } else { settings.not_leader }
        }
    }
}
