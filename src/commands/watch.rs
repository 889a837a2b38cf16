//! `--watch`: a line whenever the leader changes.

use std::{collections::HashMap, io::ErrorKind, time::SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::{
    output::{NotWritten, say_now},
    who_leads::describe,
};
use crate::{
    exit::Exit,
    observer::Observer,
    one_line::{escape_json, one_line},
    status::ElectionStatus,
};

/// A line of JSON.
#[derive(Serialize)]
struct Change<'a> {
    time: &'a str,
    #[serde(flatten)]
    seen: &'a ElectionStatus,
}

/// Prints who leads now and at each change, until the reader is gone.
pub(super) async fn print(mut observer: Observer, slots: u16, json: bool) -> Result<Exit> {
    observer.listen()?;
    let mut last = HashMap::new();
    loop {
        let all = observer.look_at_all(slots).await;
        for seen in &all {
            let now = (seen.known, seen.leader.as_ref().map(|leader| (leader.id.clone(), leader.kept)));
            if last.get(&seen.slot) != Some(&now) {
                last.insert(seen.slot, now);
                match say_now(&line(seen, json)?) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Command(0)),
                    Err(error) => return Err(NotWritten::Stdout(error).into()),
                }
            }
        }
        observer.change(&all).await;
    }
}

fn line(seen: &ElectionStatus, json: bool) -> Result<String> {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Ok(if json {
        escape_json(&serde_json::to_string(&Change { time: &time, seen })?)
    } else {
        one_line(&format!("{time} {}: {}", seen.name(), describe(seen)))
    })
}
