//! What the nodes' clocks show. A node tells it with each vote.

use std::{
    collections::HashMap,
    ops::Add,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::clock::Moment;

/// A time of one node's clock, in milliseconds since 1970. The clocks of two nodes may show any times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeTime(u64);

/// By the node's index: what its clock showed, and when it was asked.
#[derive(Debug, Default)]
pub(crate) struct KnownClocks(Mutex<HashMap<usize, (NodeTime, Moment)>>);

impl NodeTime {
    /// Takes a time as the node has told it.
    pub(crate) const fn from_millis(millis: u64) -> Self {
        NodeTime(millis)
    }

    /// Returns the milliseconds since 1970.
    pub(crate) const fn as_millis(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for NodeTime {
    type Output = NodeTime;
    fn add(self, by: Duration) -> NodeTime {
        NodeTime(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl KnownClocks {
    /// Takes in what a node's clock showed in answer to a request that was sent at `sent`.
    pub(crate) fn hear(&self, node: usize, time: Option<NodeTime>, sent: Moment) {
        if let Some(time) = time {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node, (time, sent));
        }
    }

    /// Returns what a node's clock shows at a moment, or a little more, since the request was on its way for a while. `None` if
    /// the node hasn't told its time.
    pub(crate) fn at(&self, node: usize, moment: Moment) -> Option<NodeTime> {
        let (time, sent) = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node)?;
        Some(time + moment.since(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_from_the_last_time_that_its_node_has_told() {
        let (clocks, now) = (KnownClocks::default(), Moment::now());
        let second = Duration::from_secs(1);
        assert_eq!(clocks.at(1, now), None);
        clocks.hear(1, Some(NodeTime::from_millis(5_000)), now);
        clocks.hear(1, None, now + second);
        assert_eq!(clocks.at(1, now + 2 * second), Some(NodeTime::from_millis(7_000)));
        clocks.hear(1, Some(NodeTime::from_millis(500)), now + second);
        assert_eq!((clocks.at(1, now + 2 * second), clocks.at(0, now)), (Some(NodeTime::from_millis(1_500)), None));
    }
}
