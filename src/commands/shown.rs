//! How durations and times are shown.

use std::time::{Duration, SystemTime};

use crate::clock::show_time;

/// Shows a duration by its two largest units, to the millisecond.
pub(super) fn shown_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let shown = humantime::format_duration(Duration::from_millis(millis)).to_string();
    shown.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Shows when a run began, to the second.
pub(super) fn shown_start(start: SystemTime) -> String {
    show_time(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_two_largest_units() {
        assert_eq!(shown_duration(Duration::from_secs(3 * 86_400 + 2 * 3600 + 61)), "3days 2h");
        assert_eq!(shown_duration(Duration::from_micros(12_345)), "12ms");
        assert_eq!(shown_duration(Duration::ZERO), "0s");
    }
}
