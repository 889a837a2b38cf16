//! A node with the behaviour of its scripts, in memory. The conformance test shows that a real server gives the same
//! replies.

use std::time::Duration;

use super::Rules;
use crate::{
    lease::FencingToken,
    lock::{LockValue, NodesKey, ReleaseOptions},
    once_per::{Failures, Note, Noted, PastSuccess},
    redlock::simulated::{AcquireReply, Acquisition, Answer, ExtendReply, NodeTime, Notification, ReleaseReply},
};

/// One second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A key's value, and its expiry in nanoseconds of the node's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    value: Option<String>,
    until: u64,
}

impl Key {
    fn set(value: &str, now: u64, lasts: Duration) -> Self {
        Key { value: Some(value.to_owned()), until: now.saturating_add(lasts.as_nanos() as u64) }
    }

    pub fn get(&self, now: u64) -> Option<&str> {
        self.value.as_deref().filter(|_| now < self.until)
    }

    /// Returns the time to live as PTTL does.
    pub fn left(&self, now: u64) -> Option<Duration> {
        self.get(now).map(|_| Duration::from_millis((self.until - now) / 1_000_000))
    }
}

/// Returns what the node's clock shows.
fn clock(now: u64) -> NodeTime {
    NodeTime::from_millis(now / 1_000_000)
}

/// What a node stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    pub lock: Key,
    pub fence: FencingToken,
    pub done: Key,
    pub failed: Key,
    pub step_down: Key,
}

impl Default for Data {
    fn default() -> Self {
        let (lock, done, failed, step_down) = Default::default();
        Data { lock, fence: FencingToken::ZERO, done, failed, step_down }
    }
}

pub struct Node {
    pub data: Data,
    /// When the node started, on its own clock.
    pub started: u64,
    pub run_id: String,
    pub rules: Rules,
    /// The notifications that it has sent and nobody has taken yet.
    pub told: Vec<Notification>,
    pub listeners: u32,
}

impl Node {
    pub fn new(run_id: &str, rules: Rules) -> Self {
        let run_id = run_id.to_owned();
        Node { data: Data::default(), started: 0, run_id, rules, told: Vec::new(), listeners: 0 }
    }

    pub fn acquire(&mut self, ask: &Acquisition, now: u64) -> AcquireReply {
        let data = &self.data;
        let mut fence = data.fence;
        let mut failures = Failures::default();
        let answer = self.answer(ask, now, &mut failures);
        if answer == Answer::Granted {
            fence = if self.rules.token_check { ask.key.token } else { ask.key.token.max(fence) };
            self.data.fence = fence;
            self.data.lock = Key::set(ask.key.value.as_str(), now, ask.ttl);
            if ask.tell {
                self.told.push(Notification::Acquired { freed: ask.freed.clone() });
            }
        }
        let time = (answer == Answer::Granted).then_some(clock(now));
        AcquireReply { run_id: self.run_id.clone(), fence, failures, time, answer }
    }

    fn answer(&self, ask: &Acquisition, now: u64, failures: &mut Failures) -> Answer {
        let data = &self.data;
        let mut failed = Failures::default();
        if ask.once_per.is_some() {
            if let Some(note) = data.done.get(now) {
                return Answer::Succeeded(PastSuccess { note: note.to_owned(), left: data.done.left(now) });
            }
            let count = data.failed.get(now).and_then(|count| count.parse().ok()).unwrap_or_default();
            failed = Failures { count, left: data.failed.left(now) };
        }
        let value = data.lock.get(now).map(LockValue::from_node);
        let is_released = |value: &LockValue| ask.freed.as_ref().is_some_and(|proof| value.is_released_by(proof));
        if let Some(value) = value.filter(|value| *value != ask.key.value && !is_released(value)) {
            let (left, listeners) = (data.lock.left(now), self.listeners);
            return Answer::Held { value, left, listeners };
        }
        let attempts = ask.once_per.and_then(|once| once.attempts);
        if attempts.is_some_and(|attempts| failed.count >= attempts.into()) {
            *failures = failed;
            return Answer::AttemptsUsedUp;
        }
        if self.rules.token_check && ask.key.token <= data.fence {
            return Answer::Stale;
        }
        // The uptime is counted in whole seconds of the clock, so granting begins at the start of a second.
        let uptime = Duration::from_secs(now / SECOND - self.started / SECOND);
        let is_settled = ask.settled.as_ref() == Some(&self.run_id);
        if self.rules.startup_grace && uptime < ask.settle && !is_settled {
            let seconds = (ask.settle - uptime).as_millis().div_ceil(1000) as u64;
            return Answer::StartupGrace { left: Duration::from_nanos(seconds * SECOND - now % SECOND) };
        }
        *failures = failed;
        Answer::Granted
    }

    pub fn extend(&mut self, key: &NodesKey, ttl: Duration, note: Option<&Note>, now: u64) -> ExtendReply {
        let (value, token) = (key.value.as_str(), key.token);
        if let Some(note) = note {
            let key = match note.noted {
                Noted::Success => &mut self.data.done,
                Noted::Failure => &mut self.data.failed,
            };
            let count = |text: &str| text.parse::<u32>().ok();
            let newer = match count(&note.text) {
                Some(number) => number > key.get(now).and_then(count).unwrap_or_default(),
                None => key.left(now).is_none_or(|left| left < note.lasts),
            };
            if newer {
                *key = Key::set(&note.text, now, note.lasts);
            }
        }
        let data = &mut self.data;
        let held = data.lock.get(now);
        let behind = self.rules.token_check && data.fence > token;
        match held {
            Some(other) if other != value => return ExtendReply::Taken,
            None if behind => return ExtendReply::Overtaken { fence: data.fence },
            _ => {}
        }
        let step_down = data.step_down.get(now) == Some(value);
        let time = clock(now);
        let answer =
            if held.is_some() { ExtendReply::Renewed { step_down, time } } else { ExtendReply::Restored { time } };
        data.fence = data.fence.max(token);
        data.lock = Key::set(value, now, ttl);
        answer
    }

    pub fn ask_to_step_down(&mut self, value: &LockValue, lasts: Duration, now: u64) {
        self.data.step_down = Key::set(value.as_str(), now, lasts);
    }

    pub fn release(&mut self, key: &NodesKey, tell: bool, options: ReleaseOptions, now: u64) -> ReleaseReply {
        let NodesKey { value, proof, token } = key;
        let data = &mut self.data;
        let late = self.rules.release_check && data.fence > *token;
        let is_ours = data.lock.get(now).map_or(options.hold.is_some(), |held| held == value.as_str());
        if !is_ours || late {
            return ReleaseReply::NotOurs;
        }
        data.lock = options.hold.map_or(Key::default(), |hold| Key::set(value.kept().as_str(), now, hold));
        data.fence = if self.rules.token_check { token.following() } else { data.fence.max(token.following()) };
        if tell {
            let (proof, listeners) = (Some(proof.clone()), self.listeners);
            self.told.push(match options {
                ReleaseOptions { succeeded: true, hold } => {
                    Notification::Done { proof: proof.filter(|_| hold.is_none()), listeners }
                }
                ReleaseOptions { hold: Some(left), .. } => Notification::Held { left, listeners },
                ReleaseOptions { hold: None, .. } => Notification::Released { proof, listeners },
            });
        }
        ReleaseReply::Freed
    }
}
