//! `--step-down`: asks the leader to step down, and waits for the next one.

use std::time::Duration;

use anyhow::Result;

use super::{
    chosen_slot,
    output::{complain, say},
    who_leads::{describe, exit},
};
use crate::{exit::Exit, lock::Slot, observer::Observer, status::ElectionStatus};

/// How long to wait for the next leader after the last one has stepped down.
const HANDOVER: Duration = Duration::from_secs(2);

/// What the leader is asked.
pub(crate) struct Request {
    /// The slot, if there are several.
    pub slot: Option<u16>,
    /// Only if an instance stands by.
    pub if_standby: bool,
    /// How long to wait until the leader has stepped down.
    pub timeout: Duration,
    /// The exit status if the leader still leads.
    pub not_leader: Exit,
}

/// Asks the leader to step down. Returns when another one leads, or none has for a while. `slots`: how many there are if
/// nobody leads who says it.
pub(super) async fn ask(mut observer: Observer, slots: u16, request: Request) -> Result<Exit> {
    let Request { slot, if_standby, timeout, not_leader } = request;
    observer.listen()?;
    let mut all = observer.look_at_all(slots).await;
    let of = u16::try_from(all.len()).unwrap_or(u16::MAX);
    let number = match (slot, of) {
        (None, 1) => 1,
        (Some(slot), of) if slot <= of => slot,
        _ => return Ok(chosen_slot::refuse(&all[0], all.len())),
    };
    observer.turn_to(Slot { number, of });
    let seen = all.swap_remove(usize::from(number) - 1);
    let Some(leader) = seen.active_leader().cloned() else {
        complain(format_args!("{}: {}", seen.name(), describe(&seen)));
        return Ok(exit(&[seen]));
    };
    let (resource, holder) = (seen.name(), &leader.holder);
    if if_standby {
        let why = match observer.standbys().await {
            Some(1..) => None,
            Some(0) => Some(("nobody stands by", not_leader)),
            None => Some(("whether an instance stands by can't be seen; see --check", Exit::NoQuorum)),
        };
        if let Some((why, exit)) = why {
            complain(format_args!("{resource}: {holder} was not asked to step down: {why}"));
            return Ok(exit);
        }
    }
    if !observer.ask_to_step_down(&leader).await? {
        let why = "too few nodes could be told";
        complain(format_args!("{resource}: {holder} was not asked to step down: {why}; see --check"));
        return Ok(Exit::NoQuorum);
    }
    let gone = |seen: &ElectionStatus| seen.known && seen.leader.as_ref().is_none_or(|now| now.id != leader.id);
    if observer.until(timeout, gone).await.is_none() {
        let waited = humantime::format_duration(timeout);
        complain(format_args!(
            "{resource}: {holder} still leads after {waited}; it may still step down: its command may take long to stop, or \
             its --ttl may be longer (wait longer with --wait); or it is stopped, or an older leaderrun"
        ));
        return Ok(not_leader);
    }
    // A lock of this machine is taken a moment before its new leader has written its name there.
    let is_another = |seen: &ElectionStatus| seen.active_leader().is_some_and(|now| now.id != leader.id);
    let led = observer.until(HANDOVER, is_another).await;
    let next = led.as_ref().and_then(ElectionStatus::active_leader).map(|next| format!("{} leads", next.holder));
    say(format_args!("{resource}: {holder} stepped down; {}", next.unwrap_or_else(|| "nobody else stood by".into())))?;
    Ok(Exit::Command(0))
}
