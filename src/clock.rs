//! The one clock: CLOCK_BOOTTIME, which goes on while the host is suspended, and starts anew with each boot.

use std::{
    ops::{Add, Sub},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment on CLOCK_BOOTTIME, in nanoseconds since boot: the same for all processes of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    pub fn now() -> Self {
        // From the kernel, as the guard's timer is, not from the C library, which others may stand in for.
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        Moment(nanos(Duration::new(tv_sec as u64, tv_nsec as u32)))
    }

    /// The time since boot.
    pub fn since_boot(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The time from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time that is left until here; zero once it has passed.
    pub fn remaining(self) -> Duration {
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

/// Waits until a moment has come; for ever where there is none.
pub async fn reach(moment: Option<Moment>) {
    let Some(moment) = moment else { return std::future::pending().await };
    let remaining = moment.remaining();
    // The timer's ticks are of a millisecond; a moment that has come does not wait for one.
    if !remaining.is_zero() {
        tokio::time::sleep(remaining).await;
    }
}

/// A time of the wall clock in microseconds since 1970, for a message. It may come from anybody: one that nobody can live to
/// see is told as such.
pub fn told_time(micros: u64) -> String {
    const YEAR_3000: u64 = 32_503_680_000_000_000;
    if micros >= YEAR_3000 {
        return "the far future".into();
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(micros)).to_string()
}

/// The wall clock in microseconds since 1970; zero before that. Only fencing tokens come from it, never a time-out.
pub fn wall_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
