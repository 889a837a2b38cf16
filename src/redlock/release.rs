//! Releasing the lock: on all nodes, and so that one who stands by hears of it.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    config::RedlockConfig,
    lock::Redlock,
    net::{failure::Failure, node::Node},
    outcome::{self, NodeReply},
    restoring::Restoring,
    round::Round,
    scripts::{self, Audience, ReleaseReply, RunTimes},
    session::LockSession,
    shortfall,
    standby::ELECTED_WITHIN,
};
use crate::{
    clock::{Moment, wall_micros},
    history::EndedRun,
    lease::Times,
    lock::{BackendFailure, ExtendOutcome, NodesKey, ReleaseOptions, Released},
    once_per::Note,
    report::Report,
};

/// How long who releases for a dead elector waits at most for the nodes that a quorum doesn't need: whoever waits for the end of the
/// guard waits as long if a node is frozen.
const FAR_NODES_ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Redlock {
    /// Releases what we hold, or keeps it for a while. Returns once a quorum has confirmed it, or no more answers can
    /// be expected.
    ///
    /// # Errors
    /// Which nodes have not confirmed it. What they hold expires by itself.
    pub(crate) async fn release(&mut self, options: ReleaseOptions) -> Result<Released, BackendFailure> {
        // What is on its way comes before the release, and nothing may follow it.
        self.filling_in = None;
        if !self.votes_out {
            return Ok(Released::default());
        }
        let teller = self.teller();
        let audience = if self.standby.is_listening() { Audience::AllButUs } else { Audience::All };
        let notifies = |node: &Node| teller.is_none_or(|teller| teller == node.index);
        let quiet = if options.run.is_some() { Audience::Counted } else { Audience::Nobody };
        let ask = |node: &Arc<Node>| {
            let times = options.run.map_or_else(RunTimes::default, |run| RunTimes {
                start: self.clocks.at_first(node.index, run.began),
                until: self.clocks.at_least(node.index, run.ended).filter(|_| run.is_end_seen),
            });
            let audience = if notifies(node) { audience } else { quiet };
            self.release_on(node, audience, options, times)
        };
        // The one that notifies comes first: a node on this machine may take our processor as soon as it is asked.
        let mut nodes = self.nodes.clone();
        nodes.swap(0, teller.unwrap_or_default());
        let mut round = Round::ask(&nodes, ask);
        // A node that has nothing of ours has released it, but doesn't keep it.
        let kept = options.hold.is_some();
        let confirms: fn(&ReleaseReply) -> bool =
            if kept && !broken!("hold") { |reply| matches!(reply, ReleaseReply::Freed { .. }) } else { |_| true };
        round.decide(&self.quorums, confirms).await;
        let confirmed = self.quorums.is_reached(&outcome::nodes_that(round.replies(), confirms));
        // The requests to the others are on their way; closing the connections now could cut them off.
        round.wait_for_late().await;
        self.tell_of_release(teller, round.replies(), audience, options).await;
        self.wake_all_unless_led(&round, options).await;
        if self.is_alone {
            // Nodes that are far are still being connected to.
            round.wait(self.times.connect_timeout().min(FAR_NODES_ANSWER_WITHIN)).await;
        }
        self.votes_out = false;
        if confirmed {
            return Ok(Released { standbys: outcome::standbys(&self.quorums, round.replies()) });
        }
        Err(BackendFailure::Shortfall(shortfall::of_releases(&self.nodes, &self.quorums, round.replies(), kept)))
    }

    /// Releases on one node.
    fn release_on(
        &self,
        node: &Arc<Node>,
        audience: Audience,
        options: ReleaseOptions,
        times: RunTimes,
    ) -> impl Future<Output = Result<ReleaseReply, Failure>> + Send + use<> {
        let (node, session, is_alone) = (node.clone(), self.session.clone(), self.is_alone);
        let restoring = Arc::new(Restoring::new(&self.votes, node.index, &self.times, self.process_of(&node)));
        let ask = move |session: &LockSession| {
            let release = session.release(&node.address, audience, options, times, &restoring.settled);
            // A node's former master may still have our lock.
            let vote = node.ask_for_vote(release);
            let restoring = restoring.clone();
            async move {
                let vote = vote.await?;
                let reply = scripts::released(vote.answer, restoring.lasts()).ok_or(Failure::StrangeAnswer)?;
                if options.hold.is_some() && matches!(reply, ReleaseReply::Freed { .. }) {
                    restoring.check(vote.master_for)?;
                }
                Ok(reply)
            }
        };
        let (first, token) = (ask(&session), session.key().token);
        async move {
            let reply = first.await;
            if let Ok(ReleaseReply::NotOurs { fence }) = reply
                && is_alone
            {
                // The elector may have died before it could tell its guard of the token of its last extension.
                session.overtake(fence, wall_micros());
                if session.key().token > token {
                    return ask(&session).await;
                }
            }
            reply
        }
    }

    /// Lets another node that has released the lock notify listeners, too, if the node that was to do so has not released it, or
    /// if more stand by there: some then don't reach that one.
    async fn tell_of_release(
        &self,
        teller: Option<usize>,
        replies: &[NodeReply<ReleaseReply>],
        audience: Audience,
        options: ReleaseOptions,
    ) {
        let Some(teller) = teller else { return };
        let standbys_on = |index: usize| match replies.iter().find(|reply| reply.node == index)?.answer {
            Ok(ReleaseReply::Freed { standbys, .. }) => Some(standbys.unwrap_or_default()),
            _ => None,
        };
        let others = self.nodes.iter().filter(|node| node.index != teller);
        let most =
            others.filter_map(|node| Some((standbys_on(node.index)?, node))).max_by_key(|(standbys, _)| *standbys);
        if let Some((standbys, other)) = most
            && Some(standbys) > standbys_on(teller)
        {
            let _ = other.ask(self.session.tell_release(&other.address, audience, options)).await;
        }
    }

    /// Notifies all who stand by, where only one was woken and doesn't lead soon: it may be frozen, or reach no quorum. Each node
    /// does that unless it has voted, so that a vote which can't count keeps no more than its own node silent.
    async fn wake_all_unless_led(&self, round: &Round<ReleaseReply>, options: ReleaseOptions) {
        let some_sleep =
            |reply: &NodeReply<ReleaseReply>| matches!(reply.answer, Ok(ReleaseReply::Freed { some_sleep: true, .. }));
        if !round.replies().iter().any(some_sleep) {
            return;
        }
        let round_trip = Moment::now().since(round.sent());
        sleep((ELECTED_WITHIN + 2 * round_trip).min(self.times.answer_timeout())).await;
        let freed = outcome::nodes_that(round.replies(), |reply| matches!(reply, ReleaseReply::Freed { .. }));
        let tell = |node: &Arc<Node>| node.ask(self.session.tell_release_if_free(&node.address, options));
        join_all(self.nodes.iter().filter(|node| freed.contains(&node.index)).map(tell)).await;
    }

    /// Picks the node that notifies listeners of a release: one, so that they are woken once.
    fn teller(&self) -> Option<usize> {
        fastrand::choice(self.heard())
    }
}

/// Leaves a note, records the run and releases, without having campaigned, as a guard does for its dead elector. Returns whether a
/// quorum confirmed the release.
pub(crate) async fn release_alone(
    config: &RedlockConfig,
    times: Times,
    key: NodesKey,
    note: Option<&Note>,
    run: EndedRun,
) -> bool {
    let sessions = vec![Arc::new(LockSession::proven(&config.lock, key))];
    let mut redlock = Redlock::with_sessions(config, sessions, times, &Report::silent());
    (redlock.votes_out, redlock.is_alone) = (true, true);
    let succeeded = match note {
        Some(note) => matches!(redlock.extend(Some(note)).await, ExtendOutcome::Extended { .. }),
        None => false,
    };
    redlock.release(ReleaseOptions { succeeded, hold: None, run: Some(run) }).await.is_ok()
}
