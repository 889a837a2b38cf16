//! Several slots on this machine: each has a lock of its own, and all share that of the resource.

use std::{path::Path, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use super::{
    lock::Local,
    queue::Queue,
    shared::{Shared, Sharing},
};
use crate::{
    lock::{AcquireOutcome, BackendFailure, ExtendOutcome, NotAcquired, Reason, ReleaseOptions, Released, Slot},
    once_per::Note,
};

/// How soon to look again while somebody changes the number of slots, and while others lead with another number.
const MOMENT: Duration = Duration::from_millis(10);
const OTHERS_LEAD: Duration = Duration::from_secs(1);

/// The locks of a resource's slots on this machine.
pub(crate) struct LocalSlots {
    shared: Shared,
    slots: Vec<Local>,
    queue: Queue,
    /// The slot in which we lead, by its index.
    led: Option<usize>,
}

impl LocalSlots {
    /// Opens the locks' files, and creates those that don't exist.
    ///
    /// # Errors
    /// There is no folder for them, or others can write to that folder.
    pub(crate) fn open(resource: &str, slots: u16, holder: &str) -> Result<Self> {
        let shared = Shared::open(resource, slots, holder)?;
        let queue = Queue::open(shared.path())?;
        let local = |slot| Local::at(shared.slot(slot), holder, None);
        let slots = Slot::all(slots).map(local).collect::<Result<_>>()?;
        Ok(LocalSlots { shared, slots, queue, led: None })
    }

    /// Tries to lock one of the slots.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub(crate) fn acquire(&mut self) -> Result<AcquireOutcome> {
        let not_acquired = |reason, free_in| Ok(AcquireOutcome::NotAcquired(NotAcquired { reason, free_in }));
        match self.shared.share()? {
            Sharing::Shared => {}
            Sharing::Busy => return not_acquired(Reason::Tie, Some(MOMENT)),
            Sharing::OtherSlots { holder, theirs } => {
                let (node, ours) = (self.shared.path().display().to_string(), self.of());
                return not_acquired(Reason::OtherSlots { node, holder, theirs, ours }, Some(OTHERS_LEAD));
            }
        }
        let first = fastrand::usize(..self.slots.len());
        let (mut holders, mut free_in) = (vec![String::new(); self.slots.len()], None);
        for slot in (first..self.slots.len()).chain(0..first) {
            let lost = match self.slots[slot].acquire()? {
                AcquireOutcome::Acquired(mut lease) => {
                    lease.slot = Slot { number: u16::try_from(slot + 1).unwrap_or(u16::MAX), of: self.of() };
                    lease.descriptors.push(self.shared.descriptor());
                    self.led = Some(slot);
                    self.queue.leave();
                    return Ok(AcquireOutcome::Acquired(lease));
                }
                AcquireOutcome::NotAcquired(lost) => lost,
            };
            free_in = free_in.into_iter().chain(lost.free_in).min();
            holders[slot] = match lost.reason {
                Reason::Taken(Some(leader)) => leader.holder,
                Reason::Kept { holder } => holder,
                _ => "another".into(),
            };
        }
        self.shared.give_back();
        not_acquired(Reason::AllSlotsTaken(holders), free_in)
    }

    /// Waits until another attempt could end differently.
    ///
    /// # Errors
    /// The system refuses what that needs.
    pub(crate) async fn wait_for_change(&mut self, not_acquired: &NotAcquired) -> Result<()> {
        match (&not_acquired.reason, not_acquired.free_in) {
            (Reason::AllSlotsTaken(_), free_in) => self.queue.wait(self.shared.path(), free_in).await?,
            (_, free_in) => sleep(free_in.unwrap_or(MOMENT)).await,
        }
        Ok(())
    }

    /// Extends the lease of the slot in which we lead.
    pub(crate) fn extend(&self, note: Option<&Note>) -> ExtendOutcome {
        match self.ours() {
            Some(slot) if self.shared.is_in_place() => slot.extend(note),
            _ => ExtendOutcome::Lost(BackendFailure::FileRemoved(self.shared.path().to_owned())),
        }
    }

    /// Waits until a file may have been removed, or moved with its folder.
    pub(crate) async fn doubt(&self) {
        match self.ours() {
            Some(slot) => slot.doubt().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the file of the slot in which we lead or, before that, of the resource.
    pub(crate) fn path(&self) -> &Path {
        self.ours().map_or(self.shared.path(), Local::path)
    }

    /// Unlocks the slot, and lets those who wait know.
    ///
    /// # Errors
    /// Why the lock could not be kept.
    pub(crate) fn release(&mut self, options: ReleaseOptions) -> Result<Released, BackendFailure> {
        let Some(slot) = self.ours() else { return Ok(Released::default()) };
        let released = slot.release(options);
        self.shared.give_back();
        slot.touch();
        released
    }

    fn ours(&self) -> Option<&Local> {
        self.led.and_then(|slot| self.slots.get(slot))
    }

    fn of(&self) -> u16 {
        u16::try_from(self.slots.len()).unwrap_or(u16::MAX)
    }
}
