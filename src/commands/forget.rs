//! `--forget`: deletes what is recorded of successes and failures.

use anyhow::Result;
use serde::Serialize;

use super::output::{complain, say, say_json};
use crate::{
    exit::Exit,
    observer::{Forgotten, Observer},
    once_per::PeriodKey,
};

/// The answer as JSON.
#[derive(Serialize)]
struct ForgetReport<'a> {
    resource: &'a str,
    /// The KEY of `--once-for`.
    key: Option<&'a PeriodKey>,
    /// Whether anything was recorded; `None` if that isn't known of all nodes.
    recorded: Option<bool>,
    /// The nodes that may still have it.
    not_on: Vec<String>,
    exit_status: u8,
}

/// Deletes the record of the period, and prints whether there was one. `not_leader`: the exit status if an instance leads, where
/// that matters.
///
/// # Errors
/// The lock's file can't be written.
pub(super) async fn ask(
    observer: &Observer,
    resource: &str,
    key: Option<&PeriodKey>,
    not_leader: Exit,
    json: bool,
) -> Result<Exit> {
    let of = key.map(|key| format!(" for {key}")).unwrap_or_default();
    let forgotten = observer.forget().await?;
    let (exit, recorded, not_on) = match &forgotten {
        Forgotten::Everywhere { noted } => (Exit::Command(0), Some(*noted), Vec::new()),
        Forgotten::NotOn(nodes) => (Exit::NoQuorum, None, nodes.iter().map(|fault| fault.node.clone()).collect()),
        Forgotten::IsLed => (not_leader, None, Vec::new()),
    };
    if json {
        say_json(&ForgetReport { resource, key, recorded, not_on, exit_status: exit.status() })?;
        return Ok(exit);
    }
    match forgotten {
        Forgotten::Everywhere { noted: true } => say(format_args!("{resource}: the record{of} is deleted"))?,
        Forgotten::Everywhere { noted: false } if key.is_none() => {
            say(format_args!("{resource}: nothing was recorded (a record of --once-for is deleted with its KEY)"))?;
        }
        Forgotten::Everywhere { noted: false } => say(format_args!("{resource}: nothing was recorded{of}"))?,
        Forgotten::NotOn(nodes) => {
            let nodes: Vec<String> = nodes.iter().map(|fault| format!("{} {}", fault.node, fault.why)).collect();
            complain(format_args!(
                "{resource}: not all nodes could be told: {}; one that has the record{of} is enough to skip the command, so \
                 ask again when they are up",
                nodes.join(", ")
            ));
        }
        Forgotten::IsLed => complain(format_args!(
            "{resource}: an instance leads, and writes to the record; ask again when its command has ended"
        )),
    }
    Ok(exit)
}
