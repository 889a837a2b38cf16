//! What a command's end means for the other replicas: a success, after which none of them runs it again in this period
//! (`--once-per`), a failure that counts (`--attempts`), and a lock that stays taken for a while (`--hold`).

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// At most one success per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OncePer {
    /// Counted from the start of the command that succeeds.
    pub period: Duration,
    /// How often the command may fail before all give up; `None`: any number of times.
    pub attempts: Option<u16>,
}

/// How often the command has failed in the period that began with its first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failures {
    pub count: u32,
    /// The rest of that period.
    pub left: Option<Duration>,
}

/// What is written where the lease is held, so that the others find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub noted: Noted,
    pub text: String,
    /// It is gone after this time.
    pub lasts: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    Done,
    Failed,
}

/// A success, as it is noted.
#[derive(Serialize, Deserialize)]
struct Success {
    token: u64,
    holder: String,
    ended: String,
}

impl OncePer {
    /// The note of a success now; `None` once the period is over.
    pub fn success(&self, holder: &str, token: u64, began: Moment) -> Option<Note> {
        let lasts = rest(self.period, began)?;
        let ended = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let text = serde_json::to_string(&Success { token, holder: holder.to_owned(), ended }).ok()?;
        Some(Note { noted: Noted::Done, text, lasts })
    }

    /// The note of one more failure now; `None` where nobody counts them, or once the period is over.
    pub fn failure(&self, failures: Failures, began: Moment) -> Option<Note> {
        self.attempts?;
        let lasts = rest(failures.left.unwrap_or(self.period), began)?;
        Some(Note { noted: Noted::Failed, text: failures.count.saturating_add(1).to_string(), lasts })
    }
}

/// What is left of a time that began then; `None` if it is over.
pub fn rest(time: Duration, began: Moment) -> Option<Duration> {
    time.checked_sub(Moment::now().since(began)).filter(|rest| rest.as_millis() > 0)
}

/// What a success's note says, for a message.
pub fn told_of_success(note: &str, left: Option<Duration>) -> String {
    let rest = left.map(|left| {
        let left = Duration::from_secs(left.as_secs() + 1);
        format!("; the period lasts for another {}", humantime::format_duration(left))
    });
    let who = serde_json::from_str(note).map(|Success { holder, ended, .. }| format!("{holder} succeeded at {ended}"));
    format!("{}{}", who.unwrap_or_else(|_| "the command has succeeded".into()), rest.unwrap_or_default())
}
