//! Whether a node may set a lost lock of ours again, and whether what it says then counts.

use std::{sync::Arc, time::Duration};

use super::{known_votes::KnownVotes, net::failure::Failure, scripts::Settled};
use crate::{clock::Moment, lease::Times};

/// What we know of a node that may have lost our lock. A server that has just started, and one that has just become the master,
/// may have voted for another before, who counts on that. Our last vote from the node shows that it has not, as long as it lasts.
pub(crate) struct Restoring {
    votes: Arc<KnownVotes>,
    /// By its index.
    node: usize,
    /// What the node decides by.
    pub settled: Settled,
}

impl Restoring {
    /// `process`: the id of the node's server process if we have known that for the startup grace.
    pub(crate) fn new(votes: &Arc<KnownVotes>, node: usize, times: &Times, process: Option<String>) -> Self {
        let or_until = votes.last(node).and_then(|vote| vote.expires);
        Restoring { votes: votes.clone(), node, settled: Settled::new(times, process, or_until) }
    }

    /// Returns whether our last vote from the node lasts, by our own clock: the node's may have been set back.
    pub(crate) fn lasts(&self) -> bool {
        self.votes.last(self.node).is_some_and(|vote| Moment::now() < vote.until)
    }

    /// Checks that the vote of a server counts that has been the node's master for this long.
    ///
    /// # Errors
    /// [`Failure::Promoted`].
    pub(crate) fn check(&self, master_for: Duration) -> Result<(), Failure> {
        let votes_in = self.settled.up_for.saturating_sub(master_for);
        if votes_in.is_zero() || self.lasts() { Ok(()) } else { Err(Failure::Promoted(votes_in)) }
    }
}
