//! Observes who leads, on the nodes or in a file of this machine.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    history::{History, Run},
    lease::Times,
    local::LocalObserver,
    lock::{LeadershipId, NodeFault, Slot},
    once_per::PeriodKey,
    redlock::RedlockObserver,
    settings::BackendConfig,
    status::{ElectionStatus, LeaderStatus},
};

/// How long a run that begins or ends may look like one that has died.
const SETTLES_WITHIN: Duration = Duration::from_millis(100);

/// What to observe.
pub(crate) enum Observer {
    Redlock(RedlockObserver),
    Local(LocalObserver),
}

/// What became of the notes about a period.
pub(crate) enum Forgotten {
    /// They are deleted. Whether there were any.
    Everywhere { noted: bool },
    /// They may still be on these nodes.
    NotOn(Vec<NodeFault>),
    /// They are in a file that a leader has locked.
    IsLed,
}

impl Observer {
    /// Begins to connect. Must be called within the runtime. `period`: whose notes are meant, if it has a name.
    ///
    /// # Errors
    /// There is no folder for the lock of this machine.
    pub(crate) fn open(
        backend: &BackendConfig,
        resource: &str,
        times: Times,
        period: Option<PeriodKey>,
    ) -> Result<Self> {
        Ok(match backend {
            BackendConfig::Redlock(config) => Observer::Redlock(RedlockObserver::open(config, resource, times, period)),
            BackendConfig::Local { file } => Observer::Local(LocalObserver::open(resource, file.as_deref(), period)?),
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

    /// Returns the last runs as well as what was `seen`, or what is seen now.
    async fn look_back(&self, seen: ElectionStatus, count: usize) -> (ElectionStatus, History) {
        let history = self.history(&seen, count).await;
        if !history.runs.first().is_some_and(Run::lacks_end) {
            return (seen, history);
        }
        // It may have begun or ended between the two looks.
        sleep(SETTLES_WITHIN).await;
        let seen = self.look().await;
        let history = self.history(&seen, count).await;
        (seen, history)
    }

    /// Does the same for all slots. `slots`: how many there are if nobody leads, or has led, who says it.
    pub(crate) async fn look_back_at_all(&mut self, slots: u16, count: usize) -> Vec<(ElectionStatus, History)> {
        let mut all = self.look_at_all(slots).await;
        if let (Observer::Redlock(nodes), [one]) = (&*self, all.as_slice())
            && one.leader.is_none()
            && one.turnout.known
            && let Some(slots) = nodes.slots_led_before(one).await
        {
            all = nodes.look_at_all(slots).await;
        }
        let of = u16::try_from(all.len()).unwrap_or(u16::MAX);
        let mut both = Vec::with_capacity(all.len());
        for seen in all {
            self.turn_to(seen.slot.map_or(Slot::ONLY, |number| Slot { number, of }));
            both.push(self.look_back(seen, count).await);
        }
        both
    }

    async fn history(&self, seen: &ElectionStatus, count: usize) -> History {
        match self {
            Observer::Redlock(nodes) => nodes.history(count, seen).await,
            Observer::Local(local) => local.history(count, seen.active_leader().is_some()),
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

    /// Returns how many instances stand by, for any slot; `None` if that can't be seen.
    pub(crate) async fn standbys(&self) -> Option<u32> {
        match self {
            Observer::Redlock(nodes) => nodes.standbys().await,
            Observer::Local(local) => local.standbys(),
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

    /// Deletes what is noted about the period.
    ///
    /// # Errors
    /// The lock's file can't be written.
    pub(crate) async fn forget(&self) -> Result<Forgotten> {
        match self {
            Observer::Redlock(nodes) => {
                let (noted, faults) = nodes.forget().await;
                Ok(if faults.is_empty() { Forgotten::Everywhere { noted } } else { Forgotten::NotOn(faults) })
            }
            Observer::Local(local) => {
                Ok(local.forget()?.map_or(Forgotten::IsLed, |noted| Forgotten::Everywhere { noted }))
            }
        }
    }
}
