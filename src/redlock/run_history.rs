//! The runs of a resource, as its nodes have recorded them.

use std::collections::BTreeMap;

use super::{
    net::failure::Failure,
    observer::RedlockObserver,
    outcome::{NodeReply, answers},
    round::Round,
    scripts::RunsReply,
};
use crate::{
    history::{self, History, NodeRecords},
    lock::LeadershipId,
    status::ElectionStatus,
};

/// How many runs a node is asked for at once: their records fit into what a node may send.
const PAGE: usize = 20;

impl RedlockObserver {
    /// Returns the last runs. `seen`: who leads now.
    pub(crate) async fn history(&self, count: usize, seen: &ElectionStatus) -> History {
        let mut history = History::default();
        let mut nodes: BTreeMap<usize, NodeRecords> = BTreeMap::new();
        for first in (0..count).step_by(PAGE) {
            let last = count.min(first + PAGE) - 1;
            let replies = self.ask_for_runs(first, last).await;
            if first == 0 {
                self.count_answers(&replies, &mut history);
            }
            let is_full = |reply: &NodeReply<RunsReply>| {
                reply.answer.as_ref().is_ok_and(|runs| runs.records.len() > last - first)
            };
            let is_last = !replies.iter().any(is_full);
            for NodeReply { node, answer } in replies {
                let Ok(runs) = answer else { continue };
                let known = nodes.entry(node).or_insert_with(|| NodeRecords { clock: node, ..NodeRecords::default() });
                known.now = runs.now.as_millis();
                known.records.extend(runs.records);
                known.last_success = runs.last_success;
            }
            if is_last {
                break;
            }
        }
        let leader = seen.active_leader().and_then(|leader| match &leader.id {
            LeadershipId::Lock(value) => value.id(),
            LeadershipId::Token(_) => None,
        });
        let nodes: Vec<NodeRecords> = nodes.into_values().collect();
        (history.runs, history.last_success) =
            history::merge(&nodes, leader.as_deref(), |nodes| self.quorums.is_reached(nodes));
        history.runs.truncate(count);
        if !seen.known {
            history.doubt_end();
        }
        history.tell_open_runs_apart();
        history
    }

    async fn ask_for_runs(&self, first: usize, last: usize) -> Vec<NodeReply<RunsReply>> {
        let mut round = Round::ask(&self.nodes, |node| {
            let asked = node.ask(self.keys(node).runs(first, last));
            async move { asked.await.and_then(|answer| RunsReply::read(answer).ok_or(Failure::StrangeAnswer)) }
        });
        self.hear_out(&mut round).await;
        round.end()
    }

    fn count_answers(&self, replies: &[NodeReply<RunsReply>], history: &mut History) {
        (history.turnout, history.nodes) = (self.turnout(replies), self.nodes.len());
        // Those of the node that knows of the most runs.
        let counts = answers(replies).map(|runs| &runs.counts);
        let most = counts.max_by_key(|counts| counts.iter().map(|(_, count)| *count).fold(0, u64::saturating_add));
        history.counts = most.cloned().unwrap_or_default().into_iter().collect();
    }
}
