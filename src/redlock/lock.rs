//! The lock of one resource on all nodes: waiting for it and extending it. For acquiring it see campaign.rs, for releasing it
//! release.rs.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::{
    config::RedlockConfig,
    extension::Extension,
    known_clocks::KnownClocks,
    known_processes::KnownProcesses,
    known_votes::KnownVotes,
    net::{
        node::Node,
        pubsub::{MOST_NOTIFICATIONS, NotificationSender, Subscription},
    },
    outcome::{self, NodeReply, OtherTerms},
    outlook::Outlook,
    round::Round,
    scripts::{ExtendReply, WAKE_UP_CHANNELS},
    session::LockSession,
    shortfall,
    standby::StandbyWaiter,
};
use crate::{
    clock::{Moment, wall_micros},
    event::Event,
    host::spawn,
    lease::{Nodes, Quorums, Times, VoteResult},
    lock::{BackendFailure, ExtendOutcome, NotAcquired, Reason, ReleaseKey, Slot, Terms},
    once_per::{Note, OncePer},
    report::Report,
};

/// How many times in a row a token that was too small is followed by a larger one at once. A node that finds each one
/// too small is not healthy.
pub(crate) const STALE_AT_ONCE: u32 = 3;

/// The lock of one resource on all nodes.
pub(crate) struct Redlock {
    pub(crate) nodes: Vec<Arc<Node>>,
    /// For the slot that we campaign for or lead.
    pub(crate) session: Arc<LockSession>,
    /// For all slots, in their order.
    pub(crate) sessions: Vec<Arc<LockSession>>,
    /// What is known of several slots.
    pub(crate) outlook: Outlook,
    pub(crate) quorums: Quorums,
    pub(crate) times: Times,
    pub(crate) standby: StandbyWaiter,
    /// The number of the wake-up channels on which we listen while we stand by.
    pub(crate) wake_up: u16,
    /// Whether nodes may hold votes of ours.
    pub(crate) votes_out: bool,
    /// When we don't wait for answers to a campaign any longer; `None`: as long as they may take.
    pub(crate) patience: Option<Instant>,
    /// How many rounds in a row were lost, for pauses that grow.
    pub(crate) lost_rounds: u32,
    /// The nodes that answered the last campaign, or a look at all slots since then, with an error if at all.
    pub(crate) failing: Nodes,
    /// Whether all nodes are known to be different servers.
    pub(crate) servers_differ: bool,
    /// A lock of an instance with another number of nodes or slots, and until when it may last there.
    pub(crate) other_terms: Option<(OtherTerms, Moment)>,
    /// The other ttl that was reported last.
    pub(crate) other_ttl: Option<Duration>,
    pub(crate) processes: Arc<KnownProcesses>,
    pub(crate) votes: Arc<KnownVotes>,
    /// Ends the task that extends where a leader lacks votes, once it is dropped.
    pub(crate) filling_in: Option<oneshot::Sender<()>>,
    pub(crate) clocks: Arc<KnownClocks>,
    pub(crate) report: Report,
    /// Whether we release for a dead elector.
    pub(crate) is_alone: bool,
}

impl Redlock {
    /// Begins to connect to all nodes. Must be called within the runtime.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub(crate) fn open(
        config: &RedlockConfig,
        slots: u16,
        holder: &str,
        once_per: Option<&OncePer>,
        times: Times,
        report: &Report,
    ) -> Result<Self> {
        let terms = Terms { slots, lists: config.quorums.sizes(), ttl: times.ttl() };
        let session = |slot| LockSession::new(&config.lock, slot, holder, Some(terms), once_per).map(Arc::new);
        Ok(Self::with_sessions(config, Slot::all(slots).map(session).collect::<Result<_>>()?, times, report))
    }

    /// `sessions`: one for each slot.
    pub(super) fn with_sessions(
        config: &RedlockConfig,
        sessions: Vec<Arc<LockSession>>,
        times: Times,
        report: &Report,
    ) -> Self {
        let session = sessions[0].clone();
        let (sender, receiver) = mpsc::channel(MOST_NOTIFICATIONS);
        let wake_up = fastrand::u16(..WAKE_UP_CHANNELS);
        let node = |index: usize| {
            let notifications = NotificationSender(sender.clone());
            let keys = session.keys(&config.addresses[index]);
            let second = Some(keys.wake_up(wake_up));
            let subscription = Subscription { channel: keys.channel, second, notifications };
            Arc::new(Node::at(config, index, subscription, &times))
        };
        Redlock {
            nodes: (0..config.addresses.len()).map(node).collect(),
            quorums: config.quorums.clone(),
            times,
            report: report.clone(),
            standby: StandbyWaiter::new(sessions.len(), receiver),
            session,
            outlook: Outlook::of(sessions.len()),
            sessions,
            wake_up,
            votes_out: false,
            patience: None,
            lost_rounds: 0,
            failing: Nodes::new(),
            servers_differ: false,
            other_terms: None,
            other_ttl: None,
            processes: Arc::default(),
            votes: Arc::new(KnownVotes::none(config.quorums.clone(), times.ttl())),
            filling_in: None,
            clocks: Arc::default(),
            is_alone: false,
        }
    }

    /// Picks the node that notifies listeners of a vote; `None` where we couldn't win, and would keep those who listen from it.
    pub(crate) fn vote_teller(&self) -> Option<usize> {
        let able: Vec<usize> = self.heard().into_iter().filter(|node| !self.failing.contains(node)).collect();
        self.quorums.is_reached(&able.iter().copied().collect()).then(|| fastrand::choice(able)).flatten()
    }

    /// Returns the nodes that can be expected to answer.
    pub(super) fn heard(&self) -> Vec<usize> {
        self.nodes.iter().filter(|node| node.is_heard()).map(|node| node.index).collect()
    }

    /// Waits until another round could end differently. After a race the next round comes soon, after random delays
    /// that double, so that candidates who started together drift apart. After a token that was too small it comes at
    /// once.
    pub(crate) async fn wait_for_change(&mut self, not_acquired: &NotAcquired) {
        match not_acquired.reason {
            Reason::Stale if self.lost_rounds <= STALE_AT_ONCE => {}
            Reason::Stale | Reason::Tie => {
                // Candidates that are far from the nodes drift apart only by more than their requests take.
                let (shortest, retry_after) = (Duration::from_millis(1), self.times.retry_after());
                let round_trip = self.timer().round_trip().min(retry_after).max(shortest);
                let race = round_trip * (1 << self.lost_rounds.min(10));
                sleep(race.min(retry_after.max(4 * round_trip)).mul_f64(fastrand::f64())).await;
            }
            _ => {
                if !self.standby.listen(&self.nodes, &self.times).await {
                    let one = [not_acquired.free_in];
                    let free_in = if self.has_one_slot() { &one[..] } else { &self.outlook.free_in };
                    self.outlook.next = self.standby.wait(free_in, &self.times).await;
                }
            }
        }
    }

    /// Waits until a node shows that somebody else may lead.
    pub(crate) async fn doubt(&self) {
        self.votes.doubt().await;
    }

    /// Extends the lease once. May leave a note on the nodes.
    pub(crate) async fn extend(&self, note: Option<&Note>) -> ExtendOutcome {
        // A command that has ended may still leave its note.
        let other = self.votes.other_list().filter(|_| note.is_none());
        if let Some(Reason::OtherList(other)) = other.map(|other| self.reason_of(other)) {
            return ExtendOutcome::Lost(BackendFailure::OtherList(other));
        }
        self.report_bare_quorum();
        let mut round = self.ask_to_extend(note);
        round.decide(&self.quorums, ExtendReply::is_vote).await;
        match outcome::extension(&self.quorums, round.replies()) {
            VoteResult::Won => {
                round.take_ready();
                // A quorum knows of a request to step down, but not each of its nodes must be of ours.
                round.take_while(|replies| outcome::may_be_asked_to_step_down(&self.quorums, replies)).await;
            }
            // The operator should learn as much as possible about each node. The guard keeps the deadline meanwhile.
            VoteResult::Lost | VoteResult::Pending => round.wait_for_late().await,
        }
        self.report_restored(round.replies());
        let until = self.times.lease_end(round.sent());
        round.replies().iter().for_each(|reply| self.votes.hear_extended(reply, until));
        let failure =
            || BackendFailure::Shortfall(shortfall::of_extensions(&self.nodes, &self.quorums, round.replies()));
        match outcome::extension(&self.quorums, round.replies()) {
            VoteResult::Won => {
                self.overtake(round.replies());
                let deadlines = Some(self.times.deadlines(round.sent()));
                let step_down = outcome::is_asked_to_step_down(&self.quorums, round.replies());
                self.hear_late(round, until);
                let release_key = ReleaseKey::Nodes(self.session.key());
                ExtendOutcome::Extended { deadlines, release_key, step_down }
            }
            // Where the votes that we know of are still a quorum, another try may succeed.
            VoteResult::Pending if self.votes.is_quorum(Moment::now()) => {
                self.overtake(round.replies());
                let failed = ExtendOutcome::Failed(failure());
                self.hear_late(round, until);
                failed
            }
            VoteResult::Lost | VoteResult::Pending => ExtendOutcome::Lost(failure()),
        }
    }

    fn ask_to_extend(&self, note: Option<&Note>) -> Round<ExtendReply> {
        let note = note.map(|note| (note.clone(), Moment::now() + note.lasts));
        Round::ask(&self.nodes, |node| {
            let (extension, note) = (self.extension(node), note.clone());
            async move { extension.ask(note).await }
        })
    }

    pub(super) fn extension(&self, node: &Arc<Node>) -> Extension {
        let (session, clocks, votes) = (self.session.clone(), self.clocks.clone(), self.votes.clone());
        Extension { node: node.clone(), session, clocks, votes, times: self.times, processes: self.processes.clone() }
    }

    /// Returns the id of a node's server process if we have known that for the startup grace.
    pub(super) fn process_of(&self, node: &Node) -> Option<String> {
        self.processes.known_for(node.index, self.times.startup_grace(), Moment::now())
    }

    /// Takes in what the nodes still answer to an extension. A vote lasts until this moment.
    fn hear_late(&self, round: Round<ExtendReply>, until: Moment) {
        let votes = self.votes.clone();
        spawn(round.into_late().for_each(move |reply| {
            votes.hear_extended(&reply, until);
            std::future::ready(())
        }));
    }

    /// Raises our token above those that have been granted meanwhile. That of a lost lease stays below those of later leaders: nothing
    /// of it may follow their ends.
    fn overtake(&self, replies: &[NodeReply<ExtendReply>]) {
        for reply in outcome::answers(replies) {
            if let ExtendReply::Overtaken { fence } = reply {
                self.session.overtake(*fence, wall_micros());
            }
        }
    }

    /// Reports nodes that had lost the lock.
    fn report_restored(&self, replies: &[NodeReply<ExtendReply>]) {
        for node in outcome::nodes_that(replies, |reply| matches!(reply, ExtendReply::Restored { .. })) {
            let node = &self.nodes[node].address;
            self.report.info(Event::Restored, format_args!("{node} had lost the lock and has it again"));
        }
    }

    /// Reports once that one more failure would lose the lease.
    fn report_bare_quorum(&self) {
        let Some(missing) = self.votes.newly_missing(Moment::now()) else { return };
        let (nodes, held) = (self.nodes.len(), self.nodes.len() - missing.len());
        let without = self.nodes.iter().filter(|node| missing.contains(&node.index));
        let without: Vec<String> = without.map(|node| node.address.to_string()).collect();
        let without = without.join(", ");
        let message = format_args!("the lease stands on {held} of {nodes} nodes, a bare quorum, without {without}");
        self.report.info(Event::BareQuorum, message);
    }
}
