//! The three scripts, one more that only tells, and one that only looks: how they are called and what they answer. Each is one EVAL, one round
//! trip, also on a server that has never seen it.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::{
    lock::ReleaseOptions,
    once_per::{Failures, Note, Noted},
};

const ACQUIRE: &str = include_str!("acquire.lua");
const EXTEND: &str = include_str!("extend.lua");
const RELEASE: &str = include_str!("release.lua");
const TELL: &str = include_str!("tell.lua");
const LOOK: &str = include_str!("look.lua");

/// A lock's keys on a node.
#[derive(Clone, Debug)]
pub struct Keys {
    pub lock: String,
    fence: String,
    done: String,
    failed: String,
    step_down: String,
}

impl Keys {
    pub fn new(lock: &str) -> Self {
        let of = |what: &str| format!("{lock}:{what}");
        Keys {
            lock: lock.to_owned(),
            fence: of("fence"),
            done: of("done"),
            failed: of("failed"),
            step_down: of("step-down"),
        }
    }

    fn eval(&self, script: &str, more: &[&String]) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(script).arg(2 + more.len()).arg(&self.lock).arg(&self.fence).arg(more);
        cmd
    }

    pub fn acquire(&self, ask: &Acquisition) -> Cmd {
        let mut cmd = self.eval(ACQUIRE, &[&self.done, &self.failed]);
        cmd.arg(&ask.value).arg(millis(ask.ttl)).arg(ask.token.to_string()).arg(millis(ask.settle));
        cmd.arg(u8::from(ask.tell)).arg(&ask.freed).arg(ask.may_fail.map_or(String::new(), |most| most.to_string()));
        cmd
    }

    /// An extension, which leaves a note if there is one.
    pub fn extend(&self, value: &str, ttl: Duration, token: u64, note: Option<&Note>) -> Cmd {
        let key = note.map(|note| match note.noted {
            Noted::Done => &self.done,
            Noted::Failed => &self.failed,
        });
        let keys: Vec<&String> = [&self.step_down].into_iter().chain(key).collect();
        let mut cmd = self.eval(EXTEND, &keys);
        cmd.arg(value).arg(millis(ttl)).arg(token.to_string());
        if let Some(note) = note {
            cmd.arg(&note.text).arg(millis(note.lasts));
        }
        cmd
    }

    /// Reads what is there.
    pub fn look(&self) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(LOOK).arg(3).arg(&self.lock).arg(&self.fence).arg(&self.done);
        cmd
    }

    /// Asks the leader whose lock has this value to step down; it forgets that after so long.
    pub fn ask_to_step_down(&self, value: &str, lasts: Duration) -> Cmd {
        let mut cmd = redis::cmd("SET");
        cmd.arg(&self.step_down).arg(value).arg("PX").arg(millis(lasts));
        cmd
    }

    /// Tells those who listen of a vote that another node should have told.
    pub fn tell_acquisition(&self, freed: &str) -> Cmd {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(&self.lock).arg(format!("acquired {freed}"));
        cmd
    }

    /// Tells those who listen of a release that another node should have told.
    pub fn tell_release(&self, value: &str, telling: Audience, options: ReleaseOptions) -> Cmd {
        let (word, subject) = message(value, options);
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(TELL).arg(1).arg(&self.lock).arg(telling.not_counted()).arg(word).arg(subject);
        cmd
    }

    /// `kept_as`: the lock's value from now on, where it stays taken.
    pub fn release(&self, value: &str, token: u64, telling: Audience, options: ReleaseOptions, kept_as: &str) -> Cmd {
        let (word, subject) = message(value, options);
        let mut cmd = self.eval(RELEASE, &[]);
        cmd.arg(value).arg(token.to_string()).arg((token + 1).to_string());
        cmd.arg(telling.not_counted()).arg(word).arg(subject);
        if let Some(hold) = options.hold {
            cmd.arg(kept_as).arg(millis(hold));
        }
        cmd
    }
}

/// What those who listen are told: the first word, and what follows the number of those who listen.
fn message(value: &str, options: ReleaseOptions) -> (&'static str, String) {
    match options {
        ReleaseOptions { done: true, .. } => ("done", value.to_owned()),
        ReleaseOptions { hold: Some(hold), .. } => ("held", millis(hold).to_string()),
        ReleaseOptions { hold: None, .. } => ("released", value.to_owned()),
    }
}

/// What acquire is asked with.
#[derive(Clone, Debug)]
pub struct Acquisition {
    pub value: String,
    pub token: u64,
    pub ttl: Duration,
    /// How long the server must have been up.
    pub settle: Duration,
    /// Those who listen hear of the vote.
    pub tell: bool,
    /// A value that its holder has told to be released, which this node may not have replies of yet; empty for none.
    pub freed: String,
    /// How often the command may fail in its period, 0 for any number; `None` where nothing is asked of the period.
    pub may_fail: Option<u32>,
}

/// Who is told of a release, and whether we are one of those who listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Nobody,
    All,
    AllButUs,
}

impl Audience {
    /// How many of those who listen don't wait to lead; empty where nobody is told.
    fn not_counted(self) -> &'static str {
        match self {
            Audience::Nobody => "",
            Audience::All => "0",
            Audience::AllButUs => "1",
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A node's answer to acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireReply {
    /// The server process, a new id with each start.
    pub run_id: String,
    pub fence: u64,
    /// How often the command has failed in this period.
    pub failures: Failures,
    pub answer: Answer,
}

impl AcquireReply {
    pub fn is_vote(&self) -> bool {
        self.answer == Answer::Granted
    }

    pub fn listeners(&self) -> Option<u32> {
        match self.answer {
            Answer::Held { listeners, .. } => Some(listeners),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Granted,
    /// The lock is another's; it runs out by itself in `left`, or never. So many listen for a change.
    Held {
        value: String,
        left: Option<Duration>,
        listeners: u32,
    },
    /// The token is not above the last one granted.
    Stale,
    /// The node has not been up long enough; it grants in so long.
    StartupGrace {
        left: Duration,
    },
    /// The command has succeeded in this period, as this note says.
    Done {
        note: String,
        left: Option<Duration>,
    },
    /// The command has failed as often as it may in this period.
    Spent,
}

/// A node's answer to extend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtendReply {
    Renewed {
        /// We are asked to step down.
        step_down: bool,
    },
    /// The node had lost the key and has it again.
    Restored,
    /// The lock is another's.
    Taken,
    /// The lock is free, but a larger token has been granted since.
    Overtaken { fence: u64 },
}

impl ExtendReply {
    pub fn is_vote(&self) -> bool {
        matches!(self, ExtendReply::Renewed { .. } | ExtendReply::Restored)
    }
}

/// A node's answer to release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseReply {
    Freed,
    /// There was nothing of ours to release.
    NotOurs,
}

/// What a node says of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookReply {
    /// Empty where the lock is free.
    pub value: String,
    pub left: Option<Duration>,
    pub fence: u64,
    /// The note of a success in this period; empty where there is none.
    pub done: String,
    pub done_left: Option<Duration>,
}

impl LookReply {
    pub fn read(value: Value) -> Option<Self> {
        let [value, left, fence, done, done_left] = strings(value)?.try_into().ok()?;
        let fence = if fence.is_empty() { 0 } else { fence.parse().ok()? };
        Some(LookReply { value, left: time_left(&left)?, fence, done, done_left: time_left(&done_left)? })
    }
}

pub fn acquired(value: Value) -> Option<AcquireReply> {
    let parts = strings(value)?;
    let [kind, run_id, fence, rest @ ..] = parts.as_slice() else { return None };
    let mut failures = Failures::default();
    let answer = match (kind.as_str(), rest) {
        ("granted", [count, left]) => {
            failures = Failures { count: count.parse().ok()?, left: time_left(left)? };
            Answer::Granted
        }
        ("held", [value, left, listeners]) => {
            Answer::Held { value: value.clone(), left: time_left(left)?, listeners: listeners.parse().ok()? }
        }
        ("stale", []) => Answer::Stale,
        ("young", [left]) => Answer::StartupGrace { left: Duration::from_millis(left.parse().ok()?) },
        ("done", [note, left]) => Answer::Done { note: note.clone(), left: time_left(left)? },
        ("spent", [count, left]) => {
            failures = Failures { count: count.parse().ok()?, left: time_left(left)? };
            Answer::Spent
        }
        _ => return None,
    };
    Some(AcquireReply { run_id: run_id.clone(), fence: fence.parse().ok()?, failures, answer })
}

/// A key's PTTL: milliseconds, or negative for a key that doesn't run out or isn't there.
fn time_left(pttl: &str) -> Option<Option<Duration>> {
    Some(u64::try_from(pttl.parse::<i64>().ok()?).ok().map(Duration::from_millis))
}

pub fn extended(value: Value) -> Option<ExtendReply> {
    let parts = strings(value)?;
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["extended", _, asked] => Some(ExtendReply::Renewed { step_down: *asked == "1" }),
        ["healed", _] => Some(ExtendReply::Restored),
        ["lost", _, _] => Some(ExtendReply::Taken),
        ["lost", fence] => Some(ExtendReply::Overtaken { fence: fence.parse().ok()? }),
        _ => None,
    }
}

pub fn released(value: Value) -> Option<ReleaseReply> {
    match strings(value)?.first()?.as_str() {
        "released" => Some(ReleaseReply::Freed),
        "kept" => Some(ReleaseReply::NotOurs),
        _ => None,
    }
}

fn strings(value: Value) -> Option<Vec<String>> {
    let Value::Array(parts) = value else { return None };
    parts
        .into_iter()
        .map(|part| match part {
            Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Value::SimpleString(text) => Some(text),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        })
        .collect()
}
