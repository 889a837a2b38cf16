//! Observes who leads, on the nodes or in a file of this machine.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout_at};

use crate::{
    lease::Times,
    local::LocalObserver,
    lock::{LeadershipId, Slot},
    redlock::RedlockObserver,
    settings::BackendConfig,
    status::{ElectionStatus, LeaderStatus},
};

/// What to observe.
pub(crate) enum Observer {
    Redlock(RedlockObserver),
    Local(LocalObserver),
}

impl Observer {
    /// Begins to connect. Must be called within the runtime.
    ///
    /// # Errors
    /// There is no folder for the lock of this machine.
    pub(crate) fn open(backend: &BackendConfig, resource: &str, times: Times) -> Result<Self> {
        Ok(match backend {
            BackendConfig::Redlock(config) => Observer::Redlock(RedlockObserver::open(config, resource, times)),
            BackendConfig::Local => Observer::Local(LocalObserver::open(resource)?),
        })
    }

    /// Observes this slot from now on.
    pub(crate) fn turn_to(&mut self, slot: Slot) {
        match self {
            Observer::Redlock(nodes) => nodes.turn_to(slot),
            Observer::Local(local) => local.turn_to(slot),
        }
    }

    /// Looks once at all slots. `slots`: how many there are if nobody leads who says it.
    pub(crate) async fn look_at_all(&self, slots: u16) -> Vec<ElectionStatus> {
        match self {
            Observer::Redlock(nodes) => nodes.look_at_all(slots).await,
            Observer::Local(local) => local.look_at_all(slots),
        }
    }

    /// Looks once.
    pub(crate) async fn look(&self) -> ElectionStatus {
        match self {
            Observer::Redlock(nodes) => nodes.look().await,
            Observer::Local(local) => local.look(),
        }
    }

    /// Starts to listen for changes.
    ///
    /// # Errors
    /// The system refuses what that needs.
    pub(crate) fn listen(&mut self) -> Result<()> {
        match self {
            Observer::Redlock(nodes) => nodes.listen(),
            Observer::Local(local) => local.listen()?,
        }
        Ok(())
    }

    /// Waits until what was seen may have changed.
    pub(crate) async fn change(&mut self, seen: &[ElectionStatus]) {
        match self {
            Observer::Redlock(nodes) => nodes.change(seen).await,
            Observer::Local(local) => local.change().await,
        }
    }

    /// Polls until `wanted` holds; `None` on timeout.
    pub(crate) async fn until(
        &mut self,
        within: Duration,
        wanted: impl Fn(&ElectionStatus) -> bool,
    ) -> Option<ElectionStatus> {
        let end = Instant::now() + within;
        loop {
            let seen = self.look().await;
            if wanted(&seen) {
                return Some(seen);
            }
            timeout_at(end, self.change(std::slice::from_ref(&seen))).await.ok()?;
        }
    }

    /// Asks a leader that was seen here to step down. Returns whether it will learn of that when it extends its lease.
    ///
    /// # Errors
    /// The request can't be written.
    pub(crate) async fn ask_to_step_down(&self, leader: &LeaderStatus) -> Result<bool> {
        match (self, &leader.id) {
            (Observer::Redlock(nodes), LeadershipId::Lock(value)) => Ok(nodes.ask_to_step_down(value).await),
            (Observer::Local(local), LeadershipId::Token(token)) => local.ask_to_step_down(*token).map(|()| true),
            _ => Ok(false),
        }
    }
}
