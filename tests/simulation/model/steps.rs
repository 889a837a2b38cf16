//! What may happen next in the model.

use std::time::Duration;

use super::{
    decisions::{Ask, Decision, Decisions, Extended, LOCK, Shows},
    nodes::{Heard, Nodes},
    state::{Body, Budget, Message, Phase, Purpose, State},
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
    Decide(usize),
    Extend(usize),
    DecideExtension(usize),
    Release(usize),
    /// A node, and the number of a message there.
    Arrive(usize, usize),
    Restart(usize),
}

/// The rules by which one moment follows another.
pub struct Model {
    nodes: Nodes,
    decisions: Decisions,
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
                Phase::Campaigns { sent } if self.decide(state, candidate, sent).is_some() => {
                    steps.push(Step::Decide(candidate));
                }
                Phase::Leads { extends: None, .. } if ours.extensions > 0 => steps.push(Step::Extend(candidate)),
                Phase::Leads { extends: Some(sent), .. } if self.decide_extension(state, candidate, sent).is_some() => {
                    steps.push(Step::DecideExtension(candidate));
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
            Step::Decide(candidate) => self.end_campaign(&mut state, candidate)?,
            Step::Extend(candidate) => {
                let ours = &mut state.candidates[candidate];
                ours.extensions -= 1;
                if let Phase::Leads { extends, .. } = &mut ours.phase {
                    *extends = Some(state.now);
                }
                self.ask_all(&mut state, candidate, Purpose::Counts, Ask::Extend);
            }
            Step::DecideExtension(candidate) => self.end_extension(&mut state, candidate),
            Step::Release(candidate) => {
                state.left.releases -= 1;
                self.release(&mut state, candidate);
            }
            Step::Arrive(node, number) => self.arrive(&mut state, node, number),
            Step::Restart(node) => {
                state.left.restarts -= 1;
                state.nodes[node].server = self.nodes.empty(Some(state.now));
            }
        }
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

    fn decide(&mut self, state: &State, candidate: usize, sent: u8) -> Option<Decision> {
        let heard = state.nodes.iter().map(|node| node.heard[candidate]).collect();
        self.decisions.campaign(&self.nodes, (heard, sent, state.now))
    }

    fn decide_extension(&mut self, state: &State, candidate: usize, sent: u8) -> Option<Extended> {
        let heard = state.nodes.iter().map(|node| node.heard[candidate]).collect();
        self.decisions.extension(&self.nodes, (heard, sent, state.now))
    }

    fn end_campaign(&mut self, state: &mut State, candidate: usize) -> Result<(), String> {
        let Phase::Campaigns { sent } = state.candidates[candidate].phase else { return Ok(()) };
        let Some(decision) = self.decide(state, candidate, sent) else { return Ok(()) };
        let ours = &mut state.candidates[candidate];
        ours.largest_seen = ours.largest_seen.max(decision.fence.unwrap_or_default());
        if decision.won {
            return self.win(state, candidate, sent);
        }
        if decision.taken && self.is_first_race(state, sent) && !self.may_lead(state, 1 - candidate) {
            return Err(format!("candidate {candidate} takes a tie for the leadership of the other"));
        }
        let may_have_voted: Vec<bool> =
            state.nodes.iter().map(|node| self.is_no_refusal(node.heard[candidate])).collect();
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
        matches!(self.nodes.heard(answer), Heard::Acquire(reply) if reply.is_vote())
    }

    fn win(&mut self, state: &mut State, candidate: usize, sent: u8) -> Result<(), String> {
        let token = state.candidates[candidate].token;
        if let Phase::Leads { .. } = state.candidates[1 - candidate].phase {
            return Err(format!("candidate {candidate} leads beside the other"));
        }
        if token <= state.largest {
            return Err(format!("candidate {candidate} leads with token {token} after {}", state.largest));
        }
        state.largest = token;
        state.candidates[candidate].phase = Phase::Leads { lease: sent, extends: None };
        let request = self.decisions.request(&mut self.nodes, candidate, Ask::Extend, token);
        let refused: Vec<usize> = (0..state.nodes.len())
            .filter(|&node| state.nodes[node].heard[candidate].is_some_and(|answer| !self.is_vote(answer)))
            .collect();
        state.end_round(candidate, Purpose::FillsIn);
        refused.into_iter().for_each(|node| state.send(node, candidate, Purpose::FillsIn, request));
        Ok(())
    }

    /// Returns whether both candidates are in their first round, and nothing has timed out or been lost.
    fn is_first_race(&self, state: &State, sent: u8) -> bool {
        let is_first = state.candidates.iter().all(|ours| ours.campaigns + 1 == self.budget.campaigns);
        is_first && sent == state.now && state.left.restarts == self.budget.restarts
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

    fn end_extension(&mut self, state: &mut State, candidate: usize) {
        let Phase::Leads { extends: Some(sent), lease } = state.candidates[candidate].phase else { return };
        let Some(extended) = self.decide_extension(state, candidate, sent) else { return };
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
            Body::Request(request) => {
                let node = &mut state.nodes[index];
                let (server, answer) = self.nodes.execute(node.server, state.now, request);
                node.server = server;
                if message.purpose != Purpose::Nothing {
                    node.messages.push(Message { body: Body::Answer(answer), ..message });
                }
                return;
            }
            Body::Answer(answer) => answer,
        };
        if message.purpose == Purpose::Counts {
            state.nodes[index].heard[candidate] = Some(answer);
            return;
        }
        let overtaken = match self.nodes.heard(answer) {
            Heard::Acquire(reply) if !reply.is_vote() => None,
            Heard::Extend(ExtendReply::Overtaken { fence }) => Some(fence.get()),
            _ => return,
        };
        let purpose = if overtaken.is_some() { Purpose::Nothing } else { Purpose::FillsIn };
        overtaken.into_iter().for_each(|fence| self.overtake(state, candidate, fence));
        let token = state.candidates[candidate].token;
        let request = self.decisions.request(&mut self.nodes, candidate, Ask::Extend, token);
        state.send(index, candidate, purpose, request);
    }
}
