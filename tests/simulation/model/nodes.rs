//! The nodes of the model: servers that run the real scripts. What each does in a given state is computed once.

use std::{cell::RefCell, collections::HashMap, hash::Hash, rc::Rc, time::Duration};

use redis::{Cmd, Value};

use super::{
    super::{
        ledger::Ledger,
        machine::Machine,
        network::Network,
        reply::Reply,
        server::{Data, Server},
    },
    decisions::LOCK,
};
use crate::{
    lease::Times,
    redlock::{AcquireReply, Answer, ExtendReply, NodeTime, acquired, extended},
};

pub type NodeId = u32;
pub type RequestId = u32;
pub type AnswerId = u16;

/// What a server has, and since when it has run: as if forever, or since a tick.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stored {
    data: Data,
    started: Option<u8>,
}

/// What a node answers, without what makes no difference here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Acquire(AcquireReply),
    Extend(ExtendReply),
    /// An answer to a release, for which nobody waits.
    Nothing,
}

/// Gives equal things the same number.
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

pub struct Nodes {
    times: Times,
    machine: Rc<Machine>,
    clock: Duration,
    servers: Numbered<Stored>,
    requests: Numbered<Vec<Vec<u8>>>,
    answers: Vec<Heard>,
    answer_ids: HashMap<String, AnswerId>,
    known: HashMap<(NodeId, u8, RequestId, bool), (NodeId, AnswerId)>,
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn number(&mut self, thing: T) -> u32 {
        let Numbered { all, numbers } = self;
        *numbers.entry(thing).or_insert_with_key(|thing| {
            all.push(thing.clone());
            all.len() as u32 - 1
        })
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl Nodes {
    /// Must be called, and used, where time stands still.
    pub fn new(times: Times) -> Self {
        let ledger = Rc::new(Ledger::new(false));
        Nodes {
            times,
            machine: Machine::new(0, &Network::new(1, 1), &ledger, 1.0, 0),
            clock: Duration::ZERO,
            servers: Numbered::default(),
            requests: Numbered::default(),
            answers: Vec::new(),
            answer_ids: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Returns an empty server that has run forever, or since this tick.
    pub fn empty(&mut self, started: Option<u8>) -> NodeId {
        self.servers.number(Stored { data: Data::default(), started })
    }

    /// Returns a server that has started at this tick with what another had.
    pub fn started_with(&mut self, saved: NodeId, started: u8) -> NodeId {
        let data = self.servers.all[saved as usize].data.clone();
        self.servers.number(Stored { data, started: Some(started) })
    }

    pub fn request(&mut self, cmd: &Cmd) -> RequestId {
        let part = |part| match part {
            redis::Arg::Simple(bytes) => Vec::from(bytes),
            _ => Vec::new(),
        };
        self.requests.number(cmd.args_iter().map(part).collect())
    }

    pub fn heard(&self, answer: AnswerId) -> &Heard {
        &self.answers[usize::from(answer)]
    }

    /// Returns what the wall clocks of the nodes show at a tick.
    pub fn wall(&mut self, tick: u8) -> Duration {
        let at = self.times.ttl() / 2 * u32::from(tick);
        self.machine.set_clock(at.as_micros() as i64 - self.clock.as_micros() as i64);
        self.clock = at;
        self.machine.wall()
    }

    /// Lets a server execute a request. Returns what it is then, and its answer. `lasts`: the last vote for who asks lasts, as far as
    /// that one knows.
    pub fn execute(&mut self, server: NodeId, now: u8, request: RequestId, lasts: bool) -> (NodeId, AnswerId) {
        if let Some(known) = self.known.get(&(server, now, request, lasts)) {
            return *known;
        }
        let Stored { data, started } = self.servers.all[server as usize].clone();
        self.wall(started.unwrap_or_default());
        let mut running = Server::start(&self.machine, data, true);
        if started.is_none() {
            running.started_before(100 * self.times.startup_grace());
        }
        let wall = self.wall(now).as_millis() as u64;
        let running = Rc::new(RefCell::new(running));
        let reply = Server::eval(&running, &self.requests.all[request as usize][1..]);
        let answer = self.answer(reply, lasts);
        let mut data = std::mem::take(&mut running.borrow_mut().data);
        data.retain(|_, entry| entry.expires.is_none_or(|at| wall < at));
        // No decision depends on what has happened.
        data.remove(format!("{LOCK}:runs").as_bytes());
        let done = (self.servers.number(Stored { data, started }), answer);
        self.known.insert((server, now, request, lasts), done);
        done
    }

    fn answer(&mut self, reply: Reply, lasts: bool) -> AnswerId {
        let heard = heard(value_of(reply), lasts);
        let next = self.answers.len() as AnswerId;
        *self.answer_ids.entry(format!("{heard:?}")).or_insert_with(|| {
            self.answers.push(heard);
            next
        })
    }

    /// Returns whether a server has the lock of this value.
    pub fn has_lock(&self, server: NodeId, key: &[u8], value: &str) -> bool {
        self.servers.all[server as usize].data.get(key).is_some_and(|entry| entry.value == value.as_bytes())
    }
}

/// Reads an answer as the program does.
fn heard(value: Value, lasts: bool) -> Heard {
    if let Some(mut reply) = acquired(value.clone()) {
        (reply.run_id, reply.time) = (String::new(), None);
        if let Answer::Held { left, .. } = &mut reply.answer {
            *left = None;
        }
        return Heard::Acquire(reply);
    }
    match extended(value, lasts) {
        Some(mut reply) => {
            match &mut reply {
                ExtendReply::Renewed { time, .. } | ExtendReply::Restored { time } => *time = NodeTime::from_millis(0),
                ExtendReply::StartupGrace { run_id, time, .. } => {
                    (*run_id, *time) = (String::new(), NodeTime::from_millis(0));
                }
                ExtendReply::Taken { .. } | ExtendReply::Overtaken { .. } => {}
            }
            Heard::Extend(reply)
        }
        None => Heard::Nothing,
    }
}

fn value_of(reply: Reply) -> Value {
    match reply {
        Reply::Int(number) => Value::Int(number),
        Reply::Bulk(bytes) => Value::BulkString(bytes),
        Reply::Array(parts) => Value::Array(parts.into_iter().map(value_of).collect()),
        Reply::Nil => Value::Nil,
        other => panic!("no script of ours returns {other:?}"),
    }
}
