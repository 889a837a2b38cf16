//! Whether a node may set a lost lock of ours again, and whether its vote counts then.

use std::time::Duration;

use super::{known_votes::KnownVote, net::failure::Failure, scripts::Settled};
use crate::{clock::Moment, lease::Times};

/// What we know of a node that may have lost our lock. A server that has just started, and one that has just become the master,
/// may have voted for another before, who counts on that.
pub(crate) struct Restoring {
    last_vote: Option<KnownVote>,
    /// What the node decides by.
    pub settled: Settled,
}

impl Restoring {
    /// `process`: the id of the node's server process if we have known that for the startup grace.
    pub(crate) fn new(last_vote: Option<KnownVote>, times: &Times, process: Option<String>) -> Self {
        let or_until = last_vote.and_then(|vote| vote.expires);
        Restoring { last_vote, settled: Settled::new(times, process, or_until) }
    }

    /// Checks that the vote of a server counts that has been the node's master for this long: it has for the startup grace, or our
    /// last vote from the node lasts still.
    ///
    /// # Errors
    /// [`Failure::Promoted`].
    pub(crate) fn check(&self, master_for: Duration) -> Result<(), Failure> {
        let votes_in = self.settled.up_for.saturating_sub(master_for);
        let lasts = || self.last_vote.is_some_and(|vote| Moment::now() < vote.until);
        if votes_in.is_zero() || lasts() { Ok(()) } else { Err(Failure::Promoted(votes_in)) }
    }
}
