//! Virtual time, the network, what fails, and what must hold after every step.

mod checks;
mod failing;

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    Rules, Schedule, TTL,
    instance::{Answered, Instance, Timer},
    node::{Data, Node},
};
use crate::{
    lease::{FencingToken, Times},
    lock::{NodesKey, ReleaseOptions},
    once_per::Note,
    redlock::simulated::{Acquisition, Notification},
};

pub const MS: u64 = 1_000_000;

/// What an instance asks a node for.
#[derive(Clone, Debug)]
pub enum Ask {
    Acquire(Acquisition),
    Extend { key: NodesKey, note: Option<Note> },
    Release { key: NodesKey, tell: bool, options: ReleaseOptions },
}

/// A process of an instance: messages to one that has ended reach nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub instance: usize,
    pub number: u32,
}

#[derive(Clone, Debug)]
enum Event {
    Request {
        node: usize,
        ask: Ask,
        from: Process,
        round: u32,
    },
    Reply {
        node: usize,
        answered: Answered,
        to: Process,
        round: u32,
    },
    Notification {
        news: Notification,
        to: Process,
    },
    Timer {
        timer: Timer,
        of: Process,
    },
    Crash(usize),
    Start(usize),
    Snapshot(usize),
    Freeze(usize),
    /// Kills an elector, or a whole host.
    Kill(usize),
    Settle,
}

/// A server: its node and its clock.
struct Server {
    node: Node,
    up: bool,
    rate: f64,
    saved: Data,
}

impl Server {
    fn clock(&self, now: u64) -> u64 {
        (now as f64 * self.rate) as u64
    }
}

pub struct World {
    pub schedule: Schedule,
    pub times: Times,
    pub rules: Rules,
    pub random: fastrand::Rng,
    pub now: u64,
    /// The events so far, kept only if a trace is wanted.
    pub trace: Option<Vec<String>>,
    pub commands: u64,
    pub steps: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    serial: u64,
    servers: Vec<Server>,
    instances: Vec<Option<Instance>>,
    /// The process whose command runs.
    running: Option<Process>,
    last_token: FencingToken,
    /// Until when a recorded success or a lock kept by --hold stops all others from starting, by the slowest clock.
    closed_until: u64,
    last_start: u64,
    /// Nothing fails any more.
    pub quiet: bool,
    wrong: Option<String>,
}

impl World {
    pub fn new(schedule: Schedule, rules: Rules, trace: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(schedule.seed);
        let times = Times::new(TTL, None).expect("times that fit");
        let server = |index: usize, random: &mut fastrand::Rng| Server {
            node: Node::new(&format!("server {index}"), rules),
            up: true,
            rate: schedule.clocks.of_node(random),
            saved: Data::default(),
        };
        let servers = (0..schedule.nodes).map(|index| server(index, &mut random)).collect();
        let instances =
            (0..schedule.instances).map(|index| Some(Instance::new(index, &schedule, &mut random))).collect();
        let mut world = World {
            schedule,
            times,
            rules,
            random,
            // Servers have been up long enough.
            now: 10_000 * MS,
            trace: trace.then(Vec::new),
            commands: 0,
            steps: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            serial: 0,
            servers,
            instances,
            running: None,
            last_token: FencingToken::ZERO,
            closed_until: 0,
            last_start: 0,
            quiet: false,
            wrong: None,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for instance in 0..self.schedule.instances {
            let after = self.random.u64(0..50 * MS);
            self.after(after, Event::Timer { timer: Timer::Begin, of: Process { instance, number: 0 } });
            self.some_time(self.schedule.freezes, Event::Freeze(instance));
            self.some_time(self.schedule.kills, Event::Kill(instance));
        }
        for node in 0..self.schedule.nodes {
            self.some_time(self.schedule.crashes, Event::Crash(node));
            self.some_time(1000 * MS, Event::Snapshot(node));
        }
        self.after(self.schedule.lasts, Event::Settle);
    }

    fn some_time(&mut self, mean: u64, event: Event) {
        if mean > 0 {
            let after = self.exponential(mean);
            self.after(after, event);
        }
    }

    pub fn exponential(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.random.f64()).ln() * mean as f64) as u64
    }

    /// Runs the schedule to its end. Returns what is wrong with it, if anything.
    pub fn run(&mut self) -> Option<String> {
        let end = self.now + self.schedule.lasts + self.quiet_time();
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            if at > end || self.wrong.is_some() {
                break;
            }
            self.now = self.now.max(at);
            self.steps += 1;
            if let Some(event) = self.events[slot].take() {
                self.free.push(slot);
                self.take(event);
            }
        }
        let vacant = end - self.last_start.max(end - self.quiet_time());
        if self.wrong.is_none() && self.running.is_none() && !self.schedule.once && vacant > self.vacant_at_most() {
            self.fail(format!("nobody led for {} ms, with all nodes up and quiet", vacant / MS));
        }
        self.wrong.take()
    }

    fn fail(&mut self, what: String) {
        self.tell(|| format!("WRONG: {what}"));
        self.wrong.get_or_insert(what);
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} ms  {}", now as f64 / MS as f64, what()));
        }
    }

    fn after(&mut self, after: u64, event: Event) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial, slot)));
    }

    pub fn timer(&mut self, after: u64, timer: Timer, of: Process) {
        self.after(after, Event::Timer { timer, of });
    }

    /// Returns how long a message takes; `None` if it is lost.
    fn delay(&mut self) -> Option<u64> {
        if self.quiet {
            // Equal delays keep messages in order, as on a connection.
            return Some(MS);
        }
        if self.random.f64() < self.schedule.loss {
            return None;
        }
        Some(match self.random.u8(0..100) {
            0..85 => self.exponential(3 * MS),
            85..97 => self.exponential(100 * MS),
            _ => self.random.u64(0..3 * TTL.as_nanos() as u64),
        })
    }

    pub fn send(&mut self, node: usize, ask: Ask, from: Process, round: u32) {
        if let Some(delay) = self.delay() {
            self.after(delay, Event::Request { node, ask, from, round });
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Request { node, ask, from, round } => self.serve(node, ask, from, round),
            Event::Reply { to, .. } | Event::Notification { to, .. } => self.deliver(to, event),
            Event::Timer { of, ref timer } => {
                if timer.is_guards() {
                    self.act(of, |instance, world| instance.timer(event_timer(&event), world));
                } else {
                    self.deliver(of, event);
                }
            }
            Event::Crash(node) => self.crash(node),
            Event::Start(node) => self.start(node),
            Event::Snapshot(node) => {
                self.servers[node].saved = self.servers[node].node.data.clone();
                self.some_time(1000 * MS, Event::Snapshot(node));
            }
            Event::Freeze(instance) => {
                let lasts = self.random.u64(0..4 * TTL.as_nanos() as u64);
                let until = self.now + lasts;
                if !self.quiet {
                    self.tell(|| format!("instance {instance}: elector frozen for {} ms", lasts / MS));
                    self.act_on(instance, |instance, _| instance.frozen_until = until);
                    self.some_time(self.schedule.freezes, Event::Freeze(instance));
                }
            }
            Event::Kill(instance) => {
                if !self.quiet {
                    let host = self.random.bool();
                    self.act_on(instance, |instance, world| instance.killed(host, world));
                    self.some_time(self.schedule.kills, Event::Kill(instance));
                }
            }
            Event::Settle => {
                self.tell(|| "all is quiet from now on".into());
                self.quiet = true;
                for instance in 0..self.instances.len() {
                    let now = self.now;
                    self.act_on(instance, |instance, _| instance.frozen_until = instance.frozen_until.min(now));
                }
            }
        }
    }

    /// Delivers an event to an elector, which may be frozen.
    fn deliver(&mut self, to: Process, event: Event) {
        let frozen_until = self.instances[to.instance].as_ref().map_or(0, |instance| instance.frozen_until);
        if self.now < frozen_until {
            return self.after(frozen_until - self.now, event);
        }
        self.act(to, |instance, world| match event {
            Event::Reply { node, answered, round, .. } => instance.reply(node, answered, round, world),
            Event::Notification { news, .. } => instance.news(news, world),
            event => instance.timer(event_timer(&event), world),
        });
    }

    fn act(&mut self, process: Process, act: impl FnOnce(&mut Instance, &mut World)) {
        let is_there = self.instances[process.instance].as_ref().is_some_and(|r| r.process() == process);
        if is_there {
            self.act_on(process.instance, act);
        }
    }

    fn act_on(&mut self, index: usize, act: impl FnOnce(&mut Instance, &mut World)) {
        if let Some(mut instance) = self.instances[index].take() {
            act(&mut instance, self);
            self.instances[index] = Some(instance);
        }
    }

    fn serve(&mut self, index: usize, ask: Ask, from: Process, round: u32) {
        let listeners = self.instances.iter().flatten().filter(|instance| instance.listens()).count() as u32;
        let server = &mut self.servers[index];
        if !server.up {
            return;
        }
        let now = server.clock(self.now);
        server.node.listeners = listeners;
        let answered = match &ask {
            Ask::Acquire(ask) => Answered::Acquired(server.node.acquire(ask, now)),
            Ask::Extend { key, note } => Answered::Extended(server.node.extend(key, TTL, note.as_ref(), now)),
            Ask::Release { key, tell, options } => Answered::Released(server.node.release(key, *tell, *options, now)),
        };
        let told = std::mem::take(&mut server.node.told);
        self.tell(|| format!("node {index}: {from:?} {} -> {}", shown(&ask), answered.shown()));
        for news in told {
            self.tell_all(&news, from);
        }
        if let Some(delay) = self.delay() {
            self.after(delay, Event::Reply { node: index, answered, to: from, round });
        }
    }

    fn tell_all(&mut self, news: &Notification, but: Process) {
        let listeners: Vec<Process> = self
            .instances
            .iter()
            .flatten()
            .filter(|r| r.listens())
            .map(Instance::process)
            .filter(|p| *p != but)
            .collect();
        for to in listeners {
            if let Some(delay) = self.delay() {
                self.after(delay, Event::Notification { news: news.clone(), to });
            }
        }
    }
}

fn event_timer(event: &Event) -> Timer {
    match event {
        Event::Timer { timer, .. } => *timer,
        _ => Timer::Begin,
    }
}

fn shown(ask: &Ask) -> String {
    match ask {
        Ask::Acquire(Acquisition { key: NodesKey { value, token, .. }, .. }) => format!("acquire({value}, {token})"),
        Ask::Extend { key: NodesKey { value, token, .. }, note } => {
            format!("extend({value}, {token}{})", if note.is_some() { ", a note" } else { "" })
        }
        Ask::Release { key: NodesKey { value, token, .. }, .. } => format!("release({value}, {token})"),
    }
}
