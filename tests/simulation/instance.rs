//! An instance: the real decisions of election and leadership, with messages and timers of the simulated world around
//! them.

mod leading;
mod standing;

use std::time::Duration;

use super::{
    MARGIN, Schedule, TTL, at,
    world::{Ask, Process, World},
};
use crate::{
    clock::Moment,
    lease::{Deadlines, FencingToken, Quorums, Tally, VoteResult},
    lock::{LockValue, NodesKey, ReleaseOptions, ReleaseProof},
    once_per::OncePer,
    redlock::simulated::{
        AcquireReply, Acquisition, ExtendReply, Failure, LockSession, NodeReply, Notification, ReleaseReply,
        TakeoverTimer,
    },
    renewal::RenewalSchedule,
};

/// A timer of an instance. The guard's timers fire whether the elector is frozen or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Begin,
    RoundOver(u32),
    Go(u32),
    Extend(u32),
    NoteAgain,
    End,
    /// The guard's timers: the command is exec'd, ends by itself, must be dead by the deadline, is dead.
    Exec,
    Exit,
    Deadline(u32),
    Dead,
}

impl Timer {
    pub fn is_guards(self) -> bool {
        matches!(self, Timer::Exec | Timer::Exit | Timer::Deadline(_) | Timer::Dead)
    }
}

#[derive(Clone, Debug)]
pub enum Answered {
    Acquired(AcquireReply),
    Extended(ExtendReply),
    Released(ReleaseReply),
}

impl Answered {
    pub fn shown(&self) -> String {
        match self {
            Answered::Acquired(a) => format!("{:?}, fence {}", a.answer, a.fence),
            Answered::Extended(e) => format!("{e:?}"),
            Answered::Released(r) => format!("{r:?}"),
        }
    }
}

/// A round in progress.
struct Round {
    number: u32,
    sent: Moment,
    tally: Tally,
    kind: Kind,
}

enum Kind {
    Campaign(Vec<NodeReply<AcquireReply>>),
    Extension { replies: Vec<NodeReply<ExtendReply>>, notes: bool },
    Release { confirmed: usize, options: ReleaseOptions },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Campaigning,
    StandingBy,
    Leading,
    Noting,
    Releasing,
}

/// What the guard knows.
#[derive(Clone, Copy, Debug)]
struct Guarded {
    deadlines: Deadlines,
    version: u32,
    runs: bool,
    began: u64,
    succeeds: bool,
}

pub struct Instance {
    pub frozen_until: u64,
    index: usize,
    number: u32,
    rate: f64,
    /// How far its wall clock is ahead, in µs.
    skew: i64,
    once_per: Option<OncePer>,
    session: LockSession,
    watch: TakeoverTimer,
    phase: Phase,
    rounds: u32,
    round: Option<Round>,
    /// The round that was won; its late replies are still useful.
    won: Option<u32>,
    lost_rounds: u32,
    go: u32,
    news: Vec<Notification>,
    renewal: Option<RenewalSchedule>,
    guarded: Option<Guarded>,
    elector_dead: bool,
    lost: bool,
}

/// Returns the session of a process, with a unique value.
fn session(index: usize, number: u32) -> LockSession {
    let proof = ReleaseProof::new(((index as u128) << 64) + u128::from(number));
    let value = LockValue::of_candidate(number.into(), &proof, &index.to_string(), None).expect("a value");
    LockSession::proven("lock", NodesKey { value, proof, token: FencingToken::ZERO })
}

/// Replies to it belong to no round.
const FILL_IN: u32 = u32::MAX;

impl Instance {
    pub fn new(index: usize, schedule: &Schedule, random: &mut fastrand::Rng) -> Self {
        let once_per = schedule.once.then_some(OncePer { period: schedule.period, attempts: None });
        Instance {
            frozen_until: 0,
            index,
            number: 0,
            rate: schedule.clocks.of_instance(random),
            skew: random.i64(-50_000..50_000),
            once_per,
            session: session(index, 0),
            watch: TakeoverTimer::new(),
            phase: Phase::Campaigning,
            rounds: 0,
            round: None,
            won: None,
            lost_rounds: 0,
            go: 0,
            news: Vec::new(),
            renewal: None,
            guarded: None,
            elector_dead: false,
            lost: false,
        }
    }

    pub fn process(&self) -> Process {
        Process { instance: self.index, number: self.number }
    }

    pub fn listens(&self) -> bool {
        !self.elector_dead && matches!(self.phase, Phase::StandingBy | Phase::Campaigning) && self.rounds > 1
    }

    fn clock(&self, world: &World) -> Moment {
        at((world.now as f64 * self.rate) as u64)
    }

    /// Returns the world's time until a moment of our clock.
    fn until(&self, moment: Moment, world: &World) -> u64 {
        (moment.since(self.clock(world)).as_nanos() as f64 / self.rate) as u64 + 1
    }

    fn nodes(&self, world: &World) -> usize {
        world.schedule.nodes
    }

    /// Returns the nodes that votes are counted against.
    fn counted<A>(&self, world: &World, replies: &[NodeReply<A>]) -> Quorums {
        let answered = replies.iter().filter(|reply| reply.answer.is_ok()).map(|reply| reply.node);
        if world.rules.configured_nodes { Quorums::of(self.nodes(world)) } else { Quorums::among(answered) }
    }

    fn deadlines(&self, world: &World, sent: Moment) -> Deadlines {
        let Deadlines { stop_at, kill_at } = world.times.deadlines(sent);
        let more = if world.rules.drift { Duration::ZERO } else { world.times.drift() };
        Deadlines { stop_at: stop_at + more, kill_at: kill_at + more }
    }

    /// Replaces a process that has ended by a new one.
    fn begin_anew(&mut self, world: &mut World) {
        self.number += 1;
        self.session = session(self.index, self.number);
        self.watch = TakeoverTimer::new();
        (self.rounds, self.round, self.won, self.lost_rounds) = (0, None, None, 0);
        (self.renewal, self.guarded, self.elector_dead, self.lost) = (None, None, false, false);
        self.news.clear();
        self.phase = Phase::Campaigning;
        self.frozen_until = 0;
        let after = world.exponential(world.schedule.restart_after);
        world.timer(after, Timer::Begin, self.process());
    }

    pub fn timer(&mut self, timer: Timer, world: &mut World) {
        match timer {
            Timer::Begin => self.campaign(world),
            Timer::RoundOver(number) => {
                if self.round.as_ref().is_some_and(|round| round.number == number) {
                    self.time_out(world);
                }
            }
            Timer::Go(version) if version == self.go && self.phase == Phase::StandingBy => self.campaign(world),
            Timer::Extend(version) if version == self.rounds && self.phase == Phase::Leading && !self.lost => {
                self.extend(world);
            }
            Timer::Go(_) | Timer::Extend(_) => {}
            Timer::NoteAgain => self.note(world),
            Timer::End => self.begin_anew(world),
            Timer::Exec => self.exec(world),
            Timer::Exit => self.command_ends(true, world),
            Timer::Deadline(version) => {
                if self.guarded.is_some_and(|guarded| guarded.version == version && guarded.runs) {
                    // Killing takes time, in the worst case all of the margin.
                    let most = MARGIN.as_nanos() as u64 * 99 / 100;
                    let takes = if world.random.bool() { most } else { world.random.u64(0..most) };
                    world.timer(takes, Timer::Dead, self.process());
                }
            }
            Timer::Dead => self.command_ends(false, world),
        }
    }

    fn ask_all(&mut self, kind: Kind, ask: impl Fn(usize, &Self) -> Option<Ask>, world: &mut World) {
        self.rounds += 1;
        let (number, nodes) = (self.rounds, self.nodes(world));
        self.round = Some(Round { number, sent: self.clock(world), tally: Tally::new(Quorums::of(nodes)), kind });
        for node in 0..nodes {
            if let Some(ask) = ask(node, self) {
                world.send(node, ask, self.process(), number);
            }
        }
        let over = self.until(self.clock(world) + world.times.answer_timeout(), world);
        world.timer(over, Timer::RoundOver(number), self.process());
    }

    /// Returns its wall clock, in microseconds.
    fn wall(&self, world: &World) -> u64 {
        (world.now / 1000).saturating_add_signed(self.skew)
    }

    fn campaign(&mut self, world: &mut World) {
        self.phase = Phase::Campaigning;
        self.news.clear();
        self.session.next_token(self.wall(world));
        let teller = world.random.usize(0..self.nodes(world));
        let (ttl, settle) = (TTL, world.times.startup_grace());
        let ask = |node: usize, us: &Self| {
            let (key, freed, once_per) = (us.session.key(), us.watch.freed().cloned(), us.once_per);
            Some(Ask::Acquire(Acquisition { key, ttl, settle, tell: node == teller, freed, once_per, settled: None }))
        };
        self.ask_all(Kind::Campaign(Vec::new()), ask, world);
    }

    pub fn reply(&mut self, node: usize, answered: Answered, number: u32, world: &mut World) {
        if self.elector_dead && self.phase != Phase::Releasing {
            return;
        }
        match &answered {
            Answered::Acquired(acquired) if self.won == Some(number) => {
                if !acquired.is_vote() {
                    self.fill_in(node, world);
                }
                return;
            }
            Answered::Extended(ExtendReply::Overtaken { fence }) => {
                self.session.overtake(*fence, self.wall(world));
                if number == FILL_IN {
                    self.fill_in(node, world);
                }
            }
            _ => {}
        }
        let Some(round) = self.round.as_mut().filter(|round| round.number == number) else { return };
        let vote = match (&mut round.kind, answered) {
            (Kind::Campaign(replies), Answered::Acquired(acquired)) => {
                let vote = acquired.is_vote();
                replies.push(NodeReply { node, answer: Ok(acquired) });
                vote
            }
            (Kind::Extension { replies, .. }, Answered::Extended(extended)) => {
                let vote = extended.is_vote();
                replies.push(NodeReply { node, answer: Ok(extended) });
                vote
            }
            (Kind::Release { confirmed, .. }, Answered::Released(released)) => {
                *confirmed += usize::from(released == ReleaseReply::Freed);
                true
            }
            _ => return,
        };
        round.tally.count(node, vote);
        // If one node alone may know of a success, wait for all.
        let waits = self.once_per.is_some() && matches!(round.kind, Kind::Campaign(_));
        if round.tally.result() != VoteResult::Pending && !waits {
            self.decide(world);
        }
    }

    /// Ends the wait: the nodes that have not replied don't vote.
    fn time_out(&mut self, world: &mut World) {
        let nodes = self.nodes(world);
        if let Some(round) = &mut self.round {
            fn missing<A>(replies: &mut Vec<NodeReply<A>>, nodes: usize) {
                for node in 0..nodes {
                    if replies.iter().all(|reply| reply.node != node) {
                        replies.push(NodeReply { node, answer: Err(Failure::TimedOut) });
                    }
                }
            }
            match &mut round.kind {
                Kind::Campaign(replies) => missing(replies, nodes),
                Kind::Extension { replies, .. } => missing(replies, nodes),
                Kind::Release { .. } => {}
            }
            self.decide(world);
        }
    }

    fn decide(&mut self, world: &mut World) {
        let Some(round) = self.round.take() else { return };
        match round.kind {
            Kind::Campaign(replies) => self.campaigned(&replies, round.number, round.sent, world),
            Kind::Extension { replies, notes } => self.extended(&replies, notes, round.sent, world),
            Kind::Release { confirmed, options } => self.released(confirmed, options, world),
        }
    }
}
