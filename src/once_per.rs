//! What a command's end means for the other instances. After a success, none of them runs the command again in this
//! period (`--once-per`, `--once-for`). Failures are counted (`--attempts`).

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Moment, show_time},
    host::wall_time,
    lease::FencingToken,
    sys::signal::signal_name,
};

/// At most one success per period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OncePer {
    /// How long a success counts, from the start of the command that succeeds.
    pub period: Duration,
    /// How often the command may fail before all instances give up; `None`: any number of times.
    pub attempts: Option<u16>,
    /// The period's name; `None` for one that has only its length.
    pub key: Option<PeriodKey>,
}

/// The name of a period, such as a date. What is noted for one doesn't count for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PeriodKey(String);

/// How often the command has failed in the period that began with its first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failures {
    pub count: u32,
    /// The rest of that period.
    pub left: Option<Duration>,
}

/// The failures of a period, as their note tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PastFailures {
    pub count: u32,
    /// `None` if the note doesn't say.
    pub last: Option<FailedRun>,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedRun {
    pub holder: String,
    pub end: FailedEnd,
}

/// How a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailedEnd {
    ExitStatus(u8),
    Signal(i32),
    /// It ran for too long, and was stopped.
    MaxRun,
}

/// A record for the other instances, kept where the lease is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub noted: Noted,
    /// The period that it is about.
    pub key: Option<PeriodKey>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PeriodKey>,
}

impl OncePer {
    /// Returns the note for a success now; `None` once the period is over.
    pub(crate) fn success(&self, holder: &str, token: FencingToken, began: Moment) -> Option<Note> {
        let lasts = rest(self.period, began)?;
        let ended = humantime::format_rfc3339_seconds(wall_time()).to_string();
        let (holder, key) = (holder.to_owned(), self.key.clone());
        let text = serde_json::to_string(&Success { token, holder, ended, key }).ok()?;
        Some(Note { noted: Noted::Success, key: self.key.clone(), text, lasts })
    }

    /// Returns the note for one more failure now; `None` if failures aren't counted, or once the period is over.
    pub(crate) fn failure(&self, failures: Failures, run: &FailedRun, began: Moment) -> Option<Note> {
        self.attempts?;
        // No node keeps failures for longer than a period, whatever one says.
        let lasts = rest(failures.left.unwrap_or(self.period).min(self.period), began)?;
        // The number comes first, for the nodes, which keep the largest.
        let text = format!("{} {}", failures.count.saturating_add(1), serde_json::to_string(run).ok()?);
        Some(Note { noted: Noted::Failure, key: self.key.clone(), text, lasts })
    }

    /// Returns whether so many failures leave no other attempt.
    pub(crate) fn is_used_up(&self, failures: u32) -> bool {
        self.attempts.is_some_and(|attempts| failures >= attempts.into())
    }

    /// Returns which period this is, in words.
    pub(crate) fn in_words(&self) -> String {
        self.key.as_ref().map_or_else(|| "in this period".to_owned(), |key| format!("for {key}"))
    }
}

impl PeriodKey {
    /// Takes a name without control characters.
    pub(crate) const fn new(name: String) -> Self {
        PeriodKey(name)
    }

    /// Returns the name as a part of a key on the nodes, whose parts colons separate.
    pub(crate) fn escaped(&self) -> String {
        self.0.replace('%', "%25").replace(':', "%3A")
    }
}

impl PastFailures {
    /// Reads the text of a note; `None` if it isn't one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (count, last) = text.split_once(' ').unwrap_or((text, ""));
        Some(PastFailures { count: count.parse().ok()?, last: serde_json::from_str(last).ok() })
    }
}

impl fmt::Display for PeriodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// "3 failures, the last on web-2 with exit status 9"
impl fmt::Display for PastFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        write!(f, "{count} failure{}", if count == 1 { "" } else { "s" })?;
        match &self.last {
            Some(last) => write!(f, ", {}on {last}", if count == 1 { "" } else { "the last " }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FailedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailedRun { holder, end } = self;
        match end {
            FailedEnd::ExitStatus(status) => write!(f, "{holder} with exit status {status}"),
            FailedEnd::Signal(number) => write!(f, "{holder} by {}", signal_name(*number)),
            FailedEnd::MaxRun => write!(f, "{holder}, where it ran for too long (--max-run)"),
        }
    }
}

impl fmt::Display for PastSuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let success = serde_json::from_str(&self.note).ok();
        match &success {
            Some(Success { holder, ended, .. }) => write!(f, "{holder} succeeded at {ended}")?,
            None => f.write_str("the command has succeeded")?,
        }
        let key = success.and_then(|success| success.key);
        if let Some(key) = &key {
            write!(f, " for {key}")?;
        }
        match (self.left, key) {
            (Some(left), Some(_)) => match wall_time().checked_add(left) {
                Some(until) => write!(f, "; that is remembered until {}", show_time(until)),
                None => Ok(()),
            },
            (Some(left), None) => {
                let left = Duration::from_secs(left.as_secs().saturating_add(1));
                write!(f, "; the period lasts for another {}", humantime::format_duration(left))
            }
            (None, _) => Ok(()),
        }
    }
}

/// Returns the rest of a period that began at `began`; `None` if it is over.
pub(crate) fn rest(time: Duration, began: Moment) -> Option<Duration> {
    time.checked_sub(Moment::now().since(began)).filter(|rest| rest.as_millis() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_failures_is_read_as_written_and_named_in_words() {
        let once = OncePer { period: Duration::from_secs(60), attempts: Some(3), key: None };
        let text = |count, end| {
            let run = FailedRun { holder: "web-2".into(), end };
            let note = once.failure(Failures { count, left: None }, &run, Moment::now()).expect("a note");
            PastFailures::read(&note.text).expect("failures").to_string()
        };
        assert_eq!(text(2, FailedEnd::ExitStatus(9)), "3 failures, the last on web-2 with exit status 9");
        assert_eq!(text(0, FailedEnd::Signal(9)), "1 failure, on web-2 by SIGKILL");
        assert_eq!(text(0, FailedEnd::Signal(40)), "1 failure, on web-2 by signal 40");
        assert_eq!(text(1, FailedEnd::MaxRun), "2 failures, the last on web-2, where it ran for too long (--max-run)");
        assert_eq!(PastFailures::read("2").map(|failures| failures.to_string()).as_deref(), Some("2 failures"));
        assert_eq!(PastFailures::read("x {}"), None);
    }

    #[test]
    fn different_names_of_periods_are_different_parts_of_a_key() {
        let escaped = |name: &str| PeriodKey::new(name.into()).escaped();
        assert_eq!(escaped("2026-11-27"), "2026-11-27");
        assert_eq!((escaped("a:b"), escaped("a%3Ab")), ("a%3Ab".into(), "a%253Ab".into()));
    }
}
