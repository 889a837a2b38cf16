//! Where to look who leads: at the nodes, or at a file of this machine.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout_at};

use crate::{
    lease::Times,
    local, redlock,
    settings::BackendConfig,
    status::{ElectionStatus, LeaderStatus},
};

pub enum Observer {
    Redlock(redlock::RedlockObserver),
    Local(local::LocalObserver),
}

impl Observer {
    /// From within the runtime.
    ///
    /// # Errors
    /// No folder for the lock of this machine.
    pub fn open(place: &BackendConfig, resource: &str, times: Times) -> Result<Self> {
        Ok(match place {
            BackendConfig::Redlock(config) => {
                Observer::Redlock(redlock::RedlockObserver::open(config, resource, times))
            }
            BackendConfig::Local => Observer::Local(local::LocalObserver::open(resource)?),
        })
    }

    pub async fn look(&self) -> ElectionStatus {
        match self {
            Observer::Redlock(nodes) => nodes.look().await,
            Observer::Local(local) => local.look(),
        }
    }

    /// From now on changes are told.
    ///
    /// # Errors
    /// The system can't tell them.
    pub fn listen(&mut self) -> Result<()> {
        match self {
            Observer::Redlock(nodes) => nodes.listen(),
            Observer::Local(local) => local.listen()?,
        }
        Ok(())
    }

    /// Waits until what was seen may have changed.
    pub async fn change(&mut self, seen: &ElectionStatus) {
        match self {
            Observer::Redlock(nodes) => nodes.change(seen).await,
            Observer::Local(local) => local.change().await,
        }
    }

    /// Looks until something is as wanted; `None` where it isn't within that time.
    pub async fn until(
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
            timeout_at(end, self.change(&seen)).await.ok()?;
        }
    }

    /// Asks the leader to step down. True if it will hear of that, once it extends its lease.
    pub async fn ask_to_step_down(&self, leader: &LeaderStatus) -> Result<bool> {
        match self {
            Observer::Redlock(nodes) => Ok(nodes.ask_to_step_down(leader).await),
            Observer::Local(local) => local.ask_to_step_down(leader).map(|()| true),
        }
    }
}
