//! What the program decides on what it hears, and what it then asks: its own code, with each result computed once.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::nodes::{AnswerId, Heard, Nodes, RequestId};
use crate::{
    clock::Moment,
    lease::{FencingToken, Quorums, Tally, Times, VoteResult},
    lock::{LockValue, NodesKey, Reason, ReleaseOptions, ReleaseProof, Slot, Terms},
    redlock::{
        AcquireReply, Address, Audience, ExtendReply, Failure, LockSession, NodeTime, RunTimes, Settled, Tell,
        outcome::{self, LostRound, NodeReply},
    },
};

/// The name of the lock.
pub const LOCK: &str = "model";

/// What a candidate shows as a proof of the other's release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shows {
    Nothing,
    Proof,
    /// What anybody can read in the other's lock.
    Hash,
}

/// A request that a candidate makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Vote(Shows),
    Extend {
        /// When the node's last vote was cast, if that was for it.
        voted: Option<u8>,
    },
    Withdraw,
    Release,
}

/// What a campaign leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub won: bool,
    /// It takes the other for the leader.
    pub taken: bool,
    /// A token that the next one must exceed.
    pub fence: Option<u64>,
}

/// What an extension leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extended {
    pub result: VoteResult,
    pub overtaken: Vec<u64>,
}

/// The answers of all nodes, when their round was sent, and when it is decided.
type Round = (Vec<Option<AnswerId>>, u8, u8);

pub struct Decisions {
    pub times: Times,
    pub quorums: Quorums,
    began: Moment,
    address: Address,
    values: [(LockValue, ReleaseProof); 2],
    campaigns: HashMap<Round, Option<Decision>>,
    extensions: HashMap<Round, Option<Extended>>,
    requests: HashMap<(usize, Ask, u64), RequestId>,
    releases: HashSet<RequestId>,
}

impl Decisions {
    pub fn new(times: Times, nodes: usize) -> Self {
        let quorums = Quorums::of(nodes);
        let value = |candidate: u128| {
            let proof = ReleaseProof::new(candidate + 1);
            let terms = Terms { slots: 1, lists: quorums.sizes(), ttl: times.ttl() };
            let holder = ["a", "b"][candidate as usize];
            (LockValue::of_candidate(candidate, &proof, holder, Some(terms)).expect("a value"), proof)
        };
        Decisions {
            times,
            values: [value(0), value(1)],
            quorums,
            // Later than all that is subtracted from it.
            began: Moment::now() + 100 * times.ttl(),
            address: Address::parse("unix:///model").expect("an address"),
            campaigns: HashMap::new(),
            extensions: HashMap::new(),
            requests: HashMap::new(),
            releases: HashSet::new(),
        }
    }

    pub fn value(&self, candidate: usize) -> &LockValue {
        &self.values[candidate].0
    }

    /// Returns the moment of a tick.
    pub fn at(&self, tick: u8) -> Moment {
        self.began + self.times.ttl() / 2 * u32::from(tick)
    }

    /// Returns whether the lease of a round may let a command live still.
    pub fn lasts(&self, sent: u8, now: u8) -> bool {
        self.at(now) < self.times.deadlines(self.at(sent)).kill_at + self.times.margin()
    }

    /// Returns whether a vote in a round lasts still, as far as its leader knows.
    pub fn is_vote_known(&self, sent: u8, now: u8) -> bool {
        self.at(now) < self.times.lease_end(self.at(sent))
    }

    /// Returns a candidate's next token, for which its session is asked.
    pub fn next_token(&self, candidate: usize, wall: Duration, largest_seen: u64) -> u64 {
        let session = self.session(candidate, largest_seen);
        session.next_token(wall.as_micros() as u64).get()
    }

    /// Returns the token with which a leader extends once it knows of a larger one.
    pub fn overtakes(&self, candidate: usize, token: u64, fence: u64, wall: Duration) -> u64 {
        let session = self.session(candidate, token);
        session.overtake(FencingToken::new(fence), wall.as_micros() as u64);
        session.key().token.get()
    }

    pub fn request(&mut self, nodes: &mut Nodes, candidate: usize, ask: Ask, token: u64) -> RequestId {
        if let Some(known) = self.requests.get(&(candidate, ask, token)) {
            return *known;
        }
        let session = self.session(candidate, token);
        let (other, proof) = &self.values[1 - candidate];
        let cmd = match ask {
            Ask::Vote(shows) => {
                let freed = match shows {
                    Shows::Nothing => None,
                    Shows::Proof => Some(proof.clone()),
                    Shows::Hash => {
                        let value: serde_json::Value = serde_json::from_str(other.as_str()).expect("a value");
                        ReleaseProof::from_message(value["release"].as_str().expect("a hash"))
                    }
                };
                session.acquisition(&self.address, &self.times, Tell::Nobody, freed.as_ref(), None)
            }
            Ask::Extend { voted } => {
                let expires =
                    voted.map(|tick| NodeTime::from_millis(nodes.wall(tick).as_millis() as u64) + self.times.ttl());
                let settled = Settled::new(&self.times, None, expires);
                session.extension(&self.address, &self.times, None, &settled, None)
            }
            Ask::Withdraw => session.release(
                &self.address,
                Audience::Nobody,
                ReleaseOptions::default(),
                RunTimes::default(),
                &Settled::default(),
            ),
            Ask::Release => session.release(
                &self.address,
                Audience::All,
                ReleaseOptions::default(),
                RunTimes::default(),
                &Settled::default(),
            ),
        };
        let request = nodes.request(&cmd);
        self.requests.insert((candidate, ask, token), request);
        if matches!(ask, Ask::Withdraw | Ask::Release) {
            self.releases.insert(request);
        }
        request
    }

    /// Returns whether a request can only free a lock.
    pub fn is_release(&self, request: RequestId) -> bool {
        self.releases.contains(&request)
    }

    fn session(&self, candidate: usize, token: u64) -> LockSession {
        let (value, proof) = self.values[candidate].clone();
        LockSession::proven(LOCK, NodesKey { slot: Slot::ONLY, value, proof, token: FencingToken::new(token) })
    }

    /// Decides a campaign; `None` while it waits for answers.
    pub fn campaign(&mut self, nodes: &Nodes, round: Round) -> Option<Decision> {
        if let Some(known) = self.campaigns.get(&round) {
            return known.clone();
        }
        let (sent, now) = (self.at(round.1), self.at(round.2));
        let replies = replies(&round, |answer| match nodes.heard(answer) {
            Heard::Acquire(reply) => Some(reply.clone()),
            _ => None,
        });
        let waits = replies.len() < round.0.len() && outcome::may_be_tie(&self.quorums, &replies);
        let decision = (!waits && is_decided(&self.quorums, &replies, AcquireReply::is_vote)).then(|| {
            let fence = outcome::fence_to_pass(&self.quorums, &replies, FencingToken::MAX.get() / 2);
            let decided = outcome::campaign(&self.quorums, 1, &replies, &self.times, sent, now);
            let taken = matches!(&decided, Err(LostRound::Decided(Reason::Taken(_))));
            Decision { won: decided.is_ok(), taken, fence: fence.map(FencingToken::get) }
        });
        self.campaigns.insert(round, decision.clone());
        decision
    }

    /// Decides an extension; `None` while it waits for answers.
    pub fn extension(&mut self, nodes: &Nodes, round: Round) -> Option<Extended> {
        if let Some(known) = self.extensions.get(&round) {
            return known.clone();
        }
        let replies = replies(&round, |answer| match nodes.heard(answer) {
            Heard::Extend(reply) => Some(reply.clone()),
            _ => None,
        });
        let decision = is_decided(&self.quorums, &replies, ExtendReply::is_vote).then(|| {
            let fences = outcome::answers(&replies).filter_map(|reply| match reply {
                ExtendReply::Overtaken { fence } => Some(fence.get()),
                _ => None,
            });
            Extended { result: outcome::extension(&self.quorums, &replies), overtaken: fences.collect() }
        });
        self.extensions.insert(round, decision.clone());
        decision
    }
}

/// Returns the answers of a round. A node that has not answered by the next tick has timed out.
fn replies<A>((heard, sent, now): &Round, read: impl Fn(AnswerId) -> Option<A>) -> Vec<NodeReply<A>> {
    let answer = |answer: &Option<AnswerId>| match answer {
        Some(answer) => Some(Ok(read(*answer)?)),
        None => (now > sent).then_some(Err(Failure::TimedOut)),
    };
    heard.iter().enumerate().filter_map(|(node, heard)| Some(NodeReply { node, answer: answer(heard)? })).collect()
}

/// Returns whether a round waits for no more answers.
fn is_decided<A>(quorums: &Quorums, replies: &[NodeReply<A>], is_vote: fn(&A) -> bool) -> bool {
    let mut tally = Tally::new(quorums.clone());
    replies.iter().for_each(|reply| tally.count(reply.node, reply.answer.as_ref().is_ok_and(is_vote)));
    tally.result() != VoteResult::Pending
}
