//! What a moment of the model consists of.

use super::nodes::{AnswerId, NodeId, RequestId};

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// How many times each candidate campaigns, and how many times a leader extends.
    pub campaigns: u8,
    pub extensions: u8,
    /// How many half ttls pass.
    pub ticks: u8,
    pub releases: u8,
    /// Nodes that start again, empty.
    pub restarts: u8,
    /// Nodes that start again with what they had at some time before.
    pub reverts: u8,
    /// Campaigns that claim a release without its proof.
    pub forgeries: u8,
}

/// All that decides what may happen next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// In half ttls.
    pub now: u8,
    pub left: Budget,
    pub candidates: [Candidate; 2],
    /// Sorted: it doesn't matter which node is which.
    pub nodes: Vec<Node>,
    /// The largest token that a command was started with.
    pub largest: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub phase: Phase,
    pub campaigns: u8,
    pub extensions: u8,
    pub token: u64,
    pub largest_seen: u64,
    /// The proof of its release is known.
    pub shown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    Campaigns {
        sent: u8,
    },
    Leads {
        /// When the round was sent from which the lease counts.
        lease: u8,
        /// When the extension was sent that is under way.
        extends: Option<u8>,
    },
}

/// A node, and what is on its way to it or from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    pub server: NodeId,
    /// What it had when it was saved.
    pub saved: Option<NodeId>,
    pub messages: Vec<Message>,
    /// Its answers to the candidates' present rounds. Whether one has arrived shows when the round is decided.
    pub answers: [Option<AnswerId>; 2],
    /// When it voted last for each candidate, or earlier, while that may help it. A leader is taken to know that at once.
    pub voted: [Option<u8>; 2],
}

/// A message between a candidate and a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub candidate: u8,
    pub purpose: Purpose,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Body {
    Request(RequestId),
    Answer(AnswerId),
}

/// What an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Nobody waits for it.
    Nothing,
    /// It counts in the present round.
    Counts,
    /// The round is won; a node that has not voted is asked to take part.
    FillsIn,
}

impl State {
    /// Returns the first moment.
    pub fn first(nodes: usize, server: NodeId, left: Budget) -> Self {
        let candidate = Candidate::new(left.campaigns, left.extensions);
        State {
            now: 0,
            left,
            candidates: [candidate.clone(), candidate],
            nodes: vec![
                Node { server, saved: None, messages: Vec::new(), answers: [None; 2], voted: [None; 2] };
                nodes
            ],
            largest: 0,
        }
    }

    /// Puts all that has no order into one.
    pub fn sort(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.messages.sort_unstable());
        self.nodes.sort_unstable();
    }

    /// Sends requests to nodes.
    pub fn send(&mut self, node: usize, candidate: usize, purpose: Purpose, request: RequestId) {
        let message = Message { candidate: candidate as u8, purpose, body: Body::Request(request) };
        self.nodes[node].messages.push(message);
    }

    /// Lets an answer be on its way that no round waits for.
    pub fn answer(&mut self, node: usize, candidate: usize, answer: AnswerId) {
        let message = Message { candidate: candidate as u8, purpose: Purpose::FillsIn, body: Body::Answer(answer) };
        self.nodes[node].messages.push(message);
    }

    /// Ends a candidate's round. What is on its way to the nodes then serves another purpose. Returns their answers.
    pub fn end_round(&mut self, candidate: usize, then: Purpose) -> Vec<Option<AnswerId>> {
        for message in self.nodes.iter_mut().flat_map(|node| &mut node.messages) {
            if message.is_of(candidate) && message.purpose == Purpose::Counts {
                message.purpose = then;
            }
        }
        self.nodes.iter_mut().map(|node| node.answers[candidate].take()).collect()
    }

    /// Ends a candidate: nothing is left of its command, and it asks for nothing more. What it has sent stays on its way.
    pub fn end(&mut self, candidate: usize) {
        let ours = &mut self.candidates[candidate];
        *ours = Candidate { shown: ours.shown, ..Candidate::new(0, 0) };
        self.end_round(candidate, Purpose::Nothing);
        for node in &mut self.nodes {
            node.voted[candidate] = None;
            node.messages.retain(|message| !message.is_of(candidate) || matches!(message.body, Body::Request(_)));
            for message in node.messages.iter_mut().filter(|message| message.is_of(candidate)) {
                message.purpose = Purpose::Nothing;
            }
        }
    }

    /// Returns whether somebody may still come to lead.
    pub fn is_open(&self) -> bool {
        self.candidates.iter().any(|candidate| match candidate.phase {
            Phase::Idle => candidate.campaigns > 0,
            Phase::Campaigns { .. } => true,
            Phase::Leads { .. } => false,
        })
    }
}

impl Candidate {
    fn new(campaigns: u8, extensions: u8) -> Self {
        let (token, largest_seen) = (0, 0);
        Candidate { phase: Phase::Idle, campaigns, extensions, token, largest_seen, shown: false }
    }
}

impl Message {
    pub fn is_of(&self, candidate: usize) -> bool {
        usize::from(self.candidate) == candidate
    }
}
