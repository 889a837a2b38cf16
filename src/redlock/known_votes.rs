//! The votes that a leader knows it has, node by node: what its lease stands on.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    known_clocks::NodeTime,
    outcome::{self, NodeReply, OtherTerms},
    scripts::{AcquireReply, Answer, ExtendReply},
};
use crate::{
    clock::Moment,
    lease::{Nodes, Quorums},
    lock::LockValue,
};

/// Until when each node's vote lasts. Shared with the tasks that wait for late answers.
#[derive(Debug)]
pub(crate) struct KnownVotes {
    quorums: Quorums,
    ttl: Duration,
    known: Mutex<Known>,
    doubt: Notify,
}

/// A node's vote for us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownVote {
    /// Until when we count on it.
    pub until: Moment,
    /// When it runs out by the node's clock.
    pub expires: Option<NodeTime>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the node's index.
    votes: HashMap<usize, KnownVote>,
    is_bare: bool,
    /// The nodes that have voted for us at some time.
    voted: Nodes,
    /// A lock that would have kept us from leading, had we heard of it in time.
    other_list: Option<OtherTerms>,
}

impl KnownVotes {
    /// Knows of no vote yet.
    pub(crate) fn none(quorums: Quorums, ttl: Duration) -> Self {
        KnownVotes { quorums, ttl, known: Mutex::default(), doubt: Notify::new() }
    }

    /// Takes in a node's answer to a campaign. A vote lasts until this moment.
    pub(crate) fn hear_acquired(&self, reply: &NodeReply<AcquireReply>, until: Moment) {
        let Ok(acquired) = &reply.answer else { return };
        match &acquired.answer {
            Answer::Granted => self.vote(reply.node, until, acquired.time),
            Answer::Held { value, .. } => self.hear_lock(reply.node, value),
            _ => {}
        }
    }

    /// Takes in a node's answer to an extension. A node that has another's lock has taken its vote away, however long that
    /// was to last.
    pub(crate) fn hear_extended(&self, reply: &NodeReply<ExtendReply>, until: Moment) {
        match &reply.answer {
            Ok(ExtendReply::Renewed { time, .. } | ExtendReply::Restored { time }) => {
                self.vote(reply.node, until, Some(*time));
            }
            Ok(ExtendReply::Taken { by }) => {
                if !broken!("vote_taken") {
                    self.known().votes.remove(&reply.node);
                }
                self.hear_lock(reply.node, by);
            }
            Ok(ExtendReply::Overtaken { .. } | ExtendReply::StartupGrace { .. }) | Err(_) => {}
        }
    }

    /// Takes in another's lock. A node that did not vote for us, since it was out of reach or had the vote of another candidate
    /// for a moment, shows only later that an instance with another list may lead. What it says once it has voted doesn't end our
    /// lease: one node may lie.
    fn hear_lock(&self, node: usize, value: &LockValue) {
        let mut known = self.known();
        if !known.voted.contains(&node)
            && let Some(other) = outcome::of_other_list(&self.quorums, node, value)
        {
            known.other_list = Some(other);
            self.doubt.notify_one();
        }
        if broken!("voted_first") {
            known.voted.insert(node);
        }
    }

    /// Returns the lock of an instance with another list that we learned of after our election.
    pub(crate) fn other_list(&self) -> Option<OtherTerms> {
        self.known().other_list.clone()
    }

    /// Waits until there is such a lock.
    pub(crate) async fn doubt(&self) {
        self.doubt.notified().await;
    }

    /// Returns whether the lease stands on a quorum that may still be extended.
    pub(crate) fn is_quorum(&self, now: Moment) -> bool {
        self.quorums.is_reached(&self.known().lasting(now))
    }

    /// Returns a node's last vote, unless another has it since.
    pub(crate) fn last(&self, node: usize) -> Option<KnownVote> {
        self.known().votes.get(&node).copied()
    }

    /// Notes a node's vote, which lasts until this moment. `cast`: what its clock showed then.
    fn vote(&self, node: usize, until: Moment, cast: Option<NodeTime>) {
        let mut known = self.known();
        known.votes.insert(node, KnownVote { until, expires: cast.map(|cast| cast + self.ttl) });
        known.voted.insert(node);
    }

    /// Returns the nodes without a vote of ours if there are just so many that one more would lose the lease, and there were
    /// fewer before.
    pub(crate) fn newly_missing(&self, now: Moment) -> Option<Nodes> {
        let mut known = self.known();
        let lasting = known.lasting(now);
        let was_bare = std::mem::replace(&mut known.is_bare, self.quorums.is_bare(&lasting));
        let is_new = known.is_bare && !was_bare;
        is_new.then(|| &self.quorums.nodes() - &lasting)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Returns the nodes whose votes have not run out.
    fn lasting(&self, now: Moment) -> Nodes {
        self.votes.iter().filter(|(_, vote)| now < vote.until).map(|(&node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redlock::net::failure::Failure;

    const TIME: NodeTime = NodeTime::from_millis(0);
    const VOTE: ExtendReply = ExtendReply::Renewed { step_down: false, time: TIME };
    const RESTORED: ExtendReply = ExtendReply::Restored { time: TIME };

    fn taken() -> ExtendReply {
        ExtendReply::Taken { by: LockValue::from_node("x") }
    }

    fn heard(votes: &KnownVotes, answers: Vec<(usize, Result<ExtendReply, Failure>)>, until: Moment) {
        for (node, answer) in answers {
            votes.hear_extended(&NodeReply { node, answer }, until);
        }
    }

    #[test]
    fn a_vote_lasts_until_its_time_is_over_or_the_node_has_anothers_lock() {
        let (votes, now) = (KnownVotes::none(Quorums::of(3), Duration::from_secs(1)), Moment::now());
        let until = now + Duration::from_secs(1);
        heard(&votes, vec![(0, Ok(VOTE)), (1, Ok(RESTORED))], until);
        assert!(votes.is_quorum(now) && !votes.is_quorum(until));
        heard(&votes, vec![(1, Err(Failure::TimedOut))], until);
        assert!(votes.is_quorum(now));
        heard(&votes, vec![(1, Ok(taken()))], until);
        assert!(!votes.is_quorum(now));
    }

    #[test]
    fn a_bare_quorum_is_told_once_each_time() {
        let (votes, now) = (KnownVotes::none(Quorums::of(3), Duration::from_secs(1)), Moment::now());
        let until = now + Duration::from_secs(1);
        heard(&votes, vec![(0, Ok(VOTE)), (2, Ok(VOTE))], until);
        assert_eq!((votes.newly_missing(now), votes.newly_missing(now)), (Some([1].into()), None));
        heard(&votes, vec![(1, Ok(VOTE))], until);
        assert_eq!(votes.newly_missing(now), None);
        heard(&votes, vec![(0, Ok(taken()))], until);
        assert_eq!(votes.newly_missing(now), Some([0].into()));
    }

    #[test]
    fn a_node_shows_another_list_until_it_has_voted() {
        let (votes, now) = (KnownVotes::none(Quorums::of(3), Duration::from_secs(1)), Moment::now());
        let by = LockValue::from_node(r#"{"id":"1","holder":"web-1","nodes":5}"#);
        let others = || Ok(ExtendReply::Taken { by: by.clone() });
        heard(&votes, vec![(0, Ok(VOTE)), (1, Err(Failure::TimedOut)), (0, others())], now);
        assert_eq!(votes.other_list(), None);
        heard(&votes, vec![(2, Ok(taken())), (2, others())], now);
        assert_eq!(votes.other_list().map(|other| (other.node, other.holder)), Some((2, "web-1".into())));
    }
}
