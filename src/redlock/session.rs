//! The requests of an instance to the nodes, with its value and token.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use redis::Cmd;

use super::{
    known_clocks::NodeTime,
    net::address::Address,
    scripts::{Acquisition, Audience, DatedNote, Keys, PresentRun, RunTimes, Settled, Tell},
};
use crate::{
    clock::Moment,
    host,
    lease::{FencingToken, Times},
    lock::{LockValue, NodesKey, ReleaseOptions, ReleaseProof, Slot, Terms},
    once_per::OncePer,
};

/// Longer than any server is up.
pub(crate) const ENDLESS_GRACE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The value that marks votes as ours, and the token of our last round.
pub(crate) struct LockSession {
    /// The name of the resource's lock.
    lock: String,
    slot: Slot,
    value: LockValue,
    proof: ReleaseProof,
    once_per: Option<OncePer>,
    token: AtomicU64,
    largest_seen: AtomicU64,
    /// The fencing token that we lead with, and since when.
    run: OnceLock<(FencingToken, Moment)>,
}

impl LockSession {
    /// Creates a session for a slot with a unique value. `terms`: those that others must know.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub(crate) fn new(
        lock: &str,
        slot: Slot,
        holder: &str,
        terms: Option<Terms>,
        once_per: Option<&OncePer>,
    ) -> Result<Self> {
        let random = || host::random().context("no random numbers");
        let proof = ReleaseProof::new(random()?);
        let value = LockValue::of_candidate(random()?, &proof, holder, terms)?;
        let once_per = once_per.cloned();
        Ok(LockSession { once_per, ..Self::proven(lock, NodesKey { slot, value, proof, token: FencingToken::ZERO }) })
    }

    /// Creates the session of a leader from what the nodes know it by.
    pub(crate) fn proven(lock: &str, NodesKey { slot, value, proof, token }: NodesKey) -> Self {
        let (token, largest_seen) = (AtomicU64::new(token.get()), AtomicU64::new(token.get()));
        let run = OnceLock::new();
        LockSession { lock: lock.to_owned(), slot, value, proof, once_per: None, token, largest_seen, run }
    }

    /// Returns what the nodes know us by at present.
    pub(crate) fn key(&self) -> NodesKey {
        let token = FencingToken::new(self.token.load(Relaxed));
        NodesKey { slot: self.slot, value: self.value.clone(), proof: self.proof.clone(), token }
    }

    /// Creates the token that the next rounds carry.
    pub(crate) fn next_token(&self, wall_micros: u64) -> FencingToken {
        let token = FencingToken::next(wall_micros, FencingToken::new(self.largest_seen.load(Relaxed)));
        self.see(token);
        self.token.store(token.get(), Relaxed);
        token
    }

    /// Notes that we lead with this fencing token from now on.
    pub(crate) fn lead(&self, token: FencingToken) {
        let _ = self.run.set((token, Moment::now()));
    }

    /// Returns the request for a vote. `tell`, `freed` and `settled`: see [`Acquisition`].
    pub(crate) fn acquisition(
        &self,
        node: &Address,
        times: &Times,
        tell: Tell,
        freed: Option<&ReleaseProof>,
        settled: Option<String>,
    ) -> Cmd {
        self.keys(node).acquire(&Acquisition { tell, settled, ..self.request(times, freed) })
    }

    /// Returns the same request in a form that is never granted: in place of a vote comes a startup grace of
    /// [`ENDLESS_GRACE`].
    pub(crate) fn question(&self, node: &Address, times: &Times, freed: Option<&ReleaseProof>) -> Cmd {
        self.keys(node).acquire(&Acquisition { settle: ENDLESS_GRACE, ..self.request(times, freed) })
    }

    fn request(&self, times: &Times, freed: Option<&ReleaseProof>) -> Acquisition {
        Acquisition {
            key: self.key(),
            ttl: times.ttl(),
            // `tests/campaign --broken startup_grace` must detect nodes without one.
            settle: if broken!("startup_grace") { Duration::ZERO } else { times.startup_grace() },
            tell: Tell::Nobody,
            freed: freed.cloned(),
            once_per: self.once_per.clone(),
            settled: None,
        }
    }

    /// Returns an extension, which leaves a note if there is one. `start`: when our run began by the clock of the node, if
    /// that is known.
    pub(crate) fn extension(
        &self,
        node: &Address,
        times: &Times,
        start: Option<NodeTime>,
        settled: &Settled,
        note: Option<&DatedNote>,
    ) -> Cmd {
        let present = |&(token, _)| PresentRun { token, start };
        self.keys(node).extend(&self.key(), times.ttl(), self.run.get().map(present).as_ref(), settled, note)
    }

    /// Returns since when we lead.
    pub(crate) fn leads_since(&self) -> Option<Moment> {
        self.run.get().map(|&(_, since)| since)
    }

    /// Returns a release, which records the run that is over if there was one. `times`: those of the run.
    /// `settled`: see there, for one that keeps the lock.
    pub(crate) fn release(
        &self,
        node: &Address,
        audience: Audience,
        options: ReleaseOptions,
        times: RunTimes,
        settled: &Settled,
    ) -> Cmd {
        self.keys(node).release(&self.key(), audience, options, times, settled)
    }

    /// Returns a request to notify listeners of a vote, in place of another node.
    pub(crate) fn tell_acquisition(&self, node: &Address, freed: Option<&ReleaseProof>) -> Cmd {
        self.keys(node).tell_acquisition(freed)
    }

    /// Returns a request to notify listeners of a release, in place of another node.
    pub(crate) fn tell_release(&self, node: &Address, audience: Audience, options: ReleaseOptions) -> Cmd {
        self.keys(node).tell_release(&self.proof, audience, options)
    }

    /// Returns a request to notify all listeners of a release, unless the lock is taken again.
    pub(crate) fn tell_release_if_free(&self, node: &Address, options: ReleaseOptions) -> Cmd {
        self.keys(node).tell_if_free(&self.proof, options)
    }

    /// Returns a request to notify all listeners but us that a vote of ours is gone again, unless the lock is taken.
    pub(crate) fn tell_return(&self, node: &Address) -> Cmd {
        self.keys(node).tell_return()
    }

    /// Returns in which period the command must not run again after a success, if in any.
    pub(crate) fn once_per(&self) -> Option<&OncePer> {
        self.once_per.as_ref()
    }

    /// Returns the slot that it is about.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Returns the lock's keys and channel on a node.
    pub(crate) fn keys(&self, node: &Address) -> Keys {
        Keys::of_slot(&self.lock, self.slot, node.database())
    }

    /// Remembers a token that nodes have granted to anyone.
    pub(crate) fn see(&self, fence: FencingToken) {
        self.largest_seen.fetch_max(fence.get(), Relaxed);
    }

    /// Raises the token that our rounds carry above one that was granted to a candidate who did not win. The command
    /// keeps its fencing token, which only has to be smaller than every later leader's.
    ///
    /// Ignores a token that is implausibly far ahead, for which no candidate has asked. Its node stays without the
    /// lock.
    pub(crate) fn overtake(&self, fence: FencingToken, wall_micros: u64) {
        if fence.is_plausible(wall_micros) {
            self.see(fence);
            self.token.fetch_max(FencingToken::next(0, fence).get(), Relaxed);
        }
    }
}
