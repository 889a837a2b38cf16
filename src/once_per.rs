//! What a command's end means for the other instances. After a success, none of them runs the command again in this
//! period (`--once-per`). Failures are counted (`--attempts`).

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{clock::Moment, host::wall_time, lease::FencingToken};

/// At most one success per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OncePer {
    /// Counted from the start of the command that succeeds.
    pub period: Duration,
    /// How often the command may fail before all instances give up; `None`: any number of times.
    pub attempts: Option<u16>,
}

/// How often the command has failed in the period that began with its first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failures {
    pub count: u32,
    /// The rest of that period.
    pub left: Option<Duration>,
}

/// A record for the other instances, kept where the lease is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub noted: Noted,
    pub text: String,
    /// How long it is kept.
    pub lasts: Duration,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    Success,
    Failure,
}

/// A success recorded for this period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastSuccess {
    /// The note's text, as found.
    pub note: String,
    /// The rest of the period.
    pub left: Option<Duration>,
}

/// The contents of a success's note.
#[derive(Serialize, Deserialize)]
struct Success {
    token: FencingToken,
    holder: String,
    ended: String,
}

impl OncePer {
    /// Returns the note for a success now; `None` once the period is over.
    pub(crate) fn success(&self, holder: &str, token: FencingToken, began: Moment) -> Option<Note> {
        let lasts = rest(self.period, began)?;
        let ended = humantime::format_rfc3339_seconds(wall_time()).to_string();
        let text = serde_json::to_string(&Success { token, holder: holder.to_owned(), ended }).ok()?;
        Some(Note { noted: Noted::Success, text, lasts })
    }

    /// Returns the note for one more failure now; `None` if failures aren't counted, or once the period is over.
    pub(crate) fn failure(&self, failures: Failures, began: Moment) -> Option<Note> {
        self.attempts?;
        let lasts = rest(failures.left.unwrap_or(self.period), began)?;
        Some(Note { noted: Noted::Failure, text: failures.count.saturating_add(1).to_string(), lasts })
    }
}

impl fmt::Display for PastSuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::from_str(&self.note) {
            Ok(Success { holder, ended, .. }) => write!(f, "{holder} succeeded at {ended}")?,
            Err(_) => f.write_str("the command has succeeded")?,
        }
        if let Some(left) = self.left {
            let left = Duration::from_secs(left.as_secs().saturating_add(1));
            write!(f, "; the period lasts for another {}", humantime::format_duration(left))?;
        }
        Ok(())
    }
}

/// Returns the rest of a period that began at `began`; `None` if it is over.
pub(crate) fn rest(time: Duration, began: Moment) -> Option<Duration> {
    time.checked_sub(Moment::now().since(began)).filter(|rest| rest.as_millis() > 0)
}
