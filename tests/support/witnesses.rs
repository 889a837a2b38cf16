//! The checker for overlap. Every command of a test is a witness: it writes its start, ticks and its end, with the time
//! of CLOCK_MONOTONIC, to one file, and no two of them may overlap.

use std::{fs, path::PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{eventually, example, signal};

/// A file that witnesses write to.
pub struct Witnesses {
    folder: TempDir,
}

/// What one command wrote.
#[derive(Clone, Debug)]
pub struct Witness {
    pub pid: i32,
    pub token: u64,
    /// The start in nanoseconds of CLOCK_MONOTONIC.
    pub start: u64,
    /// The last sign of life.
    pub last: u64,
    /// The status with which it ended by itself; a killed command writes none.
    pub status: Option<i32>,
    /// When it got SIGTERM, if it handles that.
    pub term: Option<u64>,
}

impl Witnesses {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("log"), "").expect("a log");
        Witnesses { folder }
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Returns a command that writes here and does what `what` says (see the program).
    pub fn command(&self, what: &[&str]) -> Vec<String> {
        let mut command = vec!["--".to_owned(), path(example("witness")), path(self.log())];
        command.extend(what.iter().map(ToString::to_string));
        command
    }

    /// Returns all commands in the order of their starts.
    pub fn all(&self) -> Vec<Witness> {
        let mut all: Vec<Witness> = Vec::new();
        let log = fs::read_to_string(self.log()).expect("the log");
        // A line that is being written may be seen in part, where it goes over the end of a page.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        for line in whole.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [time, what, pid, token] = fields.as_slice() else { panic!("not a witness's line: {line:?}") };
            let (time, pid) = (time.parse().expect("a time"), pid.parse().expect("a pid"));
            match *what {
                "start" => {
                    let token = token.parse().expect("a token");
                    all.push(Witness { pid, token, start: time, last: time, status: None, term: None });
                }
                what => {
                    let witness = all.iter_mut().rev().find(|w| w.pid == pid).expect("a start before a tick");
                    witness.last = witness.last.max(time);
                    if let Some(status) = what.strip_prefix("end=") {
                        witness.status = Some(status.parse().expect("a status"));
                    }
                    if what == "term" {
                        witness.term.get_or_insert(time);
                    }
                }
            }
        }
        all.sort_by_key(|w| w.start);
        all
    }

    /// Waits until this many commands have started.
    pub fn started(&self, number: usize) -> Vec<Witness> {
        eventually(&format!("{number} starts"), || Some(self.all()).filter(|all| all.len() >= number))
    }

    /// Waits for a sign of life later than all existing ones.
    pub fn ticks_on(&self) {
        let before = self.all().last().map_or(0, |w| w.last);
        eventually("another tick", || (self.all().last().map_or(0, |w| w.last) > before).then_some(()));
    }

    /// Asks the command that started last to end.
    pub fn stop_last(&self) {
        signal(self.all().last().expect("a witness").pid, Signal::SIGTERM);
    }

    /// Returns how many have ended with 0.
    pub fn successes(&self) -> usize {
        self.all().iter().filter(|w| w.status == Some(0)).count()
    }

    /// Checks that no two commands overlap, and that each has a larger token than the one before.
    pub fn check(&self) -> Vec<Witness> {
        let all = self.all();
        for pair in all.windows(2) {
            let [a, b] = pair else { continue };
            assert!(a.last < b.start, "two commands at once: {a:?} and {b:?}");
            assert!(a.token < b.token, "the token did not increase: {a:?} and {b:?}");
        }
        all
    }
}

/// Returns CLOCK_MONOTONIC in nanoseconds, as witnesses write it.
pub fn monotonic() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    std::time::Duration::from(now).as_nanos() as u64
}

fn path(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("a path in UTF-8")
}
