//! Several slots: which one to campaign for, and what a standby knows of all of them. One round looks at them all, so that
//! standing by for many costs what it costs for one.

use std::time::Duration;

use super::{
    lock::Redlock,
    net::failure::Failure,
    outcome::{self, LostRound, NodeReply},
    round::Round,
    scripts::{AcquireReply, Answer, Holding, SurveyReply},
    shortfall,
    standby::TakeoverTimer,
};
use crate::{
    clock::{Moment, wall_micros},
    lease::FencingToken,
    lock::{AcquireOutcome, NotAcquired, Reason, ReleaseProof},
    once_per::Failures,
};

/// What a look at all slots has found.
#[derive(Default)]
struct Found {
    /// The slots that look free, by their index.
    free: Vec<usize>,
    /// Those who lead in the others.
    holders: Vec<String>,
    /// In some slot, several candidates have votes, and none has won.
    contested: bool,
}

impl Redlock {
    /// Campaigns for the only slot, or for one after another that looks free until one is won or none is left.
    pub(crate) async fn acquire(&mut self) -> AcquireOutcome {
        if self.has_one_slot() {
            return self.campaign().await;
        }
        let mut lost = None;
        // Each slot that looked free and turns out to be taken has a new leader. Whoever loses more races than there are
        // slots pauses.
        for _ in 0..=self.sessions.len() {
            let slot = match self.outlook.next.take() {
                Some(slot) => slot,
                None => match self.find_free().await {
                    Ok(slot) => slot,
                    Err(not_acquired) => return AcquireOutcome::NotAcquired(not_acquired),
                },
            };
            self.session = self.sessions[slot].clone();
            let not_acquired = match self.campaign().await {
                AcquireOutcome::Acquired(lease) => return AcquireOutcome::Acquired(lease),
                AcquireOutcome::NotAcquired(not_acquired) => not_acquired,
            };
            if !not_acquired.reason.is_led() {
                // Others stay away from a slot in which they have seen a vote of ours.
                self.outlook.next = not_acquired.reason.is_race().then_some(slot);
                self.outlook.free_in.fill(not_acquired.free_in);
                return AcquireOutcome::NotAcquired(not_acquired);
            }
            lost = not_acquired.free_in;
        }
        AcquireOutcome::NotAcquired(NotAcquired { reason: Reason::Tie, free_in: lost })
    }

    /// Looks at all slots. Returns the index of one that looks free.
    async fn find_free(&mut self) -> Result<usize, NotAcquired> {
        self.standby.catch_up(&self.times);
        let mut round = Round::ask_for_votes(
            &self.nodes,
            |node| self.session.keys(&node.address).survey(),
            |vote| SurveyReply::read(vote.answer).ok_or(Failure::StrangeAnswer),
        );
        let quorums = self.quorums.clone();
        let is_wanted =
            |replies: &[NodeReply<SurveyReply>]| !quorums.is_reached(&outcome::nodes_that(replies, |_| true));
        self.in_time(round.take_while(is_wanted)).await;
        round.wait_for_late().await;
        let (sent, took) = (round.sent(), Moment::now().since(round.sent()));
        let replies = round.end();
        // A look only reads: that a node answers it doesn't say that it votes.
        self.failing.extend(outcome::failing(&replies));
        let mut found = Found::default();
        for slot in 0..self.sessions.len() {
            let replies = about_slot(slot, &replies, self.standby.timers[slot].freed());
            self.learn_of(slot, &replies, took);
            self.report_other_ttl(&replies);
            match outcome::campaign(&self.quorums, self.session.slot().of, &replies, &self.times, sent, sent) {
                // Nothing is granted by a look.
                Ok(_) | Err(LostRound::Decided(Reason::Stale)) => found.free.push(slot),
                Err(LostRound::Decided(Reason::Taken(leader))) => {
                    found.holders.push(leader.map_or_else(|| "another".into(), |leader| leader.holder));
                }
                Err(LostRound::Decided(Reason::Kept { holder })) => found.holders.push(holder),
                Err(LostRound::Decided(_) | LostRound::StartupGrace) => found.contested = true,
                Err(LostRound::OtherTerms(other)) => {
                    let pause = self.times.ttl().mul_f64(fastrand::f64());
                    self.outlook.free_in.fill(Some(pause));
                    return Err(NotAcquired { reason: self.reason_of(other), free_in: Some(pause) });
                }
                Err(LostRound::NoQuorum) => {
                    let reason = Reason::NoQuorum(shortfall::of_votes(&self.nodes, &self.quorums, &replies));
                    let free_in = self.outlook.free_in[slot];
                    self.outlook.free_in.fill(free_in);
                    return Err(NotAcquired { reason, free_in });
                }
            }
        }
        self.choose(found)
    }

    /// Takes note of what a look says of one slot.
    fn learn_of(&mut self, slot: usize, replies: &[NodeReply<AcquireReply>], took: Duration) {
        if let Some(fence) = outcome::fence_to_pass(&self.quorums, replies, wall_micros()) {
            self.sessions[slot].see(fence);
        }
        self.standby.timers[slot].learn(took, outcome::listeners(&self.quorums, replies));
        let free_in = outcome::free_in(self.nodes.len(), replies, &self.times, fastrand::f64());
        self.outlook.free_in[slot] = self.quorums.reached_at(|node| free_in[node]);
    }

    /// Chooses at random among the slots that look free.
    fn choose(&mut self, found: Found) -> Result<usize, NotAcquired> {
        if let Some(slot) = fastrand::choice(found.free) {
            return Ok(slot);
        }
        self.lost_rounds = if found.contested { self.lost_rounds.saturating_add(1) } else { 0 };
        let reason = if found.contested { Reason::Tie } else { Reason::AllSlotsTaken(found.holders) };
        Err(NotAcquired { reason, free_in: self.outlook.free_in.iter().flatten().min().copied() })
    }

    pub(super) fn has_one_slot(&self) -> bool {
        self.sessions.len() == 1
    }

    /// Returns the timer of the present slot.
    pub(super) fn timer(&self) -> &TakeoverTimer {
        &self.standby.timers[self.present()]
    }

    pub(super) fn timer_mut(&mut self) -> &mut TakeoverTimer {
        let present = self.present();
        &mut self.standby.timers[present]
    }

    /// Returns the index of the present slot. A guard that releases for its elector knows one slot alone.
    fn present(&self) -> usize {
        if self.has_one_slot() { 0 } else { usize::from(self.session.slot().number) - 1 }
    }
}

/// Returns what a look says of one slot, in the form of answers to a campaign in which no node votes. `freed`: proves that the
/// slot was released, which a node may not know yet.
fn about_slot(
    slot: usize,
    replies: &[NodeReply<SurveyReply>],
    freed: Option<&ReleaseProof>,
) -> Vec<NodeReply<AcquireReply>> {
    let acquired = |survey: &SurveyReply| {
        let (holding, fence) = survey.slots.get(slot).cloned().unwrap_or((None, FencingToken::ZERO));
        // Under the name of the resource is the value of someone with as many slots, or of someone whom we stay away from.
        let others = survey.name.clone().filter(|name| usize::from(name.value.slots()) != survey.slots.len());
        let held = others.or(holding).filter(|held| !freed.is_some_and(|proof| held.value.is_released_by(proof)));
        let answer = held.map_or(Answer::Stale, |Holding { value, left }| {
            let listeners = survey.listeners;
            Answer::Held { value, left, listeners }
        });
        AcquireReply { run_id: String::new(), fence, failures: Failures::default(), time: None, answer }
    };
    let reply = |reply: &NodeReply<SurveyReply>| NodeReply {
        node: reply.node,
        answer: reply.answer.as_ref().map(acquired).map_err(Clone::clone),
    };
    replies.iter().map(reply).collect()
}
