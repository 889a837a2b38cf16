//! The votes that a leader knows it has, node by node: what its lease stands on.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    outcome::NodeReply,
    scripts::{AcquireReply, ExtendReply},
};
use crate::{
    clock::Moment,
    lease::{Nodes, Quorums},
};

/// Until when each node's vote lasts. Shared with the tasks that wait for late answers.
#[derive(Debug)]
pub(crate) struct KnownVotes {
    quorums: Quorums,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the node's index.
    until: HashMap<usize, Moment>,
    is_bare: bool,
}

impl KnownVotes {
    /// Knows of no vote yet.
    pub(crate) fn none(quorums: Quorums) -> Self {
        KnownVotes { quorums, known: Mutex::default() }
    }

    /// Takes in a node's answer to a campaign. A vote lasts until this moment.
    pub(crate) fn hear_acquired(&self, reply: &NodeReply<AcquireReply>, until: Moment) {
        if reply.answer.as_ref().is_ok_and(AcquireReply::is_vote) {
            self.known().until.insert(reply.node, until);
        }
    }

    /// Takes in a node's answer to an extension. A node that has another's lock has taken its vote away, however long that
    /// was to last.
    pub(crate) fn hear_extended(&self, reply: &NodeReply<ExtendReply>, until: Moment) {
        match &reply.answer {
            Ok(ExtendReply::Renewed { .. } | ExtendReply::Restored { .. }) => {
                self.known().until.insert(reply.node, until);
            }
            Ok(ExtendReply::Taken) => {
                self.known().until.remove(&reply.node);
            }
            Ok(ExtendReply::Overtaken { .. }) | Err(_) => {}
        }
    }

    /// Returns whether the lease stands on a quorum that may still be extended.
    pub(crate) fn is_quorum(&self, now: Moment) -> bool {
        self.quorums.is_reached(&self.known().lasting(now))
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
        self.until.iter().filter(|&(_, until)| now < *until).map(|(&node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::redlock::{known_clocks::NodeTime, net::failure::Failure};

    const TIME: NodeTime = NodeTime::from_millis(0);
    const VOTE: ExtendReply = ExtendReply::Renewed { step_down: false, time: TIME };
    const RESTORED: ExtendReply = ExtendReply::Restored { time: TIME };

    fn heard(votes: &KnownVotes, answers: Vec<(usize, Result<ExtendReply, Failure>)>, until: Moment) {
        for (node, answer) in answers {
            votes.hear_extended(&NodeReply { node, answer }, until);
        }
    }

    #[test]
    fn a_vote_lasts_until_its_time_is_over_or_the_node_has_anothers_lock() {
        let (votes, now) = (KnownVotes::none(Quorums::of(3)), Moment::now());
        let until = now + Duration::from_secs(1);
        heard(&votes, vec![(0, Ok(VOTE)), (1, Ok(RESTORED))], until);
        assert!(votes.is_quorum(now) && !votes.is_quorum(until));
        heard(&votes, vec![(1, Err(Failure::TimedOut))], until);
        assert!(votes.is_quorum(now));
        heard(&votes, vec![(1, Ok(ExtendReply::Taken))], until);
        assert!(!votes.is_quorum(now));
    }

    #[test]
    fn a_bare_quorum_is_told_once_each_time() {
        let (votes, now) = (KnownVotes::none(Quorums::of(3)), Moment::now());
        let until = now + Duration::from_secs(1);
        heard(&votes, vec![(0, Ok(VOTE)), (2, Ok(VOTE))], until);
        assert_eq!((votes.newly_missing(now), votes.newly_missing(now)), (Some([1].into()), None));
        heard(&votes, vec![(1, Ok(VOTE))], until);
        assert_eq!(votes.newly_missing(now), None);
        heard(&votes, vec![(0, Ok(ExtendReply::Taken))], until);
        assert_eq!(votes.newly_missing(now), Some([0].into()));
    }
}
