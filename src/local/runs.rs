//! The runs of a resource on this machine: lines in a file beside the lock's, one for the start of a run and one for its end.
//! Only who has the lock writes to it. Times count from the boot, so that no clock that is set can confuse them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{path::open_existing, record::boot};
use crate::{
    clock::{Moment, wall_micros},
    history::{EndedRun, KEPT_FOR, MOST_RUNS, NodeRecords, RunRecord, RunResult, recorded_holder},
    lease::FencingToken,
    regular_file,
};

/// The size from which on the file is cut down to the runs that are kept, in bytes.
const LONG: u64 = 64 * 1024;

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The boot that its times count from, and when that was, in milliseconds since 1970.
    boot: String,
    epoch: u64,
    #[serde(flatten)]
    record: RunRecord,
}

/// What the file has of one boot.
#[derive(Default)]
struct Boot {
    epoch: u64,
    runs: BTreeMap<FencingToken, RunRecord>,
}

/// Records that a run begins.
///
/// # Errors
/// Those of writing the file.
pub(super) fn record_start(file: &Path, token: FencingToken, holder: &str) -> io::Result<()> {
    if fs::symlink_metadata(file).is_ok_and(|metadata| metadata.len() > LONG || is_unused(metadata.modified().ok())) {
        shorten(file)?;
    }
    let start = millis(Moment::now().since_boot());
    append(file, &Line::of(record(token, holder, start)))
}

/// Records how a run has ended.
///
/// # Errors
/// Those of writing the file.
pub(super) fn record_end(file: &Path, run: &EndedRun, holder: &str) -> io::Result<()> {
    let begun = record(run.token, holder, millis(run.began.since_boot()));
    let until = run.is_end_seen.then(|| millis(run.ended.since_boot()));
    append(file, &Line::of(RunRecord { until, ran_ms: Some(run.ran_ms()), end: Some(run.result), ..begun }))
}

/// Returns the runs on record, by the boots of this machine.
pub(super) fn read(file: &Path) -> Vec<NodeRecords> {
    let mut boots: BTreeMap<String, Boot> = BTreeMap::new();
    for Line { boot, epoch, record } in lines(file) {
        let boot = boots.entry(boot).or_default();
        boot.epoch = epoch;
        boot.runs.insert(record.token, record);
    }
    let (this_boot, wall) = (boot(), wall_micros() / 1000);
    let mut nodes = Vec::with_capacity(boots.len());
    for (clock, (name, Boot { epoch, runs })) in boots.into_iter().enumerate() {
        let now = if name == this_boot { millis(Moment::now().since_boot()) } else { wall.saturating_sub(epoch) };
        nodes.push(NodeRecords { clock, epoch, now, records: runs.into_values().collect(), last_success: None });
    }
    nodes
}

impl Line {
    fn of(record: RunRecord) -> Self {
        let epoch = (wall_micros() / 1000).saturating_sub(millis(Moment::now().since_boot()));
        Line { boot: boot(), epoch, record }
    }
}

fn record(token: FencingToken, holder: &str, start: u64) -> RunRecord {
    let (id, holder) = (String::new(), recorded_holder(holder).to_owned());
    RunRecord { token, id, holder, start, seen: None, until: None, ran_ms: None, end: None }
}

fn append(file: &Path, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut options = OpenOptions::new();
    // In one call, so that a kill never leaves half a line.
    regular_file::open_own(file, options.append(true).create(true).mode(0o600))?.write_all(&text)
}

/// Returns the lines that can be read, unless the file has been out of use for as long as runs are kept.
fn lines(file: &Path) -> Vec<Line> {
    let Ok(opened) = open_existing(file) else { return Vec::new() };
    if is_unused(opened.metadata().and_then(|metadata| metadata.modified()).ok()) {
        return Vec::new();
    }
    let text = regular_file::contents(&opened).unwrap_or_default();
    text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn is_unused(modified: Option<SystemTime>) -> bool {
    modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|unused| unused > KEPT_FOR)
}

/// Keeps the last runs, and the last success, which may be older.
fn shorten(file: &Path) -> io::Result<()> {
    let lines = lines(file);
    let tokens: BTreeSet<FencingToken> = lines.iter().map(|line| line.record.token).collect();
    let oldest = tokens.iter().rev().nth(MOST_RUNS - 1).copied();
    let success = lines.iter().filter(|line| line.record.end == Some(RunResult::Success));
    let last_success = success.map(|line| line.record.token).max();
    let mut text = Vec::new();
    for line in lines.iter().filter(|line| Some(line.record.token) >= oldest || Some(line.record.token) == last_success)
    {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    let shorter = file.with_extension("runs-new");
    let mut options = OpenOptions::new();
    regular_file::open_own(&shorter, options.write(true).create(true).truncate(true).mode(0o600))?.write_all(&text)?;
    fs::rename(shorter, file)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_keeps_the_last_runs_and_the_last_success() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.runs");
        for token in 1..=1000 {
            let token = FencingToken::new(token);
            record_start(&file, token, "web-1").expect("a start");
            let result = if token.get() == 2 { RunResult::Success } else { RunResult::Exit(1) };
            let now = Moment::now();
            let run = EndedRun { token, began: now, ended: now, is_end_seen: true, result };
            record_end(&file, &run, "web-1").expect("an end");
        }
        assert!(fs::metadata(&file).expect("a file").len() < LONG + 1000);
        let [NodeRecords { records, .. }] = &read(&file)[..] else { panic!("one boot") };
        assert!(records.len() > MOST_RUNS && records.iter().all(|record| record.end.is_some()));
        assert_eq!((records[0].token.get(), records[records.len() - 1].token.get()), (2, 1000));
    }
}
