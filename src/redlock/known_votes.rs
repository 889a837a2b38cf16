//! The votes that a leader knows it has, node by node: what its lease stands on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    outcome::NodeReply,
    scripts::{AcquireReply, ExtendReply},
};
use crate::{clock::Moment, lease::quorum};

/// Until when each node's vote lasts. Shared with the tasks that wait for late answers.
#[derive(Debug)]
pub(crate) struct KnownVotes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    until: Vec<Option<Moment>>,
    is_bare: bool,
}

impl KnownVotes {
    /// Knows of no vote on so many nodes.
    pub(crate) fn none(nodes: usize) -> Self {
        KnownVotes(Mutex::new(Known { until: vec![None; nodes], is_bare: false }))
    }

    /// Takes in a node's answer to a campaign. A vote lasts until this moment.
    pub(crate) fn hear_acquired(&self, reply: &NodeReply<AcquireReply>, until: Moment) {
        if reply.answer.as_ref().is_ok_and(AcquireReply::is_vote) {
            self.known().until[reply.node] = Some(until);
        }
    }

    /// Takes in a node's answer to an extension. A node that has another's lock has taken its vote away, however long that
    /// was to last.
    pub(crate) fn hear_extended(&self, reply: &NodeReply<ExtendReply>, until: Moment) {
        match &reply.answer {
            Ok(ExtendReply::Renewed { .. } | ExtendReply::Restored { .. }) => {
                self.known().until[reply.node] = Some(until)
            }
            Ok(ExtendReply::Taken) => self.known().until[reply.node] = None,
            Ok(ExtendReply::Overtaken { .. }) | Err(_) => {}
        }
    }

    /// Returns whether the lease stands on a quorum that may still be extended.
    pub(crate) fn is_quorum(&self, now: Moment) -> bool {
        let known = self.known();
        known.lasting(now) >= quorum(known.until.len())
    }

    /// Returns the nodes without a vote of ours if there are just so many that one more would lose the lease, and there were
    /// fewer before.
    pub(crate) fn newly_missing(&self, now: Moment) -> Option<Vec<usize>> {
        let mut known = self.known();
        let (nodes, lasting) = (known.until.len(), known.lasting(now));
        let was_bare = std::mem::replace(&mut known.is_bare, lasting < nodes && lasting == quorum(nodes));
        let is_new = known.is_bare && !was_bare;
        is_new.then(|| (0..nodes).filter(|&node| !lasts(known.until[node], now)).collect())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn lasting(&self, now: Moment) -> usize {
        self.until.iter().filter(|&&until| lasts(until, now)).count()
    }
}

fn lasts(until: Option<Moment>, now: Moment) -> bool {
    until.is_some_and(|until| now < until)
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
        let (votes, now) = (KnownVotes::none(3), Moment::now());
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
        let (votes, now) = (KnownVotes::none(3), Moment::now());
        let until = now + Duration::from_secs(1);
        heard(&votes, vec![(0, Ok(VOTE)), (2, Ok(VOTE))], until);
        assert_eq!((votes.newly_missing(now), votes.newly_missing(now)), (Some(vec![1]), None));
        heard(&votes, vec![(1, Ok(VOTE))], until);
        assert_eq!(votes.newly_missing(now), None);
        heard(&votes, vec![(0, Ok(ExtendReply::Taken))], until);
        assert_eq!(votes.newly_missing(now), Some(vec![0]));
    }
}
