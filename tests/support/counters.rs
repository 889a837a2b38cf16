//! Counters that leaders share, in a file and in a server, and what is lost of what is added to them.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::Server;

/// The counters, and how often something was added to each.
pub struct Counters {
    folder: TempDir,
    server: Server,
}

impl Counters {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("counter"), "0 0\n").expect("a counter");
        fs::write(folder.path().join("added"), "").expect("a log");
        fs::write(folder.path().join("lock"), "").expect("a lock");
        Counters { folder, server: Server::start() }
    }

    /// Returns a command that adds to both, again and again, with this rule: see counter.py.
    pub fn command(&self, rule: &str) -> [String; 5] {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/counter.py");
        let words = [program.as_path(), self.folder.path()].map(|path| path.display().to_string());
        let [program, folder] = words;
        ["python3", &program, &folder, &self.server.port.to_string(), rule].map(ToOwned::to_owned)
    }

    /// Returns the path of a file of the store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns how many additions a store has taken.
    pub fn added(&self, to: &str) -> usize {
        self.sums(to).len()
    }

    /// Returns how many additions to the file and to the server are lost: of two with one sum, one is.
    pub fn lost(&self) -> [usize; 2] {
        ["file", "redis"].map(|store| {
            let sums = self.sums(store);
            sums.len() - sums.iter().collect::<HashSet<_>>().len()
        })
    }

    /// Returns the sums that a store has taken.
    fn sums(&self, of: &str) -> Vec<u64> {
        let log = fs::read_to_string(self.path("added")).expect("the log");
        log.lines().filter_map(|line| line.strip_prefix(of)?.trim().parse().ok()).collect()
    }
}
