//! The record of a run, as a node or the file of a lock has it, and how a run ends.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{clock::Moment, lease::FencingToken};

/// The longest name of a holder that is recorded, in characters.
const LONGEST_HOLDER: usize = 200;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunResult {
    /// The command exited with 0.
    Success,
    /// The command exited with another status.
    Exit(i32),
    /// A signal ended the command.
    Signal(i32),
    /// The lease was lost, and the command stopped.
    LeaseLost,
    /// The leader was asked to step down, and the command stopped.
    SteppedDown,
    /// The command ran for as long as it may, and was stopped.
    TimedOut,
    /// The command could not be started.
    NotStarted,
    /// A process of leaderrun died, and the command was killed.
    Failed,
    /// In a way that a newer leaderrun records.
    Other,
}

/// A run that is over, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedRun {
    pub token: FencingToken,
    pub began: Moment,
    /// When nothing was left of the command.
    pub ended: Moment,
    /// Whether it was seen at that moment. Otherwise it was earlier.
    pub is_end_seen: bool,
    pub result: RunResult,
}

/// A record of a run.
///
/// Its times are those of the one who has it, in milliseconds: of a node's wall clock, since 1970, or of this machine's,
/// since its boot. They can be compared with each other, but not with those of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub token: FencingToken,
    /// What distinguishes its leader's lock from all others; empty in the file of a lock.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(deserialize_with = "read_holder")]
    pub holder: String,
    /// When the lease was granted or, from the first extension on, by when the command had been started.
    pub start: u64,
    /// When the leader last extended its lease; `None` also for a run that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// A time until which the command has run for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// How long it ran by the clock of its leader, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RunResult>,
}

/// The part of a record that its leader knows; the node adds its times.
#[derive(Serialize)]
pub(crate) struct RecordHead<'a> {
    token: FencingToken,
    id: &'a str,
    holder: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ran_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<RunResult>,
}

impl EndedRun {
    /// Returns how long it ran, in milliseconds.
    pub(crate) fn ran_ms(&self) -> u64 {
        millis_between(self.began, self.ended)
    }
}

impl<'a> RecordHead<'a> {
    /// Creates the head of a run's record before its end.
    pub(crate) fn of_present(token: FencingToken, id: &'a str, holder: &'a str) -> Self {
        RecordHead { token, id, holder: recorded_holder(holder), until: None, ran_ms: None, end: None }
    }

    /// Creates the head of the record of a run that is over. `until`: see [`RunRecord`].
    pub(crate) fn of_ended(run: &EndedRun, id: &'a str, holder: &'a str, until: Option<u64>) -> Self {
        let present = Self::of_present(run.token, id, holder);
        RecordHead { until, ran_ms: Some(run.ran_ms()), end: Some(run.result), ..present }
    }

    /// Returns the record without its last brace, for a script to complete.
    pub(crate) fn open_text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.pop();
        text
    }
}

/// Returns as much of a holder's name as is recorded.
pub(crate) fn recorded_holder(holder: &str) -> &str {
    holder.char_indices().nth(LONGEST_HOLDER).map_or(holder, |(end, _)| &holder[..end])
}

/// Any user of a node can record a longer one.
fn read_holder<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(recorded_holder(&String::deserialize(from)?).to_owned())
}

fn millis_between(from: Moment, to: Moment) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

impl RunResult {
    /// Returns the word for results of this kind. The scripts count by it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            RunResult::Success => "success",
            RunResult::Exit(_) => "exit",
            RunResult::Signal(_) => "signal",
            RunResult::LeaseLost => "lease-lost",
            RunResult::SteppedDown => "stepped-down",
            RunResult::TimedOut => "timed-out",
            RunResult::NotStarted => "not-started",
            RunResult::Failed => "failed",
            RunResult::Other => "other",
        }
    }

    /// Returns the result of a record.
    fn from_recorded(text: &str) -> Self {
        let (word, number) = text.split_once(' ').unwrap_or((text, ""));
        match (word, number.parse().ok()) {
            ("success", _) => RunResult::Success,
            ("exit", Some(status)) => RunResult::Exit(status),
            ("signal", Some(signal)) => RunResult::Signal(signal),
            ("lease-lost", _) => RunResult::LeaseLost,
            ("stepped-down", _) => RunResult::SteppedDown,
            ("timed-out", _) => RunResult::TimedOut,
            ("not-started", _) => RunResult::NotStarted,
            ("failed", _) => RunResult::Failed,
            _ => RunResult::Other,
        }
    }
}

impl Serialize for RunResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RunResult::Exit(number) | RunResult::Signal(number) => {
                serializer.collect_str(&format_args!("{} {number}", self.word()))
            }
            _ => serializer.serialize_str(self.word()),
        }
    }
}

impl<'de> Deserialize<'de> for RunResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| RunResult::from_recorded(&text))
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunResult::Success => f.write_str("success"),
            RunResult::Exit(status) => write!(f, "exit status {status}"),
            RunResult::Signal(signal) => write!(f, "signal {signal}"),
            RunResult::LeaseLost => f.write_str("lost the lease"),
            RunResult::SteppedDown => f.write_str("stepped down"),
            RunResult::TimedOut => f.write_str("timed out"),
            RunResult::NotStarted => f.write_str("not started"),
            RunResult::Failed => f.write_str("leaderrun died"),
            RunResult::Other => f.write_str("unknown to this version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_result_is_read_as_written() {
        use RunResult::{Exit, Failed, LeaseLost, NotStarted, Other, Signal, SteppedDown, Success, TimedOut};
        for result in [Success, Exit(3), Signal(9), LeaseLost, SteppedDown, TimedOut, NotStarted, Failed, Other] {
            let text = serde_json::to_string(&result).expect("JSON");
            assert_eq!(serde_json::from_str::<RunResult>(&text).expect("a result"), result);
        }
    }

    proptest! {
        #[test]
        fn a_script_completes_any_head_to_a_record(holder in any::<String>(), token in 1..FencingToken::MAX.get()) {
            let head = RecordHead::of_present(FencingToken::new(token), "ab", &holder).open_text();
            let record: RunRecord = serde_json::from_str(&format!("{head},\"start\":17}}")).expect("a record");
            prop_assert_eq!((record.token.get(), record.start), (token, 17));
            prop_assert!(holder.starts_with(&record.holder));
        }
    }
}
