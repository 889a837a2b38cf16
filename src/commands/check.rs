//! `--check`: whether the nodes are fit, and what to do if not.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{
    output::{say, say_json},
    shown::shown_duration,
    table,
};
use crate::{
    exit::Exit,
    lease::{Nodes, Times, quorum, shown_nodes},
    redlock::{self, Finding, NodeHealth, RedlockConfig, Severity},
};

/// The answer as JSON.
#[derive(Serialize)]
struct CheckReport<'a> {
    verdict: &'a str,
    exit_status: u8,
    nodes: Vec<NodeReport<'a>>,
    #[serde(flatten)]
    now: Able,
    /// While the servers are changed: the same of the list before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Able>,
}

/// How many nodes of a list can vote, and must.
#[derive(Clone, Copy, Serialize)]
struct Able {
    able: usize,
    quorum: usize,
}

#[derive(Serialize)]
struct NodeReport<'a> {
    node: &'a str,
    server: Option<&'a str>,
    up_seconds: Option<u64>,
    /// The median.
    round_trip_ms: Option<f64>,
    longest_round_trip_ms: Option<f64>,
    clock_ahead_ms: Option<i64>,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
struct FindingReport {
    weight: &'static str,
    found: String,
    advice: String,
}

/// Prints a table, the findings and a verdict. Returns the exit status.
///
/// # Errors
/// Failures of our own, as opposed to those of nodes.
pub(super) async fn check(config: &RedlockConfig, slots: u16, times: Times, json: bool) -> Result<Exit> {
    let nodes = redlock::check(config, slots, times).await?;
    let of_list = |list: &Nodes| list.iter().filter_map(|&node| nodes.get(node)).collect();
    let lists: Vec<Vec<&NodeHealth>> = config.quorums.lists().map(of_list).collect();
    let (exit, verdicts) = judge_all(&lists);
    if json {
        say_json(&CheckReport {
            verdict: &verdicts.join("; "),
            exit_status: exit.status(),
            nodes: nodes.iter().map(NodeReport::new).collect(),
            now: Able::of(&lists[0]),
            before: lists.get(1).map(|list| Able::of(list)),
        })?;
        return Ok(exit);
    }
    table::lines(&rows(&nodes)).iter().try_for_each(say)?;
    say("")?;
    for node in &nodes {
        for finding in &node.findings {
            let severity = match finding.severity() {
                Severity::NoVote => "no vote",
                Severity::Risk => "risk",
                Severity::Note => "note",
            };
            say(format_args!("{severity}: {} {finding}: {}", node.node, finding.advice()))?;
        }
    }
    verdicts.iter().try_for_each(say)?;
    Ok(exit)
}

impl<'a> NodeReport<'a> {
    fn new(node: &'a NodeHealth) -> Self {
        NodeReport {
            node: &node.node,
            server: node.server.as_deref(),
            up_seconds: node.up.map(|up| up.as_secs()),
            round_trip_ms: node.measurement.map(|measured| millis(measured.median)),
            longest_round_trip_ms: node.measurement.map(|measured| millis(measured.longest)),
            clock_ahead_ms: node.measurement.map(|measured| measured.clock_ahead_ms),
            findings: node.findings.iter().map(FindingReport::new).collect(),
        }
    }
}

impl FindingReport {
    fn new(finding: &Finding) -> Self {
        let weight = match finding.severity() {
            Severity::NoVote => "no_vote",
            Severity::Risk => "risk",
            Severity::Note => "note",
        };
        FindingReport { weight, found: finding.to_string(), advice: finding.advice().into_owned() }
    }
}

/// Returns milliseconds, to the hundredth.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

fn rows(nodes: &[NodeHealth]) -> Vec<[String; 6]> {
    let heading = ["NODE", "SERVER", "UP", "ROUND TRIP", "CLOCK", "VOTES"].map(ToOwned::to_owned);
    [heading].into_iter().chain(nodes.iter().map(row)).collect()
}

fn row(node: &NodeHealth) -> [String; 6] {
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    let votes = match (node.votes(), node.has_risks()) {
        (false, _) => "no",
        (true, true) => "at risk",
        (true, false) => "yes",
    };
    [
        node.node.clone(),
        or_dash(node.server.clone()),
        or_dash(node.up.map(shown_duration)),
        or_dash(node.measurement.map(|measured| format!("{:.2} ms", millis(measured.median)))),
        or_dash(node.measurement.map(|measured| format!("{:+} ms", measured.clock_ahead_ms))),
        votes.to_owned(),
    ]
}

impl Able {
    fn of(list: &[&NodeHealth]) -> Self {
        Able { able: list.iter().filter(|node| node.votes()).count(), quorum: quorum(list.len()) }
    }
}

/// Returns the exit status, which is that of the worse list, and a last line for each list.
fn judge_all(lists: &[Vec<&NodeHealth>]) -> (Exit, Vec<String>) {
    let judged: Vec<(Exit, String)> = lists.iter().map(|list| judge(list)).collect();
    let has = |exit: Exit| judged.iter().any(|judged| judged.0 == exit);
    let worst = [Exit::NoQuorum, Exit::CheckFailed].into_iter().find(|&exit| has(exit)).unwrap_or(Exit::Command(0));
    let mut verdicts: Vec<String> = judged.into_iter().map(|(_, verdict)| verdict).collect();
    verdicts.iter_mut().skip(1).for_each(|verdict| verdict.insert_str(0, "before: "));
    (worst, verdicts)
}

/// Returns the exit status and the last line for the nodes of a list.
fn judge(nodes: &[&NodeHealth]) -> (Exit, String) {
    let Able { able, quorum: needed } = Able::of(nodes);
    let all = nodes.len();
    let count = if able == all && all == 1 {
        "the node can vote".to_owned()
    } else {
        format!("{able} of {} can vote, {needed} needed", shown_nodes(all))
    };
    let spare = match able.checked_sub(needed) {
        None => return (Exit::NoQuorum, format!("bad: {count}: nobody can lead")),
        Some(0) => "none may fail".to_owned(),
        Some(spare) => format!("{spare} may fail"),
    };
    if able < all || nodes.iter().any(|node| node.has_risks()) {
        return (Exit::CheckFailed, format!("look: {count}, {spare}; see above for what is to be mended"));
    }
    let even = if all.is_multiple_of(2) { "; one node less would be as safe" } else { "" };
    (Exit::Command(0), format!("good: {count}, {spare}{even}"))
}
