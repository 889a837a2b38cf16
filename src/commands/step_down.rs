//! `--step-down`: the leader gives up in good order.

use std::time::Duration;

use anyhow::Result;

use super::{
    say,
    status::{exit, told},
};
use crate::{exit::Exit, observer::Observer, report, status::ElectionStatus};

/// How long another gets to lead after the one that stepped down.
const HANDOVER: Duration = Duration::from_secs(2);

/// Asks, and waits until that has happened.
pub async fn step_down(mut observer: Observer, within: Duration) -> Result<Exit> {
    observer.listen()?;
    let seen = observer.look().await;
    let Some(leader) = seen.active_leader().cloned() else {
        report::usage_error(format_args!("{}: {}", seen.resource, told(&seen)));
        return Ok(exit(&seen));
    };
    let (resource, holder) = (&seen.resource, &leader.holder);
    if !observer.ask_to_step_down(&leader).await? {
        let why = "too few nodes could be told";
        report::usage_error(format_args!("{resource}: {holder} was not asked to step down: {why}; see --check"));
        return Ok(Exit::NoQuorum);
    }
    let gone = |seen: &ElectionStatus| seen.known && seen.leader.as_ref().is_none_or(|now| now.id != leader.id);
    if observer.until(within, gone).await.is_none() {
        let waited = humantime::format_duration(within);
        report::usage_error(format_args!(
            "{resource}: {holder} still leads after {waited}; its --ttl may be longer (wait longer with --wait), or it is \
             stopped, or an older leaderrun"
        ));
        return Ok(Exit::NotLeader);
    }
    let led = observer.until(HANDOVER, |seen| seen.active_leader().is_some()).await;
    let next = led.as_ref().and_then(ElectionStatus::active_leader).map(|next| format!("{} leads", next.holder));
    say(format_args!("{resource}: {holder} stepped down; {}", next.unwrap_or_else(|| "nobody else stood by".into())));
    Ok(Exit::Command(0))
}
