//! A campaign round: asks all nodes for their votes, and gives them back if it is lost.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use humantime::format_duration;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    lock::Redlock,
    net::node::Node,
    outcome::{self, LostRound, NodeReply, OtherTerms, Theirs},
    round::{Round, ask_one},
    scripts::{self, AcquireReply, Answer, Audience, RunTimes, Settled, Tell},
    shortfall,
};
use crate::{
    clock::{Moment, wall_micros},
    event::Event,
    host::spawn,
    lease::FencingToken,
    lock::{AcquireOutcome, Lease, NotAcquired, OtherServers, Reason, ReleaseKey, ReleaseOptions},
    once_per::Failures,
};

/// How long the first round waits for nodes that it doesn't need, to see that no two of them are one server.
const SERVERS_COMPARED_WITHIN: Duration = Duration::from_millis(250);

/// How long a round waits at least for answers, however short `--wait` is.
const ANSWERS_WAITED_FOR: Duration = Duration::from_secs(1);

/// How long a round waits at least for every node that may know of a success.
const WITNESSES_ANSWER_WITHIN: Duration = Duration::from_millis(250);

impl Redlock {
    /// Campaigns once, for the slot of the present session.
    pub(crate) async fn campaign(&mut self) -> AcquireOutcome {
        self.votes_out = true;
        self.standby.catch_up(&self.times);
        self.clocks.begin();
        let token = self.session.next_token(wall_micros());
        let teller = self.vote_teller();
        let mut round = self.ask_for_votes(teller);
        self.in_time(async {
            round.decide(&self.quorums, AcquireReply::is_vote).await;
            round.take_while(|replies| outcome::may_be_tie(&self.quorums, replies)).await;
        })
        .await;
        if self.session.once_per().is_some() {
            // Only one node may know of a success, which is worth waiting for slow ones.
            round.wait(self.times.answer_timeout().max(WITNESSES_ANSWER_WITHIN)).await;
        }
        if outcome::is_granted(&self.quorums, round.replies()) {
            // One node may be all that the list of another leader has in common with ours.
            round.wait_for_late().await;
        }
        if let Some(twice) = self.compare_servers(&mut round).await {
            self.withdraw(&round.end());
            return AcquireOutcome::NotAcquired(NotAcquired { reason: twice, free_in: None });
        }
        let round_trip = Moment::now().since(round.sent());
        let mut decided = self.decide(&round);
        if matches!(decided, Err(LostRound::NoQuorum | LostRound::StartupGrace)) {
            // Nothing is urgent now, and the operator should learn as much as possible about each node. In a round that was ended
            // early, what is late may be a quorum.
            round.wait_for_late().await;
            decided = self.decide(&round);
        }
        self.learn(&round, round_trip);
        let other = if let Err(LostRound::OtherTerms(other)) = &decided { Some(other.clone()) } else { None };
        self.note_other_terms(other, round.replies());
        match (decided, &self.other_terms) {
            (Ok(_), Some((other, _))) => {
                let lost = LostRound::OtherTerms(other.clone());
                AcquireOutcome::NotAcquired(self.lose(round, teller, lost))
            }
            (Ok(failures), None) => AcquireOutcome::Acquired(self.win(round, token, teller, failures)),
            (Err(lost), _) => AcquireOutcome::NotAcquired(self.lose(round, teller, lost)),
        }
    }

    fn decide(&self, round: &Round<AcquireReply>) -> Result<Failures, LostRound> {
        let slots = self.session.slot().of;
        outcome::campaign(&self.quorums, slots, round.replies(), &self.times, round.sent(), Moment::now())
    }

    /// Waits for answers as long as we may, but for a moment at least: nodes that are well have answered then.
    pub(super) async fn in_time(&self, answers: impl Future<Output = ()>) {
        let least = Instant::now() + ANSWERS_WAITED_FOR;
        match self.patience {
            Some(patience) => _ = timeout_at(patience.max(least), answers).await,
            None => answers.await,
        }
    }

    /// Remembers a lock of an instance with another number of nodes or slots until its node says that it is gone or, if the node is
    /// silent, for a ttl.
    fn note_other_terms(&mut self, seen: Option<OtherTerms>, replies: &[NodeReply<AcquireReply>]) {
        let now = Moment::now();
        let is_over = |(other, until): &(OtherTerms, Moment)| {
            now >= *until || replies.iter().any(|reply| reply.node == other.node && reply.answer.is_ok())
        };
        if let Some(other) = seen {
            self.other_terms = Some((other, now + self.times.ttl()));
        } else if self.other_terms.as_ref().is_some_and(is_over) {
            self.other_terms = None;
        }
    }

    fn ask_for_votes(&self, teller: Option<usize>) -> Round<AcquireReply> {
        let freed = self.timer().freed();
        let startup_grace = self.times.startup_grace();
        let told = if self.timer().is_woken() { Tell::WokenWithUs { number: self.wake_up } } else { Tell::All };
        let cmd = |node: &Node| {
            let settled = self.process_of(node);
            let tell = if Some(node.index) == teller { told } else { Tell::Nobody };
            self.session.acquisition(&node.address, &self.times, tell, freed, settled)
        };
        // The vote of a new master can't count, and would only keep others from theirs. But what it knows does.
        let of_new_master = |node: &Node| (startup_grace, self.session.question(&node.address, &self.times, freed));
        Round::ask(&self.nodes, |node| {
            let asked = node.ask_for_vote_by_age(cmd(node), node.has_sentinels().then(|| of_new_master(node)));
            let session = self.session.clone();
            async move { asked.await.and_then(|vote| outcome::granted(vote, startup_grace, session.once_per())) }
        })
    }

    /// Looks for a server that is configured as two nodes, until each has answered once. Such a round also waits for
    /// slow nodes.
    async fn compare_servers(&mut self, round: &mut Round<AcquireReply>) -> Option<Reason> {
        if self.servers_differ {
            return None;
        }
        round.wait(self.times.answer_timeout().min(SERVERS_COMPARED_WITHIN)).await;
        if let Some([first, second]) = outcome::same_server(round.replies()) {
            let name = |node: usize| self.nodes[node].address.to_string();
            return Some(Reason::SameServerTwice { first: name(first), second: name(second) });
        }
        self.servers_differ = round.replies().iter().all(|reply| reply.answer.is_ok());
        None
    }

    /// Records what a round means for the next one: the fence to exceed, how long a round takes, and how many listen.
    fn learn(&mut self, round: &Round<AcquireReply>, round_trip: Duration) {
        if let Some(fence) = outcome::fence_to_pass(&self.quorums, round.replies(), wall_micros()) {
            self.session.see(fence);
        }
        self.failing = outcome::failing(round.replies());
        for NodeReply { node, answer } in round.replies() {
            if let Ok(acquired) = answer {
                self.processes.saw(*node, &acquired.run_id, Moment::now());
                self.clocks.hear(*node, acquired.time, round.sent());
            }
        }
        let listeners = outcome::listeners(&self.quorums, round.replies());
        self.timer_mut().learn(round_trip, listeners);
    }

    fn win(
        &mut self,
        round: Round<AcquireReply>,
        token: FencingToken,
        teller: Option<usize>,
        failures: Failures,
    ) -> Lease {
        self.standby.close(&self.nodes);
        self.session.lead(token);
        let sent = Some(round.sent());
        let until = self.times.lease_end(round.sent());
        round.replies().iter().for_each(|reply| self.votes.hear_acquired(reply, until));
        self.tell_of_vote(teller, round.replies());
        self.fill_in(round);
        let (slot, release_key) = (self.session.slot(), ReleaseKey::Nodes(self.session.key()));
        Lease { slot, token, sent, release_key, descriptors: Vec::new(), failures }
    }

    fn lose(&mut self, round: Round<AcquireReply>, teller: Option<usize>, lost: LostRound) -> NotAcquired {
        let is_led = matches!(lost, LostRound::Decided(Reason::Taken(_) | Reason::Kept { .. }));
        self.lost_rounds = if is_led { 0 } else { self.lost_rounds.saturating_add(1) };
        let replies = round.end();
        self.withdraw(&replies);
        if matches!(lost, LostRound::NoQuorum) {
            self.tell_of_return(teller, &replies);
        }
        self.report_other_ttl(&replies);
        self.timer_mut().expect_own_vote(may_tell_of_us(teller, &replies));
        let reason = match lost {
            LostRound::Decided(Reason::Stale) => self.fence_ahead(&replies).unwrap_or(Reason::Stale),
            LostRound::Decided(reason) => reason,
            LostRound::OtherTerms(other) => self.reason_of(other),
            LostRound::NoQuorum => Reason::NoQuorum(shortfall::of_votes(&self.nodes, &self.quorums, &replies)),
            LostRound::StartupGrace => Reason::StartupGrace(shortfall::of_votes(&self.nodes, &self.quorums, &replies)),
        };
        let free_in = match reason {
            // Somebody has to mend it.
            Reason::FenceAhead { .. } => Some(self.times.extend_every()),
            // That a quorum of ours is free doesn't help. At random, since the other may be a candidate that we keep from
            // its votes as well.
            ref reason if reason.is_other_terms() => Some(self.times.ttl().mul_f64(fastrand::f64())),
            _ => {
                let mut free_in = outcome::free_in(self.nodes.len(), &replies, &self.times, fastrand::f64());
                // A node whose clock was set back may say more than it takes until we have known it for long enough.
                let (startup_grace, now) = (self.times.startup_grace(), Moment::now());
                for node in
                    outcome::nodes_that(&replies, |acquired| matches!(acquired.answer, Answer::StartupGrace { .. }))
                {
                    let known_in = self.processes.known_in(node, startup_grace, now).max(self.times.retry_after());
                    free_in[node] = free_in[node].map(|left| left.min(known_in));
                }
                self.quorums.reached_at(|node| free_in[node])
            }
        };
        NotAcquired { reason, free_in }
    }

    pub(super) fn reason_of(&self, OtherTerms { node, holder, theirs }: OtherTerms) -> Reason {
        let node = self.nodes[node].address.to_string();
        match theirs {
            Theirs::Lists(theirs) => {
                Reason::OtherList(OtherServers { node, holder, theirs, ours: self.quorums.sizes() })
            }
            Theirs::Slots(theirs) => Reason::OtherSlots { node, holder, theirs, ours: self.session.slot().of },
        }
    }

    /// Reports once that another instance has another ttl.
    pub(super) fn report_other_ttl(&mut self, replies: &[NodeReply<AcquireReply>]) {
        let ours = self.times.ttl();
        let Some((holder, theirs)) = outcome::other_ttl(replies, ours) else { return };
        if self.other_ttl.replace(theirs) != Some(theirs) {
            let (theirs, ours) = (format_duration(theirs), format_duration(ours));
            let message =
                format_args!("{holder} has --ttl {theirs}, but this instance {ours}; give all instances the same");
            self.report.info(Event::Warning, message);
        }
    }

    /// Returns why no token can be large enough, if that is so.
    fn fence_ahead(&self, replies: &[NodeReply<AcquireReply>]) -> Option<Reason> {
        let ahead = outcome::fence_ahead(&self.quorums, replies, wall_micros());
        let (node, fence) = ahead.filter(|_| !broken!("fence_ahead"))?;
        let address = &self.nodes[node].address;
        Some(Reason::FenceAhead { node: address.to_string(), key: self.session.keys(address).fence, fence })
    }

    /// Gives back the votes of a lost round, on every node that may have given one. The connections keep the order, so
    /// that the next round comes after it.
    fn withdraw(&mut self, replies: &[NodeReply<AcquireReply>]) {
        let refused = outcome::refused(replies);
        // Notifies nobody: only candidates could get these votes, and they look on their own.
        for node in self.nodes.iter().filter(|node| !refused.contains(&node.index)) {
            let cmd = self.session.release(
                &node.address,
                Audience::Nobody,
                ReleaseOptions::default(),
                RunTimes::default(),
                &Settled::default(),
            );
            spawn(ask_one(node, cmd, |answer| scripts::released(answer, true)));
        }
        self.votes_out = refused.len() < self.nodes.len();
    }

    /// Lets another voter notify listeners if the node that was to do so has not voted.
    fn tell_of_vote(&self, teller: Option<usize>, replies: &[NodeReply<AcquireReply>]) {
        let mut voters = replies.iter().filter(|reply| has_voted(reply)).map(|reply| reply.node);
        if !voters.clone().any(|voter| Some(voter) == teller)
            && let Some(other) = voters.next()
        {
            let other = &self.nodes[other];
            spawn(other.ask(self.session.tell_acquisition(&other.address, self.timer().freed())));
        }
    }

    /// Notifies those who have put their campaigns off for a vote of ours, after it was given back: they may reach a quorum.
    fn tell_of_return(&self, teller: Option<usize>, replies: &[NodeReply<AcquireReply>]) {
        if let Some(teller) = teller.filter(|_| may_tell_of_us(teller, replies)) {
            let teller = &self.nodes[teller];
            spawn(teller.ask(self.session.tell_return(&teller.address)));
        }
    }

    /// Extends a round that is won on the nodes that did not vote, so that the lease stands on all of them: otherwise
    /// one more failure could end a lease that looked healthy. Runs beside the leadership.
    fn fill_in(&mut self, round: Round<AcquireReply>) {
        if round.is_complete() && round.replies().iter().all(has_voted) {
            return;
        }
        let extensions: Vec<_> = self.nodes.iter().map(|node| Arc::new(self.extension(node))).collect();
        let (votes, until) = (self.votes.clone(), self.times.lease_end(round.sent()));
        // By then, each vote that others had before our election has ended.
        let votes_end = round.sent() + self.times.startup_grace();
        let fill = move |reply: NodeReply<AcquireReply>| {
            let (extension, votes) = (extensions[reply.node].clone(), votes.clone());
            async move {
                votes.hear_acquired(&reply, until);
                if !has_voted(&reply) {
                    extension.keep_asking(votes_end).await;
                }
            }
        };
        let (stop, stopped) = oneshot::channel();
        self.filling_in = Some(stop);
        spawn(async move {
            tokio::select! {
                biased;
                _ = stopped => {}
                () = round.into_stream().for_each_concurrent(None, fill) => {}
            }
        });
    }
}

/// Returns whether the node that tells listeners of a vote may have voted for us: it has, or isn't heard yet.
fn may_tell_of_us(teller: Option<usize>, replies: &[NodeReply<AcquireReply>]) -> bool {
    let is_tellers = |reply: &&NodeReply<AcquireReply>| Some(reply.node) == teller;
    teller.is_some() && replies.iter().find(is_tellers).is_none_or(has_voted)
}

fn has_voted(reply: &NodeReply<AcquireReply>) -> bool {
    reply.answer.as_ref().is_ok_and(AcquireReply::is_vote)
}
