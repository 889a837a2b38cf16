//! `--status`: who leads now, the last run, how many stand by, and what each node reports.

use std::{path::Path, time::SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::{
    history::{self, RunReport},
    metrics::{self, Place},
    output::{NotWritten, say, say_json},
    table,
    who_leads::{describe, exit},
};
use crate::{
    exit::Exit,
    history::History,
    observer::Observer,
    once_per::PeriodKey,
    status::{ElectionStatus, NodeStatus},
};

/// How many runs are looked at for the last one that is over.
const RECENT: usize = 3;

/// A slot, or a resource without slots, as JSON.
#[derive(Serialize)]
struct StatusReport<'a> {
    #[serde(flatten)]
    seen: &'a ElectionStatus,
    last_run: Option<RunReport<'a>>,
}

/// A resource without slots, as JSON.
#[derive(Serialize)]
struct OneReport<'a> {
    #[serde(flatten)]
    only: &'a StatusReport<'a>,
    /// How many instances stand by; `None` if it isn't known.
    standbys: Option<u32>,
}

/// All slots of a resource, as JSON.
#[derive(Serialize)]
struct Slots<'a> {
    resource: &'a str,
    /// The same, for any slot.
    standbys: Option<u32>,
    slots: Vec<StatusReport<'a>>,
}

/// Prints who leads, in each slot, the last run, how many stand by and a table of the nodes; or all of it as JSON; or writes
/// the metrics to a file.
/// `period`: the period that is asked about, if it has a name.
pub(super) async fn print(
    mut observer: Observer,
    slots: u16,
    period: Option<&PeriodKey>,
    json: bool,
    metrics: Option<&Path>,
) -> Result<Exit> {
    let all = observer.look_back_at_all(slots, RECENT).await;
    let voters = async {
        match &observer {
            Observer::Redlock(nodes) if metrics.is_some() => nodes.count_voters().await,
            _ => 0,
        }
    };
    // At once: each waits for nodes that don't answer.
    let (standbys, voters) = tokio::join!(observer.standbys(), voters);
    if let Some(file) = metrics {
        let known = all.iter().all(|(seen, _)| seen.known);
        let place = match &observer {
            Observer::Redlock(nodes) => {
                let resource = all.first().map(|(seen, _)| seen.resource.as_str());
                Place::Nodes { resource, all: nodes.count(), voters, known }
            }
            Observer::Local(_) => Place::ThisMachine,
        };
        let standbys = all.first().and_then(|(seen, _)| Some((seen.resource.clone(), standbys?)));
        metrics::write(file, &all, standbys.as_slice(), place)?;
        return Ok(Exit::Command(0));
    }
    let reports: Vec<StatusReport> = all
        .iter()
        .map(|(seen, history)| StatusReport { seen, last_run: history.last_run().map(RunReport::new) })
        .collect();
    match all.as_slice() {
        [_] if json => reports.iter().try_for_each(|only| say_json(&OneReport { only, standbys }))?,
        [(seen, _), ..] if json => say_json(&Slots { resource: &seen.resource, standbys, slots: reports })?,
        all => {
            all.iter().try_for_each(|seen| say_who_leads(seen, period))?;
            if let (Some((seen, _)), Some(standbys)) = (all.first(), standbys) {
                say(format_args!("{}: {}", seen.resource, shown_standbys(standbys)))?;
            }
            say_nodes(&all.iter().map(|(seen, _)| seen.clone()).collect::<Vec<_>>())?;
        }
    }
    let seen: Vec<ElectionStatus> = all.into_iter().map(|(seen, _)| seen).collect();
    Ok(exit(&seen))
}

fn say_who_leads((seen, history): &(ElectionStatus, History), period: Option<&PeriodKey>) -> Result<(), NotWritten> {
    say(format_args!("{}: {}", seen.name(), describe(seen)))?;
    if let Some(run) = history.last_run() {
        say(format_args!("{}: the last run: {}", seen.name(), history::describe(run, SystemTime::now())))?;
    }
    match (&seen.done, period, &seen.failures) {
        (Some(done), ..) => say(format_args!("{}: {done}", seen.resource)),
        (None, Some(key), Some(failures)) if seen.known => {
            let failures = if failures.count > 0 { format!("; {failures}") } else { String::new() };
            say(format_args!("{}: no success for {key}{failures}", seen.resource))
        }
        _ => Ok(()),
    }
}

fn shown_standbys(standbys: u32) -> String {
    match standbys {
        0 => "nobody stands by".into(),
        1 => "1 instance stands by".into(),
        _ => format!("{standbys} instances stand by"),
    }
}

fn say_nodes(slots: &[ElectionStatus]) -> Result<(), NotWritten> {
    let heading = ["NODE", "HOLDER", "LEFT", "TOKEN"].map(ToOwned::to_owned);
    match slots {
        [seen] => {
            let rows: Vec<_> = [heading].into_iter().chain(seen.nodes.iter().map(row)).collect();
            table::lines(&rows).iter().try_for_each(say)
        }
        slots => {
            let with = |slot: String, [node, holder, left, token]: [String; 4]| [slot, node, holder, left, token];
            let of_slot = |seen: &ElectionStatus| {
                let slot = seen.slot.unwrap_or_default().to_string();
                seen.nodes.iter().map(row).map(|row| with(slot.clone(), row)).collect::<Vec<_>>()
            };
            let rows: Vec<_> =
                [with("SLOT".into(), heading)].into_iter().chain(slots.iter().flat_map(of_slot)).collect();
            table::lines(&rows).iter().try_for_each(say)
        }
    }
}

fn row(node: &NodeStatus) -> [String; 4] {
    let dash = || "-".to_owned();
    let holder = node.failure.clone().or_else(|| node.holder.clone()).unwrap_or_else(dash);
    let left = node.left.map_or_else(dash, |left| format!("{:.1} s", left.as_secs_f64()));
    [node.node.clone(), holder, left, node.token.map_or_else(dash, |token| token.to_string())]
}
