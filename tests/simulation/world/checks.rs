//! What must hold after every step, and at the end.

use std::time::Duration;

use super::{MS, Process, World};
use crate::lease::FencingToken;

impl World {
    /// Returns how long nobody may lead once all is quiet: the startup grace passes, then old votes expire, then comes
    /// an instance's turn.
    pub(super) fn vacant_at_most(&self) -> u64 {
        let longest = self.times.startup_grace() + Duration::from_secs(1) + 2 * (self.times.ttl() + self.times.drift());
        (longest + self.schedule.hold).as_nanos() as u64
    }

    pub(super) fn quiet_time(&self) -> u64 {
        self.vacant_at_most() + 500 * MS
    }

    /// Notes that a command starts: no other may run, its token must be the largest, and nothing may forbid the start.
    pub fn command_starts(&mut self, of: Process, token: FencingToken) {
        self.tell(|| format!("{of:?}: its command starts, token {token}"));
        self.commands += 1;
        if let Some(other) = self.running {
            self.fail(format!("{of:?} starts its command while that of {other:?} runs"));
        }
        if token <= self.last_token {
            self.fail(format!("{of:?} starts with token {token} after {}", self.last_token));
        }
        if self.now < self.closed_until {
            let early = (self.closed_until - self.now) / MS;
            self.fail(format!(
                "{of:?} starts its command {early} ms before it may: one has succeeded, or the lock is kept"
            ));
        }
        self.last_token = self.last_token.max(token);
        self.last_start = self.now;
        self.running = Some(of);
    }

    pub fn command_is_dead(&mut self, of: Process) {
        if self.running == Some(of) {
            self.tell(|| format!("{of:?}: its command is dead"));
            self.running = None;
            self.last_start = self.now;
        }
    }

    /// Notes that a success is recorded, or a quorum keeps the lock, for `lasts` from the command's start, by the
    /// fastest clock.
    pub fn closes(&mut self, began: u64, lasts: Duration) {
        let until = began + (lasts.as_nanos() as f64 * 0.99) as u64;
        self.closed_until = self.closed_until.max(until);
        self.tell(|| format!("nobody may start before {:.3} ms", until as f64 / MS as f64));
    }
}
