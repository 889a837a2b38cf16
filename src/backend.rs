//! Where the lease is held: on a quorum of nodes, or in a file of this machine. Four verbs: acquire, extend, release,
//! wait for a change.

use std::path::Path;

use anyhow::Result;
use tokio::time::Instant;

use crate::{
    history::EndedRun,
    host::run_alone,
    local::{Local, LocalSlots},
    lock::{AcquireOutcome, BackendFailure, ExtendOutcome, NotAcquired, ReleaseKey, ReleaseOptions, Released, Slot},
    once_per::Note,
    redlock::{self, Redlock},
    settings::{BackendConfig, Settings},
};

/// What holds the lease.
pub(crate) enum Backend {
    Redlock(Box<Redlock>),
    Local(Local),
    LocalSlots(LocalSlots),
}

impl Backend {
    /// Begins to connect. Must be called within the runtime.
    ///
    /// # Errors
    /// The lock's file can't be used, or the system provides no random numbers.
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        Ok(match &settings.backend {
            BackendConfig::Redlock(config) => {
                let Settings { holder, once_per, times, report, .. } = settings;
                let slots = settings.slots();
                Backend::Redlock(Box::new(Redlock::open(config, slots, holder, once_per.as_ref(), *times, report)?))
            }
            BackendConfig::Local { .. } if settings.slots() > 1 => {
                Backend::LocalSlots(LocalSlots::open(&settings.resource, settings.slots(), &settings.holder)?)
            }
            BackendConfig::Local { file } => Backend::Local(Local::open(
                &settings.resource,
                file.as_deref(),
                &settings.holder,
                settings.once_per.as_ref(),
            )?),
        })
    }

    /// Campaigns once. `until`: when we don't wait for answers any longer.
    ///
    /// # Errors
    /// The lock's file can't be used. Nodes that fail are a reason in [`NotAcquired`].
    pub(crate) async fn acquire(&mut self, until: Option<Instant>) -> Result<AcquireOutcome> {
        match self {
            Backend::Redlock(nodes) => {
                nodes.patience = until;
                Ok(nodes.acquire().await)
            }
            Backend::Local(local) => local.acquire(),
            Backend::LocalSlots(slots) => slots.acquire(),
        }
    }

    /// Waits until another round could end differently from the last one.
    ///
    /// # Errors
    /// The lock's file can't be waited for.
    pub(crate) async fn wait_for_change(&mut self, not_acquired: &NotAcquired) -> Result<()> {
        match self {
            Backend::Redlock(nodes) => nodes.wait_for_change(not_acquired).await,
            Backend::Local(local) => local.wait_for_change(not_acquired).await?,
            Backend::LocalSlots(slots) => slots.wait_for_change(not_acquired).await?,
        }
        Ok(())
    }

    /// Extends the lease, and leaves a note with it if there is one.
    pub(crate) async fn extend(&self, note: Option<&Note>) -> ExtendOutcome {
        match self {
            Backend::Redlock(nodes) => nodes.extend(note).await,
            Backend::Local(local) => local.extend(note),
            Backend::LocalSlots(slots) => slots.extend(note),
        }
    }

    /// Waits until the lease may have been lost before the next extension would show it.
    pub(crate) async fn doubt(&self) {
        match self {
            Backend::Redlock(nodes) => nodes.doubt().await,
            Backend::Local(local) => local.doubt().await,
            Backend::LocalSlots(slots) => slots.doubt().await,
        }
    }

    /// Returns the lock's file, if it has one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Backend::Redlock(_) => None,
            Backend::Local(local) => Some(local.path()),
            Backend::LocalSlots(slots) => Some(slots.path()),
        }
    }

    /// Releases the lease, or the votes of an abandoned campaign.
    ///
    /// # Errors
    /// Why the release is not confirmed.
    pub(crate) async fn release(&mut self, options: ReleaseOptions) -> Result<Released, BackendFailure> {
        match self {
            Backend::Redlock(nodes) => nodes.release(options).await,
            Backend::Local(local) => local.release(options),
            Backend::LocalSlots(slots) => slots.release(options),
        }
    }
}

/// Releases the lease of a dead elector, in its guard, once the tree is dead too. Records the run, and leaves the note of a
/// success too, in case the elector has not. Returns whether the lease is free now.
pub(crate) fn release_for_dead_elector(
    settings: &Settings,
    slot: Slot,
    release_key: ReleaseKey,
    note: Option<&Note>,
    run: EndedRun,
) -> bool {
    match (&settings.backend, release_key) {
        (BackendConfig::Redlock(config), ReleaseKey::Nodes(key)) => {
            let released = redlock::release_alone(config, settings.times, key, note, run);
            run_alone(released).unwrap_or(false)
        }
        (BackendConfig::Local { file }, _) => {
            let once_per = settings.once_per.as_ref();
            let named = file.as_deref();
            if let Ok(local) = Local::of_slot(&settings.resource, named, slot, &settings.holder, once_per) {
                if let Some(note) = note {
                    local.extend(Some(note));
                }
                local.record_end(&run);
            }
            true
        }
        (BackendConfig::Redlock(_), ReleaseKey::File) => true,
    }
}
