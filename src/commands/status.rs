//! `--status`: who leads now, and what each node reports.

use anyhow::Result;

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

/// Prints who leads and a table of the nodes, or all of it as JSON.
pub(super) async fn print(observer: &Observer, json: bool) -> Result<Exit> {
    let seen = observer.look().await;
    if json {
        say_json(&seen)?;
    } else {
        say(format_args!("{}: {}", seen.resource, describe(&seen)));
        if let Some(done) = &seen.done {
            say(format_args!("{}: {done}", seen.resource));
        }
        table::lines(&rows(&seen)).iter().for_each(say);
    }
    Ok(exit(&seen))
}

fn rows(seen: &ElectionStatus) -> Vec<[String; 4]> {
    let heading = ["NODE", "HOLDER", "LEFT", "TOKEN"].map(ToOwned::to_owned);
    let dash = || "-".to_owned();
    let row = |node: &NodeStatus| {
        let holder = node.failure.clone().or_else(|| node.holder.clone()).unwrap_or_else(dash);
        let left = node.left.map_or_else(dash, |left| format!("{:.1} s", left.as_secs_f64()));
        [node.node.clone(), holder, left, node.token.map_or_else(dash, |token| token.to_string())]
    };
    [heading].into_iter().chain(seen.nodes.iter().map(row)).collect()
}
