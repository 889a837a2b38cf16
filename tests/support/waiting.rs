//! Waits for events.

use std::time::{Duration, Instant};

/// A limit that a test only reaches if the event never happens.
pub const LONG: Duration = Duration::from_secs(20);

/// Polls until `look` returns a value.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(LONG, what, look)
}

/// Does the same with a longer limit, for slow programs.
pub fn eventually_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
