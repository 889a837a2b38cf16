//! The answers of the scripts.

use std::time::Duration;

use redis::Value;

use crate::{
    history::RunRecord,
    lease::FencingToken,
    lock::LockValue,
    once_per::{Failures, PastFailures, PastSuccess},
    redlock::known_clocks::NodeTime,
};

/// A node's answer to acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcquireReply {
    /// The id of the server process, new with each start.
    pub run_id: String,
    pub fence: FencingToken,
    /// How often the command has failed in this period.
    pub failures: Failures,
    /// What the node's clock showed when it voted.
    pub time: Option<NodeTime>,
    pub answer: Answer,
}

impl AcquireReply {
    /// Returns whether it counts towards a quorum.
    pub(crate) fn is_vote(&self) -> bool {
        self.answer == Answer::Granted
    }

    /// Returns how many listen for a change, if the lock is taken.
    pub(crate) fn listeners(&self) -> Option<u32> {
        match self.answer {
            Answer::Held { listeners, .. } => Some(listeners),
            _ => None,
        }
    }
}

/// What a node answers to a request for its vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// The lock is another's. It expires in `left`, or never; `listeners` wait for a change.
    Held {
        value: LockValue,
        left: Option<Duration>,
        listeners: u32,
    },
    /// The token is not larger than the last one granted.
    Stale,
    /// The node has not been up long enough; it grants in `left`.
    StartupGrace {
        left: Duration,
    },
    /// The command has succeeded in this period.
    Succeeded(PastSuccess),
    /// The command has failed as often as it may in this period.
    AttemptsUsedUp(PastFailures),
}

/// A node's answer to extend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExtendReply {
    Renewed {
        /// We are asked to step down.
        step_down: bool,
        time: NodeTime,
    },
    /// The node had lost the key and has it back.
    Restored { time: NodeTime },
    /// The lock is another's: this one's.
    Taken { by: LockValue },
    /// The lock is free, but a larger token has been granted since.
    Overtaken { fence: FencingToken },
    /// The server process has been up for too short a time to set a lock again that is gone, or for the one that it has to count. It
    /// has been up for long enough in `left`.
    StartupGrace { left: Duration, run_id: String, time: NodeTime },
}

impl ExtendReply {
    /// Returns whether it counts towards a quorum.
    pub(crate) fn is_vote(&self) -> bool {
        matches!(self, ExtendReply::Renewed { .. } | ExtendReply::Restored { .. })
    }

    /// Returns what the node's clock showed, unless another has the lock or a larger token there.
    pub(crate) fn time(&self) -> Option<NodeTime> {
        match self {
            ExtendReply::Renewed { time, .. }
            | ExtendReply::Restored { time }
            | ExtendReply::StartupGrace { time, .. } => Some(*time),
            ExtendReply::Taken { .. } | ExtendReply::Overtaken { .. } => None,
        }
    }
}

/// A node's answer to release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseReply {
    Freed {
        /// How many stand by, if the node may and should count them.
        standbys: Option<u32>,
        /// The node has notified some of them, and others not.
        some_sleep: bool,
    },
    /// There was nothing of ours to release, or a larger token than the release's has been granted or extended.
    NotOurs { fence: FencingToken },
    /// The server has been up for too short a time for the lock that it keeps to count.
    StartupGrace { left: Duration },
}

/// What a node reports about a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LookReply {
    /// `None` if the lock is free.
    pub value: Option<LockValue>,
    pub left: Option<Duration>,
    /// `None` if the node has granted no token, or forgotten it.
    pub fence: Option<FencingToken>,
    /// The success recorded for this period.
    pub success: Option<PastSuccess>,
    /// The failures recorded for it; `None` if they weren't asked for.
    pub failures: Option<PastFailures>,
}

impl LookReply {
    /// Reads an answer of `look.lua`; returns `None` if it isn't one.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let mut parts = strings(value)?;
        let failures = if parts.len() > 5 { Some(parts.remove(5)) } else { None };
        let [value, left, fence, note, note_left] = parts.try_into().ok()?;
        let left_of_note = time_left(&note_left)?;
        let read =
            |note: String| not_empty(note).map_or(Some(PastFailures::default()), |note| PastFailures::read(&note));
        Some(LookReply {
            value: not_empty(value).map(LockValue::from_node),
            left: time_left(&left)?,
            fence: match not_empty(fence) {
                Some(fence) => Some(fence.parse().ok()?).filter(|&fence| fence > FencingToken::ZERO),
                None => None,
            },
            success: not_empty(note).map(|note| PastSuccess { note, left: left_of_note }),
            failures: failures.and_then(read),
        })
    }
}

/// What a node reports about the locks of all slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SurveyReply {
    /// How many listen for a change.
    pub listeners: u32,
    /// What is under the name of the resource, and how long it lasts.
    pub name: Option<Holding>,
    /// In the order of the slots: who has the lock, and the largest token granted.
    pub slots: Vec<(Option<Holding>, FencingToken)>,
}

/// A lock that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub value: LockValue,
    /// `None` if it doesn't expire.
    pub left: Option<Duration>,
}

impl SurveyReply {
    /// Reads an answer of `survey.lua`; returns `None` if it isn't one.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let parts = strings(value)?;
        let [listeners, name, name_left, slots @ ..] = parts.as_slice() else { return None };
        let slots = slots.chunks(3).map(|slot| {
            let [value, left, fence] = slot else { return None };
            let fence = if fence.is_empty() { FencingToken::ZERO } else { fence.parse().ok()? };
            Some((holding(value, left)?, fence))
        });
        Some(SurveyReply {
            listeners: listeners.parse().ok()?,
            name: holding(name, name_left)?,
            slots: slots.collect::<Option<_>>()?,
        })
    }
}

fn holding(value: &str, left: &str) -> Option<Option<Holding>> {
    let left = time_left(left)?;
    Some((!value.is_empty()).then(|| Holding { value: LockValue::from_node(value), left }))
}

/// What a node has on record about the runs of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunsReply {
    pub now: NodeTime,
    pub last_success: Option<RunRecord>,
    /// How many runs had which result.
    pub counts: Vec<(String, u64)>,
    pub records: Vec<RunRecord>,
}

impl RunsReply {
    /// Reads an answer of `runs.lua`; returns `None` if it isn't one. A record that can't be read is left out.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let parts = strings(value)?;
        let [now, last_success, counts, records @ ..] = parts.as_slice() else { return None };
        let record = |text: &String| serde_json::from_str(text).ok();
        let count =
            |text: &str| text.split_once(' ').and_then(|(word, count)| Some((word.to_owned(), count.parse().ok()?)));
        Some(RunsReply {
            now: node_time(now)?,
            last_success: record(last_success),
            counts: counts.split(',').filter_map(count).collect(),
            records: records.iter().filter_map(record).collect(),
        })
    }
}

/// Names of keys on a node, and where to look for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListReply {
    /// `None`: there are no more.
    pub cursor: Option<String>,
    pub keys: Vec<String>,
}

impl ListReply {
    /// Reads an answer of `list.lua`; returns `None` if it isn't one.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let mut keys = strings(value)?;
        if keys.is_empty() {
            return None;
        }
        let cursor = Some(keys.remove(0)).filter(|cursor| cursor != "0");
        Some(ListReply { cursor, keys })
    }
}

/// Returns a text; `None` for the empty one with which a script says that there is none.
fn not_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Reads an answer of `acquire.lua`; returns `None` if it isn't one.
pub(crate) fn acquired(value: Value) -> Option<AcquireReply> {
    let parts = strings(value)?;
    let [kind, run_id, fence, rest @ ..] = parts.as_slice() else { return None };
    let (mut failures, mut time) = (Failures::default(), None);
    let answer = match (kind.as_str(), rest) {
        ("granted", [note, left, now]) => {
            failures = Failures { count: PastFailures::read(note)?.count, left: time_left(left)? };
            time = Some(node_time(now)?);
            Answer::Granted
        }
        ("held", [value, left, listeners]) => {
            let (value, left) = (LockValue::from_node(value), time_left(left)?);
            Answer::Held { value, left, listeners: listeners.parse().ok()? }
        }
        ("stale", []) => Answer::Stale,
        ("young", [left]) => Answer::StartupGrace { left: millis(left)? },
        ("done", [note, left]) => Answer::Succeeded(PastSuccess { note: note.clone(), left: time_left(left)? }),
        ("spent", [note, left]) => {
            let past = PastFailures::read(note)?;
            failures = Failures { count: past.count, left: time_left(left)? };
            Answer::AttemptsUsedUp(past)
        }
        _ => return None,
    };
    Some(AcquireReply { run_id: run_id.clone(), fence: fence.parse().ok()?, failures, time, answer })
}

/// Reads a key's PTTL: milliseconds, or negative for a key that doesn't expire or doesn't exist.
fn time_left(pttl: &str) -> Option<Option<Duration>> {
    Some(u64::try_from(pttl.parse::<i64>().ok()?).ok().map(Duration::from_millis))
}

fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

/// Reads what a node's clock shows.
fn node_time(millis: &str) -> Option<NodeTime> {
    millis.parse().ok().map(NodeTime::from_millis)
}

/// Reads an answer of `extend.lua`; returns `None` if it isn't one. `lasts`: our last vote from the node lasts. If it doesn't, the
/// node may have voted for another before it started, and counts only once it has been up for the startup grace.
pub(crate) fn extended(value: Value, lasts: bool) -> Option<ExtendReply> {
    let parts = strings(value)?;
    let young = |now, settles_in, run_id: &str| {
        Some(ExtendReply::StartupGrace { left: millis(settles_in)?, run_id: run_id.to_owned(), time: node_time(now)? })
    };
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["young", _, now, settles_in, run_id] => young(now, settles_in, run_id),
        ["extended" | "healed", .., now, settles_in, run_id] if !lasts && *settles_in != "0" => {
            young(now, settles_in, run_id)
        }
        ["extended", _, asked, now, _, _] => {
            Some(ExtendReply::Renewed { step_down: *asked == "1", time: node_time(now)? })
        }
        ["healed", _, now, _, _] => Some(ExtendReply::Restored { time: node_time(now)? }),
        ["lost", _, value] => Some(ExtendReply::Taken { by: LockValue::from_node(*value) }),
        ["lost", fence] => Some(ExtendReply::Overtaken { fence: fence.parse().ok()? }),
        _ => None,
    }
}

/// Reads an answer of `release.lua`; returns `None` if it isn't one. `lasts`: see [`extended`]; for a lock that is kept.
pub(crate) fn released(value: Value, lasts: bool) -> Option<ReleaseReply> {
    match strings(value)?.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["released", .., settles_in] if !lasts && *settles_in != "0" => {
            Some(ReleaseReply::StartupGrace { left: millis(settles_in)? })
        }
        ["released", _, standbys, woken, _] => {
            // One that has just stopped listening may be taken off twice.
            let standbys = standbys.parse::<i64>().ok().map(|standbys| u32::try_from(standbys).unwrap_or_default());
            Some(ReleaseReply::Freed { standbys, some_sleep: !woken.is_empty() })
        }
        ["kept", fence] => Some(ReleaseReply::NotOurs { fence: fence.parse().ok()? }),
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
