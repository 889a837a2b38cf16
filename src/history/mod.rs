//! What has happened: the runs of a resource, as nodes or this machine have recorded them. Pure.

mod merge;
mod problem;
mod record;
mod run;

use std::time::Duration;

pub(crate) use self::{
    merge::{NodeRecords, merge},
    record::{EndedRun, RecordHead, RunRecord, RunResult, recorded_holder},
    run::{History, PastRun, Run, RunState},
};

/// How many runs are kept for a resource.
pub(crate) const MOST_RUNS: usize = 100;

/// How long the runs of a resource are kept without use.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
