//! `--watch`: a line whenever the leader changes.

use std::{
    collections::HashMap,
    future::pending,
    io::{ErrorKind, stdout},
    os::fd::AsFd,
    pin::pin,
    time::SystemTime,
};

use anyhow::Result;
use serde::Serialize;
use tokio::io::Interest;

use super::{
    output::{NotWritten, say_now},
    who_leads::describe,
};
use crate::{
    exit::Exit,
    observer::Observer,
    one_line::{escape_json, one_line},
    status::ElectionStatus,
    sys::readiness::watch_for_no_reader,
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
    let mut reader_gone = pin!(reader_gone());
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
        tokio::select! {
            biased;
            () = &mut reader_gone => return Ok(Exit::Command(0)),
            () = observer.change(&all) => {}
        }
    }
}

/// Waits until the reader of stdout is gone, also while there is nothing to write; for ever if that can't be seen.
async fn reader_gone() {
    match stdout().as_fd().try_clone_to_owned().and_then(watch_for_no_reader) {
        Ok(stdout) => _ = stdout.ready(Interest::ERROR).await,
        Err(_) => pending().await,
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
