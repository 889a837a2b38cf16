//! How fast a node answers and how far its clock is off, measured by several TIME commands.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::finding::Finding;
use crate::{lease::Times, redlock::net::node::Node};

/// How many round trips are measured.
const ROUND_TRIPS: usize = 5;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measurement {
    shortest: Duration,
    pub median: Duration,
    pub longest: Duration,
    /// How far the server's clock is ahead of ours, in milliseconds, accurate to the shortest round trip.
    pub clock_ahead_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RoundTrip {
    took: Duration,
    clock_ahead_ms: i64,
}

/// Measures until enough round trips are made or one fails; `None` if the first one does.
pub(super) async fn measure(node: &Node) -> Option<Measurement> {
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    while trips.len() < ROUND_TRIPS
        && let Some(trip) = round_trip(node).await
    {
        trips.push(trip);
    }
    Measurement::of(trips)
}

async fn round_trip(node: &Node) -> Option<RoundTrip> {
    let (sent, began) = (SystemTime::now(), Instant::now());
    let value = node.ask(redis::cmd("TIME")).await.ok()?;
    let took = began.elapsed();
    let (seconds, micros) = redis::from_redis_value(value).ok()?;
    let ours = sent.duration_since(UNIX_EPOCH).unwrap_or_default() + took / 2;
    Some(RoundTrip { took, clock_ahead_ms: clock_ahead_ms(seconds, micros, ours) })
}

/// Returns how far a server's TIME is ahead of ours; a server may answer any numbers.
pub(super) fn clock_ahead_ms(seconds: u64, micros: u64, ours: Duration) -> i64 {
    let theirs = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    millis(theirs).saturating_sub(millis(ours))
}

impl Measurement {
    fn of(mut trips: Vec<RoundTrip>) -> Option<Self> {
        trips.sort_unstable();
        let (shortest, longest) = (trips.first()?, trips.last()?);
        Some(Measurement {
            shortest: shortest.took,
            median: trips[trips.len() / 2].took,
            longest: longest.took,
            clock_ahead_ms: shortest.clock_ahead_ms,
        })
    }

    /// Returns what follows for a lease of this ttl.
    pub(crate) fn findings(&self, times: &Times) -> Vec<Finding> {
        let (limit, ttl) = (times.answer_timeout(), times.ttl());
        let slow = Finding::Slow { longest: self.longest, limit, ttl };
        let apart = Finding::ClockApart { ahead_ms: self.clock_ahead_ms };
        let is_slow = self.longest > limit / 2;
        let surely_apart = Duration::from_millis(self.clock_ahead_ms.unsigned_abs()).saturating_sub(self.shortest);
        [is_slow.then_some(slow), (surely_apart > ttl).then_some(apart)].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trips(trips: &[(u64, i64)]) -> Vec<RoundTrip> {
        let trip = |&(millis, clock_ahead_ms)| RoundTrip { took: Duration::from_millis(millis), clock_ahead_ms };
        trips.iter().map(trip).collect()
    }

    fn found(measured: &[(u64, i64)]) -> Vec<Finding> {
        let times = Times::new(Duration::from_secs(1), None).expect("times that fit");
        Measurement::of(trips(measured)).expect("a measurement").findings(&times)
    }

    #[test]
    fn the_clock_comes_from_the_shortest_round_trip_and_the_time_to_answer_from_the_longest() {
        let measurement = Measurement::of(trips(&[(9, 900), (1, 100), (2, 200)])).expect("a measurement");
        let millis = |duration: Duration| duration.as_millis();
        assert_eq!((millis(measurement.median), millis(measurement.longest)), (2, 9));
        assert_eq!(measurement.clock_ahead_ms, 100);
        assert_eq!(Measurement::of(Vec::new()), None);
    }

    #[test]
    fn a_clock_is_apart_only_if_the_round_trip_cannot_explain_it() {
        assert_eq!(found(&[(1, 1_001), (1, 1_001)]), []);
        assert_eq!(found(&[(1, 1_002)]), [Finding::ClockApart { ahead_ms: 1_002 }]);
        assert_eq!(found(&[(1, i64::MIN)]), [Finding::ClockApart { ahead_ms: i64::MIN }]);
    }

    #[test]
    fn an_answer_is_slow_from_half_the_time_that_the_ttl_leaves_for_it() {
        assert_eq!(found(&[(25, 0)]), []);
        assert!(matches!(found(&[(26, 0)])[..], [Finding::Slow { .. }]));
    }

    proptest! {
        #[test]
        fn any_time_of_a_server_is_compared(seconds in any::<u64>(), micros in any::<u64>(), ours in any::<u32>()) {
            let ahead_ms = clock_ahead_ms(seconds, micros, Duration::from_secs(ours.into()));
            prop_assert!(ahead_ms >= 0 || seconds <= ours.into());
            let _ = found(&[(1, ahead_ms)]);
        }
    }

    #[test]
    fn the_latest_time_that_a_server_can_answer_is_far_ahead() {
        assert_eq!(clock_ahead_ms(u64::MAX, u64::MAX, Duration::ZERO), i64::MAX);
    }
}
