//! `--check`: are the nodes fit for it, and what is to be done where they are not?

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{output::say, table};
use crate::{
    exit::Exit,
    lease::{Times, quorum},
    redlock::{self, Finding, NodeHealth, RedlockConfig, Severity},
};

#[derive(Serialize)]
struct CheckReport<'a> {
    verdict: &'a str,
    exit_status: u8,
    nodes: &'a [NodeHealth],
    able: usize,
    quorum: usize,
}

/// Prints a table, what was found and a verdict.
pub async fn check(config: &RedlockConfig, times: Times, json: bool) -> Result<Exit> {
    let nodes = redlock::check(config, times).await?;
    let able = nodes.iter().filter(|node| node.votes()).count();
    let (exit, verdict) = judge(&nodes, able);
    if json {
        let told = CheckReport {
            verdict: &verdict,
            exit_status: exit.status(),
            nodes: &nodes,
            able,
            quorum: quorum(nodes.len()),
        };
        say(serde_json::to_string_pretty(&told)?);
        return Ok(exit);
    }
    table::lines(&rows(&nodes)).iter().for_each(say);
    say("");
    for node in &nodes {
        for Finding { severity, found, advice } in &node.findings {
            let severity = match severity {
                Severity::NoVote => "no vote",
                Severity::Risk => "risk",
                Severity::Note => "note",
            };
            say(format_args!("{severity}: {} {found}: {advice}", node.node));
        }
    }
    say(verdict);
    Ok(exit)
}

fn rows(nodes: &[NodeHealth]) -> Vec<[String; 6]> {
    let heading = ["NODE", "SERVER", "UP", "ROUND TRIP", "CLOCK", "VOTES"].map(ToOwned::to_owned);
    let dash = || "-".to_owned();
    let row = |node: &NodeHealth| {
        let up = |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string();
        // The two largest units say enough.
        let up = |seconds| up(seconds).split(' ').take(2).collect::<Vec<_>>().join(" ");
        [
            node.node.clone(),
            node.server.clone().unwrap_or_else(dash),
            node.up_seconds.map_or_else(dash, up),
            node.round_trip_ms.map_or_else(dash, |millis| format!("{millis:.2} ms")),
            node.clock_ahead_ms.map_or_else(dash, |millis| format!("{millis:+} ms")),
            if !node.votes() {
                "no"
            } else if node.has_risks() {
                "at risk"
            } else {
                "yes"
            }
            .to_owned(),
        ]
    };
    [heading].into_iter().chain(nodes.iter().map(row)).collect()
}

fn judge(nodes: &[NodeHealth], able: usize) -> (Exit, String) {
    let (all, needed) = (nodes.len(), quorum(nodes.len()));
    let count = if able == all && all == 1 {
        "the node can vote".to_owned()
    } else {
        format!("{able} of {all} nodes can vote, {needed} needed")
    };
    let spare = match able.checked_sub(needed) {
        None => return (Exit::NoQuorum, format!("bad: {count}: nobody can lead")),
        Some(0) => "none may fail".to_owned(),
        Some(spare) => format!("{spare} may fail"),
    };
    let at_risk = nodes.iter().any(|node| node.findings.iter().any(|finding| finding.severity > Severity::Note));
    if able < all || at_risk {
        return (Exit::CheckFailed, format!("look: {count}, {spare}; see above for what is to be mended"));
    }
    let even = if all.is_multiple_of(2) { "; one node less would be as safe" } else { "" };
    (Exit::Command(0), format!("good: {count}, {spare}{even}"))
}
