//! Why a lease is lost.

use std::{fmt, time::Duration};

use crate::lock::BackendFailure;

/// Why a lease was lost.
pub(super) enum Loss {
    /// The last extension failed.
    NotExtended(BackendFailure),
    /// We did not run for this long.
    DidNotRun(Duration),
    /// No extension failed, but none was in time.
    NotInTime,
}

impl Loss {
    /// Returns the reason as a word, for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Loss::NotExtended(_) => "not_extended",
            Loss::DidNotRun(_) => "did_not_run",
            Loss::NotInTime => "not_in_time",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::NotExtended(why) => why.fmt(f),
            Loss::DidNotRun(late) => {
                let late = humantime::format_duration(Duration::from_millis(late.as_millis() as u64));
                write!(f, "leaderrun did not run for {late} (suspended, stopped or starved)")
            }
            Loss::NotInTime => f.write_str("it could not be extended in time"),
        }
    }
}
