//! What must hold after every step, and in the end.

use std::time::Duration;

use super::{MS, Process, World};
use crate::lease::FencingToken;

impl World {
    /// How long nobody may lead once all is quiet: nodes are startup_grace, then old votes run out, then it is somebody's turn.
    pub(super) fn vacant_at_most(&self) -> u64 {
        let longest = self.times.startup_grace() + Duration::from_secs(1) + 2 * (self.times.ttl() + self.times.drift());
        (longest + self.schedule.hold).as_nanos() as u64
    }

    pub(super) fn quiet_time(&self) -> u64 {
        self.vacant_at_most() + 500 * MS
    }

    /// A command starts: nobody else's may run, its token is the largest, and nothing keeps it from starting.
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

    /// A success is on record, or a lock is kept by a quorum, for so long from the command's start on, by the fastest clock.
    pub fn closes(&mut self, began: u64, lasts: Duration) {
        let until = began + (lasts.as_nanos() as f64 * 0.99) as u64;
        self.closed_until = self.closed_until.max(until);
        self.tell(|| format!("nobody may start before {:.3} ms", until as f64 / MS as f64));
    }
}
