//! The one clock: CLOCK_BOOTTIME, which keeps running while the host is suspended and restarts at each boot.

use std::{
    ops::{Add, Sub},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::host::{since_boot, wall_time};

/// A moment on CLOCK_BOOTTIME, in nanoseconds since boot. All processes of a host share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Returns the present moment.
    pub(crate) fn now() -> Self {
        Moment(nanos(since_boot()))
    }

    /// Returns the time since boot.
    pub(crate) fn since_boot(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time until this moment; zero once it has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.since(Moment::now())
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(by)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, by: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(by)))
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Waits until a moment; forever if there is none.
pub(crate) async fn reach(moment: Option<Moment>) {
    let Some(moment) = moment else { return std::future::pending().await };
    let remaining = moment.remaining();
    // The timer ticks in milliseconds. Don't wait a tick for a moment that has passed.
    if !remaining.is_zero() {
        tokio::time::sleep(remaining).await;
    }
}

/// Returns a wall time as messages show it. It may come from anyone, so one beyond the year 3000 is not spelled out.
pub(crate) fn show_time(time: SystemTime) -> String {
    const YEAR_3000: Duration = Duration::from_secs(32_503_680_000);
    if time >= UNIX_EPOCH + YEAR_3000 {
        return "the far future".into();
    }
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns the wall clock in microseconds since 1970; zero before that. Only fencing tokens derive from it, never a
/// timeout.
pub(crate) fn wall_micros() -> u64 {
    wall_time().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
