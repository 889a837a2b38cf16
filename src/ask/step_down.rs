//! `--step-down`: the leader gives up in good order.

use std::time::Duration;

use anyhow::Result;

use super::{
    Outlook, say,
    status::{exit, told},
};
use crate::{exit::Exit, report, standing::Standing};

/// How long another gets to lead after the one that stepped down.
const HANDOVER: Duration = Duration::from_secs(2);

/// Asks, and waits until that has happened.
pub async fn step_down(mut outlook: Outlook, within: Duration) -> Result<Exit> {
    outlook.listen()?;
    let seen = outlook.look().await;
    let Some(leader) = seen.leads().cloned() else {
        report::usage_error(format_args!("{}: {}", seen.resource, told(&seen)));
        return Ok(exit(&seen));
    };
    let (resource, holder) = (&seen.resource, &leader.holder);
    if !outlook.ask_to_step_down(&leader).await? {
        let why = "too few nodes could be told";
        report::usage_error(format_args!("{resource}: {holder} was not asked to step down: {why}; see --check"));
        return Ok(Exit::NoQuorum);
    }
    let gone = |seen: &Standing| seen.known && seen.leader.as_ref().is_none_or(|now| now.value != leader.value);
    if outlook.until(within, gone).await.is_none() {
        let waited = humantime::format_duration(within);
        report::usage_error(format_args!(
            "{resource}: {holder} still leads after {waited}; its --ttl may be longer (wait longer with --wait), or it is \
             stopped, or an older leaderrun"
        ));
        return Ok(Exit::NotLeader(Exit::NOT_LEADER));
    }
    let led = outlook.until(HANDOVER, |seen| seen.leads().is_some()).await;
    let next = led.as_ref().and_then(Standing::leads).map(|next| format!("{} leads", next.holder));
    say(format_args!("{resource}: {holder} stepped down; {}", next.unwrap_or_else(|| "nobody else stood by".into())));
    Ok(Exit::Command(0))
}
