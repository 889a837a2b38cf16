//! `--status`: who leads now, and what each node reports.

use anyhow::Result;
use serde::Serialize;

use super::{
    output::{say, say_json},
    table,
    who_leads::{describe, exit},
};
use crate::{
    exit::Exit,
    observer::Observer,
    status::{ElectionStatus, NodeStatus},
};

/// All slots of a resource, as JSON.
#[derive(Serialize)]
struct Slots<'a> {
    resource: &'a str,
    slots: &'a [ElectionStatus],
}

/// Prints who leads, in each slot, and a table of the nodes; or all of it as JSON.
pub(super) async fn print(observer: &Observer, slots: u16, json: bool) -> Result<Exit> {
    let all = observer.look_at_all(slots).await;
    match all.as_slice() {
        [seen] if json => say_json(seen)?,
        slots if json => say_json(&Slots { resource: &slots[0].resource, slots })?,
        slots => {
            slots.iter().for_each(say_who_leads);
            say_nodes(slots);
        }
    }
    Ok(exit(&all))
}

fn say_who_leads(seen: &ElectionStatus) {
    say(format_args!("{}: {}", seen.name(), describe(seen)));
    if let Some(done) = &seen.done {
        say(format_args!("{}: {done}", seen.resource));
    }
}

fn say_nodes(slots: &[ElectionStatus]) {
    let heading = ["NODE", "HOLDER", "LEFT", "TOKEN"].map(ToOwned::to_owned);
    match slots {
        [seen] => {
            let rows: Vec<_> = [heading].into_iter().chain(seen.nodes.iter().map(row)).collect();
            table::lines(&rows).iter().for_each(say);
        }
        slots => {
            let with = |slot: String, [node, holder, left, token]: [String; 4]| [slot, node, holder, left, token];
            let of_slot = |seen: &ElectionStatus| {
                let slot = seen.slot.unwrap_or_default().to_string();
                seen.nodes.iter().map(row).map(|row| with(slot.clone(), row)).collect::<Vec<_>>()
            };
            let rows: Vec<_> =
                [with("SLOT".into(), heading)].into_iter().chain(slots.iter().flat_map(of_slot)).collect();
            table::lines(&rows).iter().for_each(say);
        }
    }
}

fn row(node: &NodeStatus) -> [String; 4] {
    let dash = || "-".to_owned();
    let holder = node.failure.clone().or_else(|| node.holder.clone()).unwrap_or_else(dash);
    let left = node.left.map_or_else(dash, |left| format!("{:.1} s", left.as_secs_f64()));
    [node.node.clone(), holder, left, node.token.map_or_else(dash, |token| token.to_string())]
}
