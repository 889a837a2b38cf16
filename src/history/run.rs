//! A run as all of its records show it, and the history that they make up.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{problem::Problem, record::RunResult};
use crate::lease::{FencingToken, Turnout};

/// The word under which a node counts the runs that have no end on record.
const WITHOUT_END: &str = "none";

/// The word for a run of which nobody could record how it ended.
const DIED: &str = "died";

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub token: FencingToken,
    pub holder: String,
    /// When it began, by the clock of a node that has recorded it.
    pub start: SystemTime,
    pub state: RunState,
    /// How many nodes have recorded it.
    pub nodes: usize,
    pub problem: Option<Problem>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Its leader still leads, and has for this long.
    Leads { for_now: Duration },
    /// It ended, after it had run for this long.
    Ended { result: RunResult, ran: Duration },
    /// It is over, and nobody could record how. Its leader last extended its lease after this long.
    Died { at_least: Option<Duration> },
    /// It may be under way: who leads isn't known. Its leader has extended its lease after this long.
    Unknown { at_least: Option<Duration> },
    /// Too few nodes recorded it to say whether it ever led.
    Unproven,
}

/// A success, and how long ago it was by the clock of the node that has recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastRun {
    pub run: Run,
    /// Since its end.
    pub ago: Duration,
}

/// The history of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The newest first.
    pub runs: Vec<Run>,
    /// The last success. It may be older than all of the runs.
    pub last_success: Option<PastRun>,
    /// How many of the last hundred runs had which result, by [`Run::word`].
    pub counts: BTreeMap<String, u64>,
    pub turnout: Turnout,
    /// How many nodes were asked.
    pub nodes: usize,
}

impl Run {
    /// Returns whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, RunState::Ended { .. } | RunState::Died { .. })
    }

    /// Returns whether it looks over without an end on record. It may be under way.
    pub(crate) fn lacks_end(&self) -> bool {
        matches!(self.state, RunState::Died { .. } | RunState::Unproven)
    }

    /// Returns the word for what became of it.
    pub(crate) fn word(&self) -> &'static str {
        match self.state {
            RunState::Leads { .. } => "leads",
            RunState::Ended { result, .. } => result.word(),
            RunState::Died { .. } => DIED,
            RunState::Unknown { .. } => "unknown",
            RunState::Unproven => "unproven",
        }
    }

    /// Returns how long it ran, or has run, as far as is known.
    pub(crate) fn ran(&self) -> Option<Duration> {
        match self.state {
            RunState::Leads { for_now } => Some(for_now),
            RunState::Ended { ran, .. } => Some(ran),
            RunState::Died { at_least } | RunState::Unknown { at_least } => at_least,
            RunState::Unproven => None,
        }
    }
}

impl History {
    /// Takes back that the newest run is over, unless that is on record: who leads isn't known.
    pub(crate) fn doubt_end(&mut self) {
        if let Some(newest) = self.runs.first_mut()
            && newest.lacks_end()
        {
            newest.state = RunState::Unknown { at_least: newest.ran() };
        }
    }

    /// Tells apart the runs whose end is not on record. Nodes count them as one, since they can't know which of them is under
    /// way. All but the newest runs have died.
    pub(crate) fn tell_open_runs_apart(&mut self) {
        let mut open = self.counts.remove(WITHOUT_END).unwrap_or_default();
        let newest = self.runs.iter().filter(|run| !matches!(run.state, RunState::Ended { .. })).map(Run::word);
        for word in newest {
            let count = open.min(1);
            open -= count;
            *self.counts.entry(word.to_owned()).or_default() += count;
        }
        *self.counts.entry(DIED.to_owned()).or_default() += open;
        self.counts.retain(|_, count| *count > 0);
    }

    /// Returns the last run that is over.
    pub(crate) fn last_run(&self) -> Option<&Run> {
        self.runs.iter().find(|run| run.is_over())
    }
}

/// Returns a time that a record has. It may come from anyone.
pub(super) fn time_of(millis: u64) -> SystemTime {
    const LATEST: u64 = 253_402_300_799_000;
    UNIX_EPOCH + Duration::from_millis(millis.min(LATEST))
}
