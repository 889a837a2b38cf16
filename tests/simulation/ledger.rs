//! What has happened, and what must hold: no two commands at a time, tokens in order, periods kept.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{reply::Reply, schedule::Schedule};
use crate::{guard::Ending, lease::FencingToken, once_per::OncePer};

/// Keeps the books of one schedule.
pub struct Ledger {
    began: Instant,
    is_shown: bool,
    /// A hash of all that has happened.
    hash: RefCell<DefaultHasher>,
    runs: RefCell<Vec<Run>>,
    /// Until when no command may start.
    closed: Cell<Option<Instant>>,
    wrong: RefCell<Option<String>>,
    failed: Notify,
    /// A command has started, or nothing is left of one.
    changed: Notify,
    /// How many commands the servers have executed.
    pub executed: Cell<u64>,
    /// Whether an instance has said that a fencing token is from the future.
    pub heard_of_fence: Cell<bool>,
    /// What is noted of successes; `None`: nothing, or nothing that could be judged.
    notes: Option<Notes>,
    /// How long a command may go on beside the next one; `None`: not at all.
    overlap: Option<Duration>,
    /// The same if the other one is that of an instance with another list.
    overlap_of_lists: Option<Duration>,
    /// How many nodes each instance uses at present.
    lists: RefCell<HashMap<usize, usize>>,
    /// How many times instances could not keep the lock for --hold.
    pub not_held: RefCell<Vec<String>>,
}

/// One run of a command.
struct Run {
    instance: usize,
    nodes: usize,
    token: FencingToken,
    /// When it was ordered, from which periods count.
    ordered: Instant,
    started: Instant,
    dead: Option<Instant>,
    succeeded: bool,
}

/// How long a success counts, and for which tokens a note was asked for.
struct Notes {
    /// By the slowest clock, and from the moment at which a node's clock was known at the latest.
    lasts: Duration,
    tokens: RefCell<HashSet<u64>>,
}

impl Ledger {
    /// Opens the books of a schedule.
    pub fn of(schedule: &Schedule, is_shown: bool) -> Self {
        // How long a note lasts can't be said where a clock was set.
        let once_per = schedule.once_per.as_ref().filter(|_| schedule.jumps.is_none());
        let notes = |once_per: &OncePer| Notes {
            lasts: once_per.period.mul_f64(1.015) + schedule.times.ttl() / 2,
            tokens: RefCell::default(),
        };
        Ledger {
            notes: once_per.map(notes),
            overlap: schedule.overlap,
            overlap_of_lists: schedule.overlap_of_lists(),
            ..Self::new(is_shown)
        }
    }

    pub fn new(is_shown: bool) -> Self {
        Ledger {
            began: Instant::now(),
            is_shown,
            hash: RefCell::default(),
            runs: RefCell::default(),
            closed: Cell::default(),
            wrong: RefCell::default(),
            failed: Notify::new(),
            changed: Notify::new(),
            executed: Cell::new(0),
            heard_of_fence: Cell::default(),
            notes: None,
            overlap: None,
            overlap_of_lists: None,
            lists: RefCell::default(),
            not_held: RefCell::default(),
        }
    }

    /// Notes an event in the trace.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_shown {
            println!("{:>10.3} ms  {}", self.began.elapsed().as_secs_f64() * 1000.0, what());
        }
    }

    /// Takes what a process has written to its stderr.
    pub fn hear(&self, process: &str, line: &str) {
        self.tell(|| format!("{process} says: {line}"));
        if line.contains("has a fencing token from") {
            self.heard_of_fence.set(true);
        }
        if line.contains("could not be kept for --hold") {
            self.not_held.borrow_mut().push(process.to_owned());
        }
    }

    /// Notes what a server has executed.
    pub fn executed(&self, node: usize, command: &[Vec<u8>], reply: &Reply) {
        self.executed.set(self.executed.get() + 1);
        self.digest(node as u64);
        for part in command {
            self.hash.borrow_mut().write(part);
        }
        self.tell(|| shown(node, command, reply));
        self.judge(command, reply);
    }

    /// Checks what is said of a success: to a candidate only within its period, to all only once a note was asked for.
    fn judge(&self, command: &[Vec<u8>], reply: &Reply) {
        let (Some(notes), Some(args)) = (&self.notes, arguments(command)) else { return };
        if let Some(token) = args.get(9).and_then(|note| token_of_success(note)) {
            notes.tokens.borrow_mut().insert(token);
        }
        let is_told = args.get(5).is_some_and(|word| word == b"done");
        let token = args.get(7).and_then(|token| String::from_utf8_lossy(token).parse().ok());
        if is_told && !token.is_some_and(|token| notes.tokens.borrow().contains(&token)) {
            self.fail("all are told of a success without a note".into());
        }
        if matches!(reply, Reply::Array(parts) if matches!(&parts[..], [Reply::Bulk(word), ..] if word == b"done")) {
            let latest = self.runs.borrow().iter().filter(|run| run.succeeded).map(|run| run.started).max();
            if latest.is_none_or(|started| started + notes.lasts < Instant::now()) {
                self.fail("a candidate is told of a success that is none, or of an earlier period".into());
            }
        }
    }

    /// Returns a hash of all that has happened so far.
    pub fn hash(&self) -> u64 {
        self.hash.borrow().finish()
    }

    /// Returns how many commands have run.
    pub fn commands(&self) -> u64 {
        self.runs.borrow().len() as u64
    }

    pub fn fail(&self, what: String) {
        self.tell(|| format!("WRONG: {what}"));
        self.wrong.borrow_mut().get_or_insert(what);
        self.failed.notify_one();
    }

    /// Waits until something is wrong.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Returns what is wrong.
    pub fn wrong(&self) -> Option<String> {
        self.wrong.borrow().clone()
    }

    /// Notes how many nodes an instance uses from now on.
    pub fn uses(&self, instance: usize, nodes: usize) {
        self.lists.borrow_mut().insert(instance, nodes);
    }

    /// Returns how long two commands may run beside each other; `None`: not at all.
    fn overlap_of(&self, one: &Run, other: &Run) -> Option<Duration> {
        if one.nodes == other.nodes { self.overlap } else { self.overlap_of_lists }
    }

    /// Notes that a command starts. Returns the number of this run.
    pub fn command_starts(&self, instance: usize, token: FencingToken, ordered: Instant) -> usize {
        self.tell(|| format!("instance {instance}: its command starts, token {token}"));
        let now = Instant::now();
        self.digest(token.get());
        let mut runs = self.runs.borrow_mut();
        let nodes = self.lists.borrow().get(&instance).copied().unwrap_or_default();
        let starts = Run { instance, nodes, token, ordered, started: now, dead: None, succeeded: false };
        let others = runs.iter().filter(|run| run.dead.is_none());
        for other in others.filter(|other| self.overlap_of(other, &starts).is_none()) {
            self.fail(format!("instance {instance} starts its command while that of instance {} runs", other.instance));
        }
        if let Some(largest) = runs.iter().map(|run| run.token).max().filter(|largest| token <= *largest) {
            self.fail(format!("instance {instance} starts its command with token {token} after {largest}"));
        }
        if let Some(until) = self.closed.get().filter(|until| now < *until) {
            self.fail(early(instance, until - now));
        }
        runs.push(starts);
        self.changed.notify_waiters();
        runs.len() - 1
    }

    /// Notes that nothing is left of a command.
    pub fn command_is_dead(&self, run: usize, ending: Ending) {
        let mut runs = self.runs.borrow_mut();
        let now = Instant::now();
        (runs[run].dead, runs[run].succeeded) = (Some(now), ending == Ending::Code(0));
        let ends = &runs[run];
        for other in runs.iter().filter(|other| other.dead.is_none()) {
            let (by, most) = (now - other.started.max(ends.started), self.overlap_of(ends, other).unwrap_or_default());
            if by > most {
                let [one, other] = [ends.instance, other.instance];
                self.fail(format!("instances {one} and {other} run their commands for {by:?} at once, not {most:?}"));
            }
        }
        self.changed.notify_waiters();
        self.tell(|| format!("instance {}: its command is dead: {ending:?}", runs[run].instance));
    }

    /// Notes that the last run of an instance keeps all others from starting for so long, from its order.
    pub fn closes(&self, instance: usize, period: Duration) {
        let runs = self.runs.borrow();
        let Some((after, run)) = runs.iter().enumerate().rfind(|(_, run)| run.instance == instance) else { return };
        // By the fastest clock.
        let until = run.ordered + period.mul_f64(0.985);
        self.tell(|| format!("nobody may start for another {:?}", until.saturating_duration_since(Instant::now())));
        if let Some(next) = runs.get(after + 1).filter(|next| next.started < until) {
            self.fail(early(next.instance, until - next.started));
        }
        self.closed.set(self.closed.get().max(Some(until)));
    }

    /// Waits until a command runs.
    pub async fn is_led(&self) {
        self.until(|runs| runs.last().is_some_and(|run| run.dead.is_none())).await;
    }

    /// Waits until no command runs.
    pub async fn is_vacant(&self) {
        self.until(|runs| runs.last().is_none_or(|run| run.dead.is_some())).await;
    }

    /// Waits until nothing is left of this run.
    pub async fn is_over(&self, run: usize) {
        self.until(|runs| runs[run].dead.is_some()).await;
    }

    /// Returns the number of the run that is under way.
    pub fn present_run(&self) -> Option<usize> {
        let runs = self.runs.borrow();
        runs.last().filter(|run| run.dead.is_none()).map(|_| runs.len() - 1)
    }

    /// Returns the instance whose command runs.
    pub fn leader(&self) -> Option<usize> {
        self.present_run().map(|run| self.runs.borrow()[run].instance)
    }

    async fn until(&self, holds: impl Fn(&[Run]) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(&self.runs.borrow()) {
                return;
            }
            changed.await;
        }
    }

    fn digest(&self, number: u64) {
        let mut hash = self.hash.borrow_mut();
        hash.write_u64(number);
        hash.write_u128(self.began.elapsed().as_nanos());
    }
}

/// Returns the arguments of a script, after its keys.
fn arguments(command: &[Vec<u8>]) -> Option<&[Vec<u8>]> {
    let [name, _, keys, rest @ ..] = command else { return None };
    let keys: usize = String::from_utf8_lossy(keys).parse().ok()?;
    rest.get(keys..).filter(|_| name == b"EVAL")
}

/// Returns the token in a note of a success, if it is one.
fn token_of_success(note: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(note).ok()?["token"].as_u64()
}

fn early(instance: usize, by: Duration) -> String {
    format!("instance {instance} starts its command {by:?} before it may: one has succeeded, or the lock is kept")
}

/// Returns a command and its reply in short: scripts by their name, values by their holder.
fn shown(node: usize, command: &[Vec<u8>], reply: &Reply) -> String {
    let parts: Vec<_> = command.iter().map(|part| String::from_utf8_lossy(part)).collect();
    let words = match parts.as_slice() {
        [name, script, count, rest @ ..] if name == "EVAL" => {
            let keys = count.parse().unwrap_or_default();
            let known = [
                ("acquire", "local settle"),
                ("extend", "'healed'"),
                ("release", "'kept'"),
                ("look", "get(KEYS[1])"),
                ("runs", "ZREVRANGE"),
            ];
            let name = known.iter().find(|(_, part)| script.contains(part)).map_or("tell", |(name, _)| name);
            [name.to_owned()].into_iter().chain(rest.iter().skip(keys).map(|part| short(part))).collect()
        }
        parts => parts.iter().map(|part| short(part)).collect::<Vec<_>>(),
    };
    let reply = match reply {
        Reply::Array(parts) => parts.iter().map(shown_part).collect::<Vec<_>>().join(" "),
        reply => shown_part(reply),
    };
    format!("node {node}: {} -> {reply}", words.join(" "))
}

fn shown_part(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => short(&String::from_utf8_lossy(bytes)),
        reply => format!("{reply:?}"),
    }
}

/// Returns a value of a lock by its holder, and anything else as it is.
fn short(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let kept = if value["kept"] == true { " (kept)" } else { "" };
    value["holder"].as_str().map_or_else(|| text.to_owned(), |holder| format!("[{holder}{kept}]"))
}
