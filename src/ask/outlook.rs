//! Where to look who leads: at the nodes, or at a file of this machine.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout_at};

use crate::{
    lease::Times,
    local, redlock,
    settings::Place,
    standing::{Leader, Standing},
};

pub enum Outlook {
    Nodes(redlock::Lookout),
    ThisMachine(local::Lookout),
}

impl Outlook {
    /// From within the runtime.
    ///
    /// # Errors
    /// No folder for the lock of this machine.
    pub fn open(place: &Place, resource: &str, times: Times) -> Result<Self> {
        Ok(match place {
            Place::Nodes(site) => Outlook::Nodes(redlock::Lookout::open(site, resource, times)),
            Place::ThisMachine => Outlook::ThisMachine(local::Lookout::open(resource)?),
        })
    }

    pub async fn look(&self) -> Standing {
        match self {
            Outlook::Nodes(nodes) => nodes.look().await,
            Outlook::ThisMachine(local) => local.look(),
        }
    }

    /// From now on changes are told.
    ///
    /// # Errors
    /// The system can't tell them.
    pub fn listen(&mut self) -> Result<()> {
        match self {
            Outlook::Nodes(nodes) => nodes.listen(),
            Outlook::ThisMachine(local) => local.listen()?,
        }
        Ok(())
    }

    /// Waits until what was seen may have changed.
    pub async fn change(&mut self, seen: &Standing) {
        match self {
            Outlook::Nodes(nodes) => nodes.change(seen).await,
            Outlook::ThisMachine(local) => local.change().await,
        }
    }

    /// Looks until something is as wanted; `None` where it isn't within that time.
    pub async fn until(&mut self, within: Duration, wanted: impl Fn(&Standing) -> bool) -> Option<Standing> {
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
    pub async fn ask_to_step_down(&self, leader: &Leader) -> Result<bool> {
        match self {
            Outlook::Nodes(nodes) => Ok(nodes.ask_to_step_down(leader).await),
            Outlook::ThisMachine(local) => local.ask_to_step_down(leader).map(|()| true),
        }
    }
}
