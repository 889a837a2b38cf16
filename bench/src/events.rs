//! The command under measurement. It appends its start and its end, on CLOCK_MONOTONIC, through O_APPEND.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// Returns CLOCK_MONOTONIC in nanoseconds.
pub fn now() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock")).as_nanos() as u64
}

pub fn child(args: &[String]) {
    let start = now();
    let mut log = OpenOptions::new().append(true).open(&args[0]).expect("a log");
    let mut write = |what: &str, at: u64| {
        log.write_all(format!("{at} {what} {}\n", std::process::id()).as_bytes()).expect("a line");
    };
    write("start", start);
    std::thread::sleep(Duration::from_millis(args[1].parse().expect("a number")));
    write("end", now());
}

/// The start of a command, and its end if it has written one.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub start: u64,
    pub end: Option<u64>,
}

/// Returns all runs in the order of their starts.
pub fn runs(log: &Path) -> Vec<Run> {
    let text = fs::read_to_string(log).expect("the log");
    let mut runs: Vec<(&str, Run)> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let at = fields[0].parse().expect("a time");
        match fields[1] {
            "start" => runs.push((fields[2], Run { start: at, end: None })),
            _ => runs.iter_mut().rev().find(|r| r.0 == fields[2]).expect("a start").1.end = Some(at),
        }
    }
    let mut runs: Vec<Run> = runs.into_iter().map(|r| r.1).collect();
    runs.sort_by_key(|r| r.start);
    runs
}

/// Returns the times from the end of one command to the start of the next, in ms. Panics if two commands overlap.
pub fn gaps(runs: &[Run]) -> Vec<f64> {
    let gap = |pair: &[Run]| {
        let end = pair[0].end.expect("an end before the next start");
        assert!(end < pair[1].start, "two commands at once: {pair:?}");
        (pair[1].start - end) as f64 / 1e6
    };
    runs.windows(2).map(gap).collect()
}
