//! What the records of two runs show that must never happen.
//!
//! Times of different nodes can't be compared, and a node's clock may be set back between two runs. So only what every
//! node shows that knows the times of both runs counts.

use std::fmt;

use super::record::RunRecord;
use crate::lease::FencingToken;

/// What is wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It began while the command of the run with this token was running.
    Overlaps(FencingToken),
    /// It began before the run with this token, which is smaller.
    TokenShrank(FencingToken),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Overlaps(token) => write!(f, "began while the run with token {token} was still running"),
            Problem::TokenShrank(token) => {
                write!(f, "began before the run with token {token}: its own token is larger, and should be smaller")
            }
        }
    }
}

/// What is certain about the times of a run, by one clock, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// By this time its command had begun.
    begun_by: Option<u64>,
    /// Its command began after this time.
    began_after: Option<u64>,
    /// Its command ran until this time or later.
    ran_until: Option<u64>,
}

impl Times {
    /// Takes what a record shows for certain. The time of a grant alone says too little: the command starts later.
    pub(super) fn of(record: &RunRecord) -> Self {
        let is_start_known = record.seen.is_some() || record.end.is_some();
        Times {
            begun_by: is_start_known.then_some(record.start),
            began_after: record.until.zip(record.ran_ms).and_then(|(until, ran)| until.checked_sub(ran)),
            ran_until: record.until,
        }
    }

    /// Returns what is wrong if `earlier` has a smaller token: 0 nothing, 1 they overlap, 2 they came in the wrong order.
    /// `None` if this clock can't tell.
    fn compared(&self, earlier: &Times) -> Option<u8> {
        let (begun, until) = (self.begun_by?, earlier.ran_until?);
        let after = earlier.began_after.is_some_and(|after| begun < after);
        Some(if after { 2 } else { u8::from(begun < until) })
    }
}

/// Returns what is wrong with a run that follows `earlier`, whose token is smaller. `pairs`: their times by each clock that
/// has both, the later run's first.
pub(super) fn problem<'a>(
    earlier: FencingToken,
    pairs: impl Iterator<Item = (&'a Times, &'a Times)>,
) -> Option<Problem> {
    let worst = pairs.filter_map(|(later, earlier)| later.compared(earlier)).min()?;
    match worst {
        0 => None,
        1 => Some(Problem::Overlaps(earlier)),
        _ => Some(Problem::TokenShrank(earlier)),
    }
}
