//! Makes one history of the records of several nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use super::{
    problem::{Times, problem},
    record::{RunRecord, RunResult},
    run::{PastRun, Run, RunState, time_of},
};
use crate::lease::{FencingToken, Nodes};

/// What one node has recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeRecords {
    /// What distinguishes its clock from others.
    pub clock: usize,
    /// What its times count from, in milliseconds since 1970.
    pub epoch: u64,
    /// What its clock shows, in milliseconds since the epoch.
    pub now: u64,
    pub records: Vec<RunRecord>,
    pub last_success: Option<RunRecord>,
}

/// A run's token and its leader's id. Two candidates may have asked different nodes for the same token.
type Key = (FencingToken, String);

/// The records of one run, by their clocks, and who has them.
type Sightings<'a> = BTreeMap<usize, (&'a NodeRecords, &'a RunRecord)>;

impl NodeRecords {
    fn time_of(&self, millis: u64) -> SystemTime {
        time_of(self.epoch.saturating_add(millis))
    }
}

/// Returns the runs, the newest first, and the last success. `leader`: the id of the present leader's lock. `suffices`:
/// whether these nodes can have elected a leader.
pub(crate) fn merge(
    nodes: &[NodeRecords],
    leader: Option<&str>,
    suffices: impl Fn(&Nodes) -> bool,
) -> (Vec<Run>, Option<PastRun>) {
    let mut seen: BTreeMap<Key, Sightings> = BTreeMap::new();
    for node in nodes {
        for record in &node.records {
            seen.entry((record.token, record.id.clone())).or_default().insert(node.clock, (node, record));
        }
    }
    let superseded = superseded(&seen);
    seen.retain(|key, _| !superseded.contains(key));
    let newest = |id: &str| seen.keys().rfind(|key| key.1 == id).map(|key| key.0);
    let leads = |key: &Key| leader == Some(key.1.as_str()) && newest(&key.1) == Some(key.0);
    let mut runs: Vec<Run> = seen.iter().filter_map(|(key, sightings)| run(sightings, leads(key), &suffices)).collect();
    let tokens: Vec<FencingToken> = seen.keys().map(|key| key.0).collect();
    let times: Vec<BTreeMap<usize, Times>> = seen
        .values()
        .map(|sightings| sightings.iter().map(|(clock, (_, record))| (*clock, Times::of(record))).collect())
        .collect();
    for (later, run) in runs.iter_mut().enumerate() {
        run.problem = (0..later).rev().find_map(|earlier| {
            let pairs =
                times[later].iter().filter_map(|(clock, of_later)| Some((of_later, times[earlier].get(clock)?)));
            problem(tokens[earlier], pairs)
        });
    }
    runs.reverse();
    (runs, last_success(nodes))
}

/// Returns the votes of candidates that asked again later: all that is left of a campaign that was lost.
fn superseded(seen: &BTreeMap<Key, Sightings>) -> BTreeSet<Key> {
    let is_vote =
        |sightings: &Sightings| sightings.values().all(|(_, record)| record.seen.is_none() && record.end.is_none());
    let votes = seen.iter().filter(|(key, sightings)| !key.1.is_empty() && is_vote(sightings));
    let asked_again = |key: &Key| seen.keys().any(|other| other.1 == key.1 && other.0 > key.0);
    votes.filter(|(key, _)| asked_again(key)).map(|(key, _)| key.clone()).collect()
}

fn run(sightings: &Sightings, leads: bool, suffices: &impl Fn(&Nodes) -> bool) -> Option<Run> {
    let ended = sightings.values().find(|(_, record)| record.end.is_some());
    let extended =
        || sightings.values().max_by_key(|(_, record)| record.seen.map(|seen| seen.saturating_sub(record.start)));
    let (node, record) = ended.or_else(extended)?;
    let state = match (record.end, record.seen) {
        (Some(result), _) => RunState::Ended { result, ran: Duration::from_millis(record.ran_ms.unwrap_or_default()) },
        _ if leads => RunState::Leads { for_now: Duration::from_millis(node.now.saturating_sub(record.start)) },
        (None, Some(seen)) => {
            RunState::Died { at_least: Some(Duration::from_millis(seen.saturating_sub(record.start))) }
        }
        (None, None) if suffices(&sightings.keys().copied().collect()) => RunState::Died { at_least: None },
        (None, None) => RunState::Unproven,
    };
    let (token, holder, start) = (record.token, record.holder.clone(), node.time_of(record.start));
    Some(Run { token, holder, start, state, nodes: sightings.len(), problem: None })
}

/// Returns the last success that any node knows of: a record of one is true, however few have it.
fn last_success(nodes: &[NodeRecords]) -> Option<PastRun> {
    let recorded = nodes.iter().flat_map(|node| {
        let of_runs = node.records.iter().filter(|record| record.end == Some(RunResult::Success));
        of_runs.chain(&node.last_success).map(move |record| (node, record))
    });
    let recorded: Vec<_> = recorded.collect();
    let newest = recorded.iter().map(|(_, record)| record.token).max()?;
    let of_newest = || recorded.iter().filter(|(_, record)| record.token == newest);
    // A wrong clock, or a node that lies, must not make it younger.
    let age = |node: &NodeRecords, record: &RunRecord| {
        node.now.saturating_sub(record.start.saturating_add(record.ran_ms.unwrap_or_default()))
    };
    let (node, record) = of_newest().max_by_key(|(node, record)| age(node, record))?;
    let nodes: BTreeSet<usize> = of_newest().map(|(node, _)| node.clock).collect();
    let ran = Duration::from_millis(record.ran_ms.unwrap_or_default());
    let run = Run {
        token: record.token,
        holder: record.holder.clone(),
        start: node.time_of(record.start),
        state: RunState::Ended { result: RunResult::Success, ran },
        nodes: nodes.len(),
        problem: None,
    };
    Some(PastRun { run, ago: Duration::from_millis(age(node, record)) })
}

#[cfg(test)]
mod tests {
    use super::{super::problem::Problem, *};

    fn vote(token: u64, id: &str, start: u64) -> RunRecord {
        let token = FencingToken::new(token);
        let (seen, until, ran_ms, end) = (None, None, None, None);
        RunRecord { token, id: id.into(), holder: id.into(), start, seen, until, ran_ms, end }
    }

    fn extended(token: u64, id: &str, start: u64, seen: u64) -> RunRecord {
        RunRecord { seen: Some(seen), ..vote(token, id, start) }
    }

    fn ended(token: u64, id: &str, start: u64, ran: u64) -> RunRecord {
        let (until, ran_ms, end) = (Some(start + ran), Some(ran), Some(RunResult::Success));
        RunRecord { until, ran_ms, end, ..vote(token, id, start) }
    }

    fn nodes(records: [&[RunRecord]; 3]) -> Vec<NodeRecords> {
        let node = |(clock, records): (usize, &&[RunRecord])| NodeRecords {
            clock,
            epoch: 0,
            now: 1_000_000,
            records: records.to_vec(),
            last_success: None,
        };
        records.iter().enumerate().map(node).collect()
    }

    fn merged(records: [&[RunRecord]; 3]) -> Vec<Run> {
        merge(&nodes(records), Some("leads"), |nodes| nodes.len() >= 2).0
    }

    fn problems(records: [&[RunRecord]; 3]) -> Vec<Option<Problem>> {
        merged(records).iter().map(|run| run.problem).collect()
    }

    fn states(records: [&[RunRecord]; 3]) -> Vec<(u64, RunState, usize)> {
        merged(records).iter().map(|run| (run.token.get(), run.state, run.nodes)).collect()
    }

    #[test]
    fn one_node_with_the_end_of_a_run_is_enough() {
        let ran = RunState::Ended { result: RunResult::Success, ran: Duration::from_millis(50) };
        assert_eq!(states([&[vote(7, "a", 1000)], &[ended(7, "a", 1001, 50)], &[]]), [(7, ran, 2)]);
    }

    #[test]
    fn a_run_without_an_end_leads_has_died_or_was_never_proven() {
        let died = |at_least: Option<u64>| RunState::Died { at_least: at_least.map(Duration::from_millis) };
        let leads = RunState::Leads { for_now: Duration::from_millis(999_000) };
        let votes = [vote(5, "b", 10), vote(7, "leads", 1000)];
        assert_eq!(states([&votes, &[vote(7, "leads", 1000)], &[]]), [(7, leads, 2), (5, RunState::Unproven, 1)]);
        assert_eq!(states([&[vote(5, "b", 10)], &[vote(5, "b", 10)], &[]]), [(5, died(None), 2)]);
        assert_eq!(states([&[], &[], &[extended(5, "b", 10, 40)]]), [(5, died(Some(30)), 1)]);
    }

    #[test]
    fn a_vote_of_a_candidate_that_asked_again_is_no_run() {
        let runs = states([&[vote(5, "a", 10), ended(6, "a", 20, 1)], &[ended(6, "a", 20, 1)], &[vote(5, "a", 10)]]);
        assert_eq!(runs.iter().map(|run| run.0).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn an_overlap_counts_only_where_every_clock_with_both_runs_shows_it() {
        let (first, second) = (ended(5, "a", 1000, 500), ended(6, "b", 1400, 500));
        let set_back = ended(6, "b", 1600, 500);
        let overlaps = Some(Problem::Overlaps(FencingToken::new(5)));
        let both = [first.clone(), second.clone()];
        assert_eq!(problems([&both, &both, std::slice::from_ref(&first)]), [overlaps, None]);
        assert_eq!(problems([&both, &[first.clone(), set_back.clone()], &[]]), [None, None]);
        assert_eq!(problems([std::slice::from_ref(&first), &[second], &[]]), [None, None], "no clock has both");
        let granted_early = [first, vote(6, "b", 1400)];
        assert_eq!(problems([&granted_early, &granted_early, &[]]), [None, None], "its command may have begun later");
    }

    #[test]
    fn a_token_that_shrinks_is_found() {
        let records = [ended(5, "later", 9000, 500), ended(6, "earlier", 1000, 500)];
        assert_eq!(problems([&records, &records, &[]]), [Some(Problem::TokenShrank(FencingToken::new(5))), None]);
    }

    #[test]
    fn one_wrong_clock_makes_no_success_younger() {
        let (right, ahead) = ([ended(7, "a", 1000, 50)], [ended(7, "a", 9_000_000, 50)]);
        let success = last_success(&nodes([&right, &right, &ahead])).expect("a success");
        assert_eq!((success.ago, success.run.nodes), (Duration::from_millis(998_950), 3));
    }

    #[test]
    fn the_last_success_may_be_older_than_all_runs() {
        let mut nodes = nodes([&[], &[], &[]]);
        assert_eq!(last_success(&nodes), None);
        nodes[2].last_success = Some(ended(5, "a", 399_950, 50));
        let last = last_success(&nodes).expect("a success");
        assert_eq!((last.run.token.get(), last.ago), (5, Duration::from_secs(600)));
    }
}
