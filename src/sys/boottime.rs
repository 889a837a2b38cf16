//! CLOCK_BOOTTIME, read from the kernel rather than from the C library, which others may stand in for.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns the time since boot, including time in which the host was suspended. Async-signal-safe.
pub(crate) fn since_boot() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    Duration::new(tv_sec as u64, tv_nsec as u32)
}
