//! What we ask the nodes for, and in whose name.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result};
use redis::Cmd;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use super::{
    outcome::FARTHEST_AHEAD,
    scripts::{Acquisition, Audience, Keys},
};
use crate::{
    clock::told_time,
    lease::{Times, next_token},
    lock::{ReleaseKey, ReleaseOptions},
    once_per::{Note, OncePer},
};

/// What we claim: the value that marks votes as ours, and the token of our last round.
pub struct LockSession {
    keys: Keys,
    value: String,
    once_per: Option<OncePer>,
    token: AtomicU64,
    largest_seen: AtomicU64,
}

impl LockSession {
    /// A new session, with a value that no other has.
    ///
    /// # Errors
    /// No random numbers to be had.
    pub fn new(lock: &str, holder: &str, once_per: Option<OncePer>) -> Result<Self> {
        let mut id = [0; 16];
        getrandom(&mut id, GetRandomFlags::empty()).context("no random numbers")?;
        let id = format!("{:032x}", u128::from_ne_bytes(id));
        let value = serde_json::to_string(&LockValue { id, holder: holder.to_owned(), kept: false })?;
        Ok(LockSession { once_per, ..Self::proven(lock, value, 0) })
    }

    /// The session of a leader, as its [`ReleaseKey`] has it.
    pub fn proven(lock: &str, value: String, token: u64) -> Self {
        let (token, largest_seen) = (AtomicU64::new(token), AtomicU64::new(token));
        LockSession { keys: Keys::new(lock), value, once_per: None, token, largest_seen }
    }

    pub fn release_key(&self) -> ReleaseKey {
        ReleaseKey::Nodes { value: self.value.clone(), token: self.token.load(Relaxed) }
    }

    /// A new token, which the next rounds carry.
    pub fn next_token(&self, wall_micros: u64) -> u64 {
        let token = next_token(wall_micros, self.largest_seen.load(Relaxed));
        self.see(token);
        self.token.store(token, Relaxed);
        token
    }

    /// `tell` and `freed`: see [`Acquisition`].
    pub fn acquisition(&self, times: &Times, tell: bool, freed: &str) -> Cmd {
        self.keys.acquire(&Acquisition {
            value: self.value.clone(),
            token: self.token.load(Relaxed),
            ttl: times.ttl(),
            // A campaign of faults must find nodes without a startup grace.
            settle: if cfg!(broken = "startup_grace") { Duration::ZERO } else { times.startup_grace() },
            tell,
            freed: freed.to_owned(),
            may_fail: self.once_per.map(|once| once.attempts.map_or(0, u32::from)),
        })
    }

    pub fn extension(&self, times: &Times, note: Option<&Note>) -> Cmd {
        self.keys.extend(&self.value, times.ttl(), self.token.load(Relaxed), note)
    }

    pub fn release(&self, telling: Audience, options: ReleaseOptions) -> Cmd {
        let kept_as = options.hold.map_or(String::new(), |_| kept(&self.value));
        self.keys.release(&self.value, self.token.load(Relaxed), telling, options, &kept_as)
    }

    pub fn tell_acquisition(&self, freed: &str) -> Cmd {
        self.keys.tell_acquisition(freed)
    }

    pub fn tell_release(&self, telling: Audience, options: ReleaseOptions) -> Cmd {
        self.keys.tell_release(&self.value, telling, options)
    }

    /// Whether the command is not to run once it has succeeded for this period.
    pub fn is_once(&self) -> bool {
        self.once_per.is_some()
    }

    /// The channel on which the nodes tell of this lock.
    pub fn channel(&self) -> &str {
        &self.keys.lock
    }

    /// Nodes have granted this token to somebody.
    pub fn see(&self, fence: u64) {
        self.largest_seen.fetch_max(fence, Relaxed);
    }

    /// Raises the token that our rounds carry above one that was granted to a candidate who did not win. The fencing token
    /// that the command has seen stays: it only has to be smaller than every later leader's.
    /// One too far ahead is none that a candidate asked for: such a node stays without the lock.
    pub fn overtake(&self, fence: u64, wall_micros: u64) {
        if fence <= wall_micros.saturating_add(FARTHEST_AHEAD) {
            self.see(fence);
            self.token.fetch_max(next_token(0, fence), Relaxed);
        }
    }
}

/// What a lock's value says.
#[derive(Serialize, Deserialize)]
pub struct LockValue {
    id: String,
    pub holder: String,
    /// The leader has ended, and its lock is kept for a while.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// What this value says; another library's stands for its holder.
pub fn lock_value(value: &str) -> LockValue {
    let unmarked = || LockValue { id: String::new(), holder: value.chars().take(200).collect(), kept: false };
    serde_json::from_str(value).unwrap_or_else(|_| unmarked())
}

/// The value of a lock that is kept after its leader's end: another one, which an extension that comes late doesn't touch.
fn kept(value: &str) -> String {
    let mark = serde_json::from_str(value).ok().map(|mark: LockValue| LockValue { kept: true, ..mark });
    mark.and_then(|mark| serde_json::to_string(&mark).ok()).unwrap_or_else(|| format!("{value} kept"))
}

/// Who holds a lock with this value, and since when as far as the fencing token tells, which begins as a time in
/// microseconds since 1970, which another library's doesn't.
pub fn told_of(value: &str, fence: u64) -> String {
    match lock_value(value) {
        LockValue { holder, kept: true, .. } => format!("{holder} has led and keeps the lock (--hold)"),
        LockValue { holder, id, .. } if id.is_empty() => format!("{holder} leads"),
        LockValue { holder, .. } => format!("{holder} leads since {}", told_time(fence)),
    }
}
