//! What may happen next in the model.

use std::time::Duration;

use super::{
    decisions::{Ask, Decision, Decisions, Extended, LOCK, Shows},
    nodes::{AnswerId, Heard, Nodes},
    state::{Body, Budget, Message, Node, Phase, Purpose, State},
};
use crate::{
    lease::{Times, VoteResult, quorum},
    redlock::ExtendReply,
};

/// How far the second candidate's wall clock is behind.
const BEHIND: Duration = Duration::from_secs(2);

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Tick,
    Campaign(usize, Shows),
    /// A candidate, and the nodes whose answers have arrived, as bits.
    Decide(usize, u8),
    Extend(usize),
    DecideExtension(usize, u8),
    Release(usize),
    /// A node, and the number of a message there.
    Arrive(usize, usize),
    Restart(usize),
    Save(usize),
    Revert(usize),
}

/// What a leader asks of a node where it lacks a vote.
pub enum Follows {
    Extension,
    /// An extension that exceeds this token.
    LargerToken(u64),
}

/// The rules by which one moment follows another.
pub struct Model {
    pub nodes: Nodes,
    pub decisions: Decisions,
    budget: Budget,
}

impl Model {
    pub fn new(times: Times, nodes: usize, budget: Budget) -> Self {
        Model { nodes: Nodes::new(times), decisions: Decisions::new(times, nodes), budget }
    }

    /// Returns the first moment.
    pub fn first(&mut self) -> State {
        State::first(self.decisions.quorums.nodes().len(), self.nodes.empty(None), self.budget)
    }

    /// Returns all that may happen.
    pub fn possible(&mut self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        if !state.is_open() {
            return steps;
        }
        for candidate in 0..2 {
            let Budget { releases, forgeries, .. } = state.left;
            let ours = &state.candidates[candidate];
            match ours.phase {
                Phase::Idle if ours.campaigns > 0 => {
                    steps.push(Step::Campaign(candidate, Shows::Nothing));
                    if state.candidates[1 - candidate].shown {
                        steps.push(Step::Campaign(candidate, Shows::Proof));
                    }
                    if forgeries > 0 {
                        steps.push(Step::Campaign(candidate, Shows::Hash));
                    }
                }
                Phase::Campaigns { sent } => {
                    let decides = |arrived: &u8| self.decide(state, candidate, *arrived, sent).is_some();
                    steps.extend(
                        arrivals(state, candidate).filter(decides).map(|arrived| Step::Decide(candidate, arrived)),
                    );
                }
                Phase::Leads { extends: None, .. } if ours.extensions > 0 => steps.push(Step::Extend(candidate)),
                Phase::Leads { extends: Some(sent), .. } => {
                    let decides = |arrived: &u8| self.decide_extension(state, candidate, *arrived, sent).is_some();
                    steps.extend(
                        arrivals(state, candidate)
                            .filter(decides)
                            .map(|arrived| Step::DecideExtension(candidate, arrived)),
                    );
                }
                _ => {}
            }
            if matches!(ours.phase, Phase::Leads { .. }) && releases > 0 {
                steps.push(Step::Release(candidate));
            }
        }
        for (index, node) in state.nodes.iter().enumerate() {
            for (number, message) in node.messages.iter().enumerate() {
                if number == 0 || node.messages[number - 1] != *message {
                    steps.push(Step::Arrive(index, number));
                }
            }
            if state.left.restarts > 0 {
                steps.push(Step::Restart(index));
            }
            if state.left.reverts > 0 {
                steps.push(if node.saved.is_some() { Step::Revert(index) } else { Step::Save(index) });
            }
        }
        if state.left.ticks > 0 {
            steps.push(Step::Tick);
        }
        steps
    }

    /// Returns the moment after a step.
    ///
    /// # Errors
    /// What must not be.
    pub fn after(&mut self, before: &State, step: Step) -> Result<State, String> {
        let mut state = before.clone();
        match step {
            Step::Tick => self.tick(&mut state),
            Step::Campaign(candidate, shows) => self.campaign(&mut state, candidate, shows),
            Step::Decide(candidate, arrived) => self.end_campaign(&mut state, candidate, arrived)?,
            Step::Extend(candidate) => {
                let ours = &mut state.candidates[candidate];
                ours.extensions -= 1;
                if let Phase::Leads { extends, .. } = &mut ours.phase {
                    *extends = Some(state.now);
                }
                (0..state.nodes.len()).for_each(|node| self.extend(&mut state, node, candidate, Purpose::Counts));
            }
            Step::DecideExtension(candidate, arrived) => self.end_extension(&mut state, candidate, arrived),
            Step::Release(candidate) => {
                state.left.releases -= 1;
                self.release(&mut state, candidate);
            }
            Step::Arrive(node, number) => self.arrive(&mut state, node, number),
            Step::Restart(node) => {
                state.left.restarts -= 1;
                state.nodes[node].server = self.nodes.empty(Some(state.now));
            }
            Step::Save(node) => state.nodes[node].saved = Some(state.nodes[node].server),
            Step::Revert(node) => {
                state.left.reverts -= 1;
                if let Some(saved) = state.nodes[node].saved {
                    state.nodes[node].server = self.nodes.started_with(saved, state.now);
                }
            }
        }
        self.forget(&mut state);
        state.sort();
        Ok(state)
    }

    fn tick(&self, state: &mut State) {
        state.left.ticks -= 1;
        state.now += 1;
        for candidate in 0..2 {
            if let Phase::Leads { lease, .. } = state.candidates[candidate].phase
                && !self.decisions.lasts(lease, state.now)
            {
                // Its guard has killed the command. What it then releases is a release like any other.
                state.end(candidate);
            }
        }
    }

    fn wall(&mut self, candidate: usize, now: u8) -> Duration {
        self.nodes.wall(now) - BEHIND * candidate as u32
    }

    fn ask_all(&mut self, state: &mut State, candidate: usize, purpose: Purpose, ask: Ask) {
        let token = state.candidates[candidate].token;
        let request = self.decisions.request(&mut self.nodes, candidate, ask, token);
        (0..state.nodes.len()).for_each(|node| state.send(node, candidate, purpose, request));
    }

    fn campaign(&mut self, state: &mut State, candidate: usize, shows: Shows) {
        if shows == Shows::Hash {
            state.left.forgeries -= 1;
        }
        let wall = self.wall(candidate, state.now);
        let ours = &mut state.candidates[candidate];
        ours.campaigns -= 1;
        ours.token = self.decisions.next_token(candidate, wall, ours.largest_seen);
        ours.largest_seen = ours.largest_seen.max(ours.token);
        ours.phase = Phase::Campaigns { sent: state.now };
        self.ask_all(state, candidate, Purpose::Counts, Ask::Vote(shows));
    }

    fn decide(&mut self, state: &State, candidate: usize, arrived: u8, sent: u8) -> Option<Decision> {
        self.decisions.campaign(&self.nodes, (heard(state, candidate, arrived), sent, state.now))
    }

    fn decide_extension(&mut self, state: &State, candidate: usize, arrived: u8, sent: u8) -> Option<Extended> {
        self.decisions.extension(&self.nodes, (heard(state, candidate, arrived), sent, state.now))
    }

    fn end_campaign(&mut self, state: &mut State, candidate: usize, arrived: u8) -> Result<(), String> {
        let Phase::Campaigns { sent } = state.candidates[candidate].phase else { return Ok(()) };
        let Some(decision) = self.decide(state, candidate, arrived, sent) else { return Ok(()) };
        let ours = &mut state.candidates[candidate];
        ours.largest_seen = ours.largest_seen.max(decision.fence.unwrap_or_default());
        if decision.won {
            return self.win(state, candidate, arrived, sent);
        }
        if decision.taken && self.is_first_race(state, sent) && !self.may_lead(state, 1 - candidate) {
            return Err(format!("candidate {candidate} takes a tie for the leadership of the other"));
        }
        let may_have_voted: Vec<bool> =
            heard(state, candidate, arrived).into_iter().map(|answer| self.is_no_refusal(answer)).collect();
        let token = state.candidates[candidate].token;
        let request = self.decisions.request(&mut self.nodes, candidate, Ask::Withdraw, token);
        state.end_round(candidate, Purpose::Nothing);
        state.candidates[candidate].phase = Phase::Idle;
        if state.candidates[candidate].campaigns == 0 {
            state.end(candidate);
        }
        for (node, _) in may_have_voted.iter().enumerate().filter(|(_, may)| **may) {
            state.send(node, candidate, Purpose::Nothing, request);
        }
        Ok(())
    }

    fn is_no_refusal(&self, heard: Option<u16>) -> bool {
        heard.is_none_or(|answer| self.is_vote(answer))
    }

    fn is_vote(&self, answer: u16) -> bool {
        match self.nodes.heard(answer) {
            Heard::Acquire(reply) => reply.is_vote(),
            Heard::Extend(reply) => reply.is_vote(),
            Heard::Nothing => false,
        }
    }

    fn win(&mut self, state: &mut State, candidate: usize, arrived: u8, sent: u8) -> Result<(), String> {
        let token = state.candidates[candidate].token;
        if let Phase::Leads { .. } = state.candidates[1 - candidate].phase {
            return Err(format!("candidate {candidate} leads beside the other"));
        }
        if token <= state.largest {
            return Err(format!("candidate {candidate} leads with token {token} after {}", state.largest));
        }
        state.largest = token;
        state.candidates[candidate].phase = Phase::Leads { lease: sent, extends: None };
        for (node, answer) in state.end_round(candidate, Purpose::FillsIn).into_iter().enumerate() {
            match answer {
                Some(answer) if self.is_vote(answer) => state.nodes[node].voted[candidate] = Some(sent),
                Some(answer) if arrived & 1 << node == 0 => state.answer(node, candidate, answer),
                Some(_) => self.extend(state, node, candidate, Purpose::FillsIn),
                None => {}
            }
        }
        Ok(())
    }

    /// Returns whether both candidates are in their first round, and nothing has timed out or been lost.
    fn is_first_race(&self, state: &State, sent: u8) -> bool {
        let is_first = state.candidates.iter().all(|ours| ours.campaigns + 1 == self.budget.campaigns);
        let Budget { restarts, reverts, .. } = self.budget;
        is_first && sent == state.now && (state.left.restarts, state.left.reverts) == (restarts, reverts)
    }

    /// Returns whether a candidate leads, or may still win its first round.
    fn may_lead(&mut self, state: &State, candidate: usize) -> bool {
        let Phase::Campaigns { .. } = state.candidates[candidate].phase else { return true };
        let value = self.decisions.value(candidate).as_str();
        let votes = state.nodes.iter().filter(|node| {
            let asked = |message: &Message| {
                usize::from(message.candidate) == candidate
                    && message.purpose == Purpose::Counts
                    && matches!(message.body, Body::Request(_))
            };
            self.nodes.has_lock(node.server, LOCK.as_bytes(), value) || node.messages.iter().any(asked)
        });
        votes.count() >= quorum(state.nodes.len())
    }

    fn end_extension(&mut self, state: &mut State, candidate: usize, arrived: u8) {
        let Phase::Leads { extends: Some(sent), lease } = state.candidates[candidate].phase else { return };
        let Some(extended) = self.decide_extension(state, candidate, arrived, sent) else { return };
        state.end_round(candidate, Purpose::Nothing);
        extended.overtaken.iter().for_each(|fence| self.overtake(state, candidate, *fence));
        let lease = if extended.result == VoteResult::Won { sent } else { lease };
        state.candidates[candidate].phase = Phase::Leads { lease, extends: None };
        if extended.result == VoteResult::Lost {
            if state.left.releases > 0 {
                state.left.releases -= 1;
                self.release(state, candidate);
            } else {
                state.end(candidate);
            }
        }
    }

    fn overtake(&mut self, state: &mut State, candidate: usize, fence: u64) {
        let wall = self.wall(candidate, state.now);
        let ours = &mut state.candidates[candidate];
        ours.token = self.decisions.overtakes(candidate, ours.token, fence, wall);
        ours.largest_seen = ours.largest_seen.max(ours.token);
    }

    /// The command has ended; its lease is given back.
    fn release(&mut self, state: &mut State, candidate: usize) {
        state.candidates[candidate].shown = true;
        self.ask_all(state, candidate, Purpose::Nothing, Ask::Release);
        state.end(candidate);
    }

    fn arrive(&mut self, state: &mut State, index: usize, number: usize) {
        let message = state.nodes[index].messages.remove(number);
        let candidate = usize::from(message.candidate);
        let answer = match message.body {
            Body::Answer(answer) => answer,
            Body::Request(request) => {
                let node = &mut state.nodes[index];
                // It is heard at once, or later, when fewer votes last.
                let is_known = |cast: u8| self.decisions.is_vote_known(cast, state.now);
                let lasts = node.voted[candidate].is_some_and(is_known);
                let (server, answer) = self.nodes.execute(node.server, state.now, request, lasts);
                node.server = server;
                if matches!(state.candidates[candidate].phase, Phase::Leads { .. }) && self.is_vote(answer) {
                    node.voted[candidate] = Some(state.now);
                }
                match message.purpose {
                    Purpose::Counts => node.answers[candidate] = Some(answer),
                    Purpose::FillsIn => state.answer(index, candidate, answer),
                    Purpose::Nothing => {}
                }
                return;
            }
        };
        let Some(followed) = self.follows(answer) else { return };
        let purpose = match followed {
            Follows::Extension => Purpose::FillsIn,
            Follows::LargerToken(fence) => {
                self.overtake(state, candidate, fence);
                Purpose::Nothing
            }
        };
        self.extend(state, index, candidate, purpose);
    }

    /// Asks a node to extend a leader's lease.
    fn extend(&mut self, state: &mut State, node: usize, candidate: usize, purpose: Purpose) {
        let voted = state.nodes[node].voted[candidate];
        let token = state.candidates[candidate].token;
        let request = self.decisions.request(&mut self.nodes, candidate, Ask::Extend { voted }, token);
        state.send(node, candidate, purpose, request);
    }

    /// Returns what a leader does once a node where it lacks a vote has answered.
    pub fn follows(&self, answer: AnswerId) -> Option<Follows> {
        match self.nodes.heard(answer) {
            Heard::Acquire(reply) if !reply.is_vote() => Some(Follows::Extension),
            Heard::Extend(ExtendReply::Overtaken { fence }) => Some(Follows::LargerToken(fence.get())),
            _ => None,
        }
    }
}

/// Returns which answers to a candidate's present round may have arrived, as bits.
fn arrivals(state: &State, candidate: usize) -> impl Iterator<Item = u8> + use<> {
    let bit = |(index, node): (usize, &Node)| u8::from(node.answers[candidate].is_some()) << index;
    let all: u8 = state.nodes.iter().enumerate().map(bit).sum();
    (0..=all).filter(move |arrived| arrived & !all == 0)
}

/// Returns the answers that have arrived, by node.
fn heard(state: &State, candidate: usize, arrived: u8) -> Vec<Option<AnswerId>> {
    let heard = |(index, node): (usize, &Node)| node.answers[candidate].filter(|_| arrived & 1 << index != 0);
    state.nodes.iter().enumerate().map(heard).collect()
}
