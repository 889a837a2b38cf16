//! What we ask the nodes for, and in whose name.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use redis::Cmd;
use rustix::rand::{GetRandomFlags, getrandom};

use super::scripts::{Keys, Telling};
use crate::{
    clock::wall_micros,
    lease::{Times, next_token},
    store::Proof,
};

/// What we claim: the value that marks votes as ours, and the token of our last round.
pub struct Claim {
    keys: Keys,
    value: String,
    token: AtomicU64,
    largest_seen: AtomicU64,
}

impl Claim {
    /// A new claim, with a value that no other has.
    ///
    /// # Errors
    /// No random numbers to be had.
    pub fn new(lock: &str, holder: &str) -> Result<Self> {
        let mut id = [0; 16];
        getrandom(&mut id, GetRandomFlags::empty()).context("no random numbers")?;
        let id = format!("{:032x}", u128::from_ne_bytes(id));
        let value = serde_json::json!({ "id": id, "holder": holder }).to_string();
        Ok(Self::proven(lock, value, 0))
    }

    /// The claim of a leader, as its [`Proof`] has it.
    pub fn proven(lock: &str, value: String, token: u64) -> Self {
        Claim { keys: Keys::new(lock), value, token: AtomicU64::new(token), largest_seen: AtomicU64::new(token) }
    }

    pub fn proof(&self) -> Proof {
        Proof::Nodes { value: self.value.clone(), token: self.token.load(Relaxed) }
    }

    /// A new token, which the next rounds carry.
    pub fn next_token(&self) -> u64 {
        let token = next_token(wall_micros(), self.largest_seen.load(Relaxed));
        self.see(token);
        self.token.store(token, Relaxed);
        token
    }

    /// `tell` and `freed`: see [`Keys::acquire`].
    pub fn acquisition(&self, times: &Times, tell: bool, freed: &str) -> Cmd {
        self.keys.acquire(&self.value, self.token.load(Relaxed), times, tell, freed)
    }

    pub fn extension(&self, times: &Times) -> Cmd {
        self.keys.extend(&self.value, times.ttl(), self.token.load(Relaxed))
    }

    pub fn release(&self, telling: Telling) -> Cmd {
        self.keys.release(&self.value, self.token.load(Relaxed), telling)
    }

    pub fn tell_acquisition(&self, freed: &str) -> Cmd {
        self.keys.tell_acquisition(freed)
    }

    pub fn tell_release(&self, telling: Telling) -> Cmd {
        self.keys.tell_release(&self.value, telling)
    }

    /// The channel on which the nodes tell of this lock.
    pub fn channel(&self) -> &str {
        &self.keys.lock
    }

    /// A node has granted this token to somebody.
    pub fn see(&self, fence: u64) {
        self.largest_seen.fetch_max(fence, Relaxed);
    }

    /// Raises the token that our rounds carry above one that was granted to a candidate who did not win. The fencing token
    /// that the command has seen stays: it only has to be smaller than every later leader's.
    pub fn overtake(&self, fence: u64) {
        self.see(fence);
        self.token.fetch_max(next_token(0, fence), Relaxed);
    }
}

/// Who holds a lock; another library's value stands for itself.
pub fn holder_of(value: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(value).ok();
    let holder = parsed.as_ref().and_then(|v| v.get("holder")).and_then(|h| h.as_str());
    holder.unwrap_or(value).chars().take(200).collect()
}
