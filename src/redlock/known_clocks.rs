//! What the nodes' clocks show. A node tells it with each vote.

use std::{
    collections::HashMap,
    ops::{Add, Sub},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::clock::Moment;

/// A time of one node's clock, in milliseconds since 1970. The clocks of two nodes may show any times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeTime(u64);

/// What the nodes' clocks have shown, by the node's index.
#[derive(Debug, Default)]
pub(crate) struct KnownClocks(Mutex<HashMap<usize, Known>>);

/// What a clock showed first and last.
#[derive(Clone, Copy, Debug)]
struct Known {
    first: Option<Reading>,
    last: Reading,
}

/// What a clock showed between two moments.
#[derive(Clone, Copy, Debug)]
struct Reading {
    time: NodeTime,
    asked: Moment,
    answered: Moment,
}

impl Reading {
    /// Returns a time that the clock doesn't exceed at a moment, which may be before the reading.
    fn at_most(&self, moment: Moment) -> NodeTime {
        self.time + moment.since(self.asked) - self.asked.since(moment)
    }

    /// Returns a time that the clock has reached at a moment.
    fn at_least(&self, moment: Moment) -> NodeTime {
        self.time + moment.since(self.answered) - self.answered.since(moment)
    }
}

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

impl Sub<Duration> for NodeTime {
    type Output = NodeTime;
    fn sub(self, by: Duration) -> NodeTime {
        NodeTime(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl KnownClocks {
    /// Takes in what a node's clock showed in an answer that has just come, to a request that was sent at `sent`.
    pub(crate) fn hear(&self, node: usize, time: Option<NodeTime>, sent: Moment) {
        if let Some(time) = time {
            let last = Reading { time, asked: sent, answered: Moment::now() };
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let first = known.get(&node).and_then(|known| known.first).unwrap_or(last);
            known.insert(node, Known { first: Some(first), last });
        }
    }

    /// Takes the next time that each shows for its first.
    pub(crate) fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|known| known.first = None);
    }

    /// Returns what a node's clock shows at a moment, or a little more, since the request was on its way for a while. `None` if
    /// the node hasn't told its time.
    pub(crate) fn at(&self, node: usize, moment: Moment) -> Option<NodeTime> {
        Some(self.known(node)?.last.at_most(moment))
    }

    /// Does the same for a moment near the first answer.
    pub(crate) fn at_first(&self, node: usize, moment: Moment) -> Option<NodeTime> {
        Some(self.known(node)?.first?.at_most(moment))
    }

    /// Returns what a node's clock shows at a moment, or a little less.
    pub(crate) fn at_least(&self, node: usize, moment: Moment) -> Option<NodeTime> {
        Some(self.known(node)?.last.at_least(moment))
    }

    fn known(&self, node: usize) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
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

    #[test]
    fn the_first_time_is_that_of_a_start_and_the_last_that_of_an_end() {
        let (clocks, now) = (KnownClocks::default(), Moment::now());
        let second = Duration::from_secs(1);
        clocks.hear(1, Some(NodeTime::from_millis(5_000)), now - second);
        clocks.hear(1, Some(NodeTime::from_millis(9_000)), now);
        assert_eq!(clocks.at_first(1, now), Some(NodeTime::from_millis(6_000)));
        assert_eq!(clocks.at_first(1, now - 2 * second), Some(NodeTime::from_millis(4_000)));
        assert!(clocks.at_least(1, now + second) <= clocks.at(1, now + second));
        clocks.begin();
        assert_eq!(clocks.at_first(1, now), None);
    }
}
