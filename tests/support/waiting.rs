//! Waiting for what is to happen.

use std::time::{Duration, Instant};

/// A limit that no test comes near unless what it waits for does not happen.
pub const LONG: Duration = Duration::from_secs(20);

/// Looks again and again until something is there.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(LONG, what, look)
}

/// The same for what takes others long.
pub fn eventually_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
