//! How long each node's server process has been known. A server's own uptime is wrong once its clock was set.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::clock::Moment;

/// The server processes of the nodes, by the node's index: the process's id, and when it was first seen.
#[derive(Debug, Default)]
pub(crate) struct KnownProcesses(Mutex<HashMap<usize, (String, Moment)>>);

impl KnownProcesses {
    /// Takes note of the process that has answered for a node.
    pub(crate) fn saw(&self, node: usize, run_id: &str, now: Moment) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.entry(node).or_insert_with(|| (run_id.to_owned(), now));
        if known.0 != run_id {
            *known = (run_id.to_owned(), now);
        }
    }

    /// Returns the id of the node's process if that has been known for this long.
    pub(crate) fn known_for(&self, node: usize, long: Duration, now: Moment) -> Option<String> {
        self.seen(node).filter(|(_, since)| now.since(*since) >= long).map(|(run_id, _)| run_id)
    }

    /// Returns how long it takes until the node's process has been known for this long.
    pub(crate) fn known_in(&self, node: usize, long: Duration, now: Moment) -> Duration {
        self.seen(node).map_or(long, |(_, since)| long.saturating_sub(now.since(since)))
    }

    fn seen(&self, node: usize) -> Option<(String, Moment)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_from_its_first_answer_until_another_answers() {
        let (processes, now, long) = (KnownProcesses::default(), Moment::now(), Duration::from_secs(1));
        assert_eq!(processes.known_for(0, Duration::ZERO, now), None);
        processes.saw(0, "a", now);
        processes.saw(0, "a", now + long / 2);
        assert_eq!(processes.known_for(0, long, now + long / 2), None);
        assert_eq!(processes.known_in(0, long, now + long / 2), long / 2);
        assert_eq!(processes.known_for(0, long, now + long), Some("a".into()));
        processes.saw(0, "b", now + long);
        assert_eq!(processes.known_for(0, long, now + long), None);
    }
}
