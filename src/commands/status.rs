//! `--status`, `--leads` and `--watch`: who leads?

use std::{
    io::{Write, stdout},
    time::SystemTime,
};

use anyhow::Result;
use serde::Serialize;

use super::{say, table};
use crate::{
    exit::Exit,
    observer::Observer,
    status::{ElectionStatus, LeaderStatus, NodeStatus},
};

/// Prints who leads, and what each node says.
pub async fn status(observer: &Observer, json: bool) -> Result<Exit> {
    let seen = observer.look().await;
    if json {
        say(serde_json::to_string_pretty(&seen)?);
    } else {
        say(format_args!("{}: {}", seen.resource, told(&seen)));
        if let Some(done) = &seen.done {
            say(format_args!("{}: {done}", seen.resource));
        }
        table::lines(&rows(&seen)).iter().for_each(say);
    }
    Ok(exit(&seen))
}

/// Says nothing: the exit status is the answer.
pub async fn leads(observer: &Observer, holder: &str) -> Result<Exit> {
    let seen = observer.look().await;
    Ok(match (exit(&seen), seen.active_leader()) {
        (Exit::Command(0), Some(leader)) if leader.holder != holder => Exit::NoLeader,
        (exit, _) => exit,
    })
}

/// Prints a line whenever another leads, or nobody; until the reader is gone.
pub async fn watch(mut observer: Observer, json: bool) -> Result<Exit> {
    #[derive(Serialize)]
    struct Told<'a> {
        time: &'a str,
        #[serde(flatten)]
        seen: &'a ElectionStatus,
    }
    observer.listen()?;
    let mut last = None;
    loop {
        let seen = observer.look().await;
        let now = (seen.known, seen.leader.as_ref().map(|leader| (leader.id.clone(), leader.kept)));
        if last.as_ref() != Some(&now) {
            last = Some(now);
            let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let line = if json {
                serde_json::to_string(&Told { time: &time, seen: &seen })?
            } else {
                format!("{time} {}: {}", seen.resource, told(&seen))
            };
            if writeln!(stdout(), "{line}").and_then(|()| stdout().flush()).is_err() {
                return Ok(Exit::Command(0));
            }
        }
        observer.change(&seen).await;
    }
}

pub fn exit(seen: &ElectionStatus) -> Exit {
    match seen.active_leader() {
        _ if !seen.known => Exit::NoQuorum,
        Some(_) => Exit::Command(0),
        None => Exit::NoLeader,
    }
}

/// Who leads, in words.
pub fn told(seen: &ElectionStatus) -> String {
    let (votes, all, needed) = (seen.votes, seen.nodes.len(), seen.quorum);
    match &seen.leader {
        _ if !seen.known => {
            let answered = seen.nodes.iter().filter(|node| node.failure.is_none()).count();
            format!("not known: {answered} of {all} nodes answered, {needed} needed")
        }
        Some(LeaderStatus { holder, kept: true, safe_for, .. }) => {
            let left = safe_for.map(|left| format!(" for {:.1} s", left.as_secs_f64())).unwrap_or_default();
            format!("nobody leads; {holder} has led and keeps the lock{left} (--hold)")
        }
        Some(LeaderStatus { holder, since, token, safe_for, .. }) => {
            let safe = safe_for.map(|left| {
                let left = left.as_secs_f64();
                format!(", on {votes} of {all} nodes, {needed} needed; for {left:.1} s at least")
            });
            format!("{holder} leads since {since} with fencing token {token}{}", safe.unwrap_or_default())
        }
        None => "nobody leads".into(),
    }
}

fn rows(seen: &ElectionStatus) -> Vec<[String; 4]> {
    let heading = ["NODE", "HOLDER", "LEFT", "TOKEN"].map(ToOwned::to_owned);
    let dash = || "-".to_owned();
    let row = |view: &NodeStatus| {
        let holder = view.failure.clone().or_else(|| view.holder.clone()).unwrap_or_else(dash);
        let left = view.left.map_or_else(dash, |left| format!("{:.1} s", left.as_secs_f64()));
        [view.node.clone(), holder, left, view.token.map_or_else(dash, |token| token.to_string())]
    };
    [heading].into_iter().chain(seen.nodes.iter().map(row)).collect()
}
